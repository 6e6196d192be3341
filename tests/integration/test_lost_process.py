"""A process that is killed, stands still, or is not there."""

from __future__ import annotations

import asyncio
import time

import pytest
from autogen_core import AgentId
from autogen_core.exceptions import UndeliverableException

from tests.integration.clusters import Cluster, eventually, within
from tests.integration.messages import Number, Text
from tests.integration.processes import Launch, Program
from zmqagents import PeerLost, ZmqAgentRuntime

pytestmark = pytest.mark.integration

LOST_WITHIN_S = 1.0


async def member(launch: Launch, runtime: ZmqAgentRuntime, name: str, *agents: str) -> Program:
    """A process in the cluster of ``runtime``, which knows it when this returns."""
    program = await launch("member", cluster=runtime.config.cluster, instance_id=name, agents=agents)
    await program.report("started")
    for agent in agents:
        await runtime.wait_for_agents(agent, 1, 10)
    return program


async def test_call_in_flight_ends_within_a_second_when_its_target_is_killed(cluster: Cluster, launch: Launch) -> None:
    caller = await cluster.host(discovery="mdns")
    target = await member(launch, caller, "target", "slow")
    call = asyncio.ensure_future(caller.send_message(Number(60_000), AgentId("slow", "a")))
    await target.report("handling")

    target.kill()
    killed_s = time.monotonic()

    with pytest.raises(PeerLost, match=r"target.*slow/a.*unknown") as lost:
        await within(call)
    assert time.monotonic() - killed_s < LOST_WITHIN_S
    assert lost.value.peer is not None
    assert "target" in lost.value.peer
    assert caller.peers() == []


async def test_call_to_the_type_of_a_killed_process_is_undeliverable(cluster: Cluster, launch: Launch) -> None:
    caller = await cluster.host(discovery="mdns", discovery_timeout_s=0.5)
    target = await member(launch, caller, "target", "where")
    target.kill()
    await eventually(lambda: caller.peers() == [])
    with pytest.raises(UndeliverableException, match="where"):
        await within(caller.send_message(Text("?"), AgentId("where", "a")))


async def test_call_to_the_type_of_a_killed_process_is_answered_by_another_host(
    cluster: Cluster, launch: Launch
) -> None:
    caller = await cluster.host(discovery="mdns")
    first = await member(launch, caller, "first", "where")
    second = await member(launch, caller, "second", "where")
    await caller.wait_for_agents("where", 2, 10)
    first.kill()
    answers = await within(
        asyncio.gather(
            *(caller.send_message(Text("?"), AgentId("where", str(n))) for n in range(20)), return_exceptions=True
        )
    )
    lost = [answer for answer in answers if isinstance(answer, PeerLost)]
    assert [answer for answer in answers if answer not in lost] == [Number(second.pid)] * (20 - len(lost))
    await eventually(lambda: [peer.instance_id for peer in caller.peers()] == ["second"])
    answer = await within(caller.send_message(Text("?"), AgentId("where", "later")))
    assert answer == Number(second.pid)


async def test_process_whose_event_loop_stands_still_is_not_given_up(cluster: Cluster, launch: Launch) -> None:
    caller = await cluster.host(discovery="mdns", zmtp_heartbeat_s=0.2)
    await member(launch, caller, "target", "busy")
    answer = await within(caller.send_message(Number(3_000), AgentId("busy", "a")))
    assert answer == Text("done")
    assert len(caller.peers()) == 1
