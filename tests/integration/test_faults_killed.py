"""SIGKILL: everybody knows within a second, and goes on; a process that is started again replaces its old life."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tests.integration.actors import start, told
from tests.integration.agents import agent
from tests.integration.clusters import Cluster, eventually, within
from tests.integration.messages import Number
from tests.integration.processes import Launch
from zmqagents import PeerLost

pytestmark = pytest.mark.integration

KNOWN_WITHIN_S = 1.0
FOR_EVER_MS = 60_000


async def test_calls_of_three_processes_end_within_a_second_when_their_target_is_killed(
    cluster: Cluster, launch: Launch
) -> None:
    names = ["ann", "bob", "cy"]
    [target] = await start(launch, cluster.name, "target", kinds={"sleeper": "sleeper"})
    callers = await start(launch, cluster.name, *names, count=False)
    for caller, others in zip(callers, (["bob", "cy"], ["ann", "cy"], ["ann", "bob"]), strict=True):
        await caller.tell("wait_for_peers", names=["target", *others])
        await told(caller, "wait_for_peers")
        await caller.tell("call", agent_type="sleeper", key=caller.name, number=FOR_EVER_MS)
        await caller.tell("wait_for_peers", names=others)
    await target.all_reports("handling", len(names))

    target.kill()
    killed_s = time.monotonic()

    calls = await asyncio.gather(*(told(caller, "call") for caller in callers))
    assert [call.get("error") for call in calls] == ["PeerLost"] * 3
    assert max(call["at_s"] for call in calls) - killed_s < KNOWN_WITHIN_S
    assert all("target" in call["text"] for call in calls)
    known_s = await asyncio.gather(*(told(caller, "wait_for_peers") for caller in callers))
    assert max(known_s) - killed_s < KNOWN_WITHIN_S
    assert min(known_s) > killed_s


async def test_process_with_the_same_label_takes_the_place_of_its_frozen_old_life_at_once(
    cluster: Cluster, launch: Launch
) -> None:
    # With PINGs so rare the frozen process itself would be noticed only after 15 s.
    caller = await cluster.host(discovery="mdns", zmtp_heartbeat_s=5.0)
    [old] = await start(launch, cluster.name, "worker-1", count=False, kinds={"sleeper": "sleeper"})
    await within(caller.wait_for_agents("sleeper"))
    call = asyncio.ensure_future(caller.send_message(Number(FOR_EVER_MS), agent("sleeper")))
    await old.report("handling")
    (old_peer,) = caller.peers()
    old.signal(signal.SIGSTOP)
    assert not call.done()

    starting = asyncio.ensure_future(
        start(launch, cluster.name, "worker-1", count=False, kinds={"sleeper": "sleeper"}, join_timeout_s=0.5)
    )
    await eventually(lambda: any(peer.node_id != old_peer.node_id for peer in caller.peers()))
    seen_s = time.monotonic()
    with pytest.raises(PeerLost, match="worker-1"):
        await within(call)
    assert time.monotonic() - seen_s < KNOWN_WITHIN_S
    [new] = await starting
    assert [peer.instance_id for peer in caller.peers()] == ["worker-1"]
    assert await within(caller.send_message(Number(0), agent("sleeper"))) == Number(new.pid)


async def test_calls_of_idempotent_handlers_are_made_again_elsewhere_when_their_process_is_killed(
    cluster: Cluster, launch: Launch
) -> None:
    keys = [str(number) for number in range(24)]
    names = ["w1", "w2", "w3"]
    caller, workers = await asyncio.gather(
        cluster.host(discovery="mdns"),
        start(launch, cluster.name, *names, count=False, kinds={"repeatable": "repeatable"}),
    )
    await within(caller.wait_for_agents("repeatable", 3))
    calls = asyncio.gather(*(caller.send_message(Number(1_000), agent("repeatable", key)) for key in keys))
    killed, *others = workers
    first = await killed.report("handling")

    killed.kill()

    answers = dict(zip(keys, await within(calls), strict=True))
    assert {answer.value for answer in answers.values()} == {worker.pid for worker in others}
    assert answers[first["key"]].value != killed.pid
