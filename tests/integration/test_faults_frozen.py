"""SIGSTOP and SIGCONT: a process that answers nothing is given up in time, and taken back when it goes on."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest
from autogen_core import TopicId

from tests.integration.actors import ask, start, told
from tests.integration.agents import agent
from tests.integration.clusters import Cluster, eventually, node_of, within
from tests.integration.fault_messages import Add, Added
from tests.integration.messages import Text
from tests.integration.processes import Launch
from zmqagents import BackpressureError

pytestmark = pytest.mark.integration

GIVEN_UP_WITHIN_S = 5.0


async def test_frozen_process_is_given_up_in_five_seconds_and_is_called_again_after_it_goes_on(
    cluster: Cluster, launch: Launch
) -> None:
    caller, witness = await start(launch, cluster.name, "caller", "witness")
    [target] = await start(launch, cluster.name, "target", count=False, kinds={"sleeper": "sleeper", "tally": "tally"})
    await asyncio.gather(
        ask(caller, "wait_for_peers", names=["target", "witness"]),
        ask(witness, "wait_for_peers", names=["target", "caller"]),
    )
    await caller.tell("call", agent_type="sleeper", key="a", number=60_000)
    await target.report("handling")

    target.signal(signal.SIGSTOP)
    frozen_s = time.monotonic()
    call = await told(caller, "call")
    assert call.get("error") == "PeerLost"
    assert "target" in call["text"]
    assert call["at_s"] - frozen_s < GIVEN_UP_WITHIN_S
    await ask(caller, "wait_for_peers", names=["witness"])
    await ask(witness, "wait_for_peers", names=["caller"])

    target.signal(signal.SIGCONT)
    await asyncio.gather(
        ask(caller, "wait_for_peers", names=["target", "witness"]),
        ask(witness, "wait_for_peers", names=["target", "caller"]),
        ask(target, "wait_for_peers", names=["caller", "witness"]),
    )
    for asker in (caller, witness):
        added = await ask(asker, "add", keys=[asker.name, "b"], number=1)
        assert {pid for pid, _ in added["answers"].values()} == {target.pid}


async def test_publisher_is_told_who_has_taken_nothing_for_its_send_timeout_and_others_are_served(
    cluster: Cluster, launch: Launch
) -> None:
    publisher = await cluster.host(discovery="mdns", send_timeout_s=0.4)
    (stuck,), (fluent,) = await asyncio.gather(
        start(
            launch, cluster.name, "stuck", count=False, kinds={"listener": "listener"}, subscribe={"listener": "news"}
        ),
        start(launch, cluster.name, "fluent", count=False, kinds={"tally": "tally"}),
    )
    await eventually(lambda: node_of(publisher).directory.agent_types("news"))
    await within(publisher.wait_for_agents("tally"))
    assert await within(publisher.send_message(Add(1), agent("tally"))) == Added(fluent.pid, 1)
    stuck.signal(signal.SIGSTOP)
    with pytest.raises(BackpressureError, match="stuck") as raised:
        for _ in range(20_000):
            await within(publisher.publish_message(Text("x" * 8_000), TopicId("news", "default")))
    assert "stuck" in (raised.value.peer or "")
    assert await within(publisher.send_message(Add(2), agent("tally")), 1.0) == Added(fluent.pid, 2)
