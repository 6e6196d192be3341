"""Calls on a network with faults: each ends once, and goes to where its agent lives now if it was not executed."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import MessageContext, RoutedAgent, message_handler
from autogen_core.exceptions import UndeliverableException

from tests.integration.agents import Counter, Echo, Patient, agent
from tests.integration.clusters import eventually, instance_of, node_of, within
from tests.integration.messages import Number, Text
from tests.unit.runtime.wired import WiredCluster
from zmqagents import CallTimeoutError, PeerLost
from zmqagents.errors import RuntimeNotStartedError
from zmqagents.protocol import frames as f


class Ending(RoutedAgent):
    """Raises what ends programs."""

    def __init__(self) -> None:
        super().__init__("ends")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        raise SystemExit(3)


async def test_call_in_flight_ends_as_lost_when_its_target_dies(wired: WiredCluster) -> None:
    host, caller = await wired.pair(Patient)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    await eventually(lambda: "patient/default" in host._parts.agents.instances)
    wired.kill(host)
    with pytest.raises(PeerLost, match=r"the process node-1 \(\w{8}\) went away") as lost:
        await within(call)
    assert (lost.value.peer or "").startswith("node-1")


async def test_call_that_was_never_on_the_way_goes_to_the_next_home(wired: WiredCluster) -> None:
    host, caller = await wired.pair(Echo)
    wired.hub.cut(node_of(host).node_id, node_of(caller).node_id)
    await eventually(lambda: node_of(caller).state.peers[node_of(host).node_id].path is None)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("echo")))
    await asyncio.sleep(0)
    await wired.host(Echo)
    wired.kill(host)
    assert await within(call) == Text("hi")


async def test_call_survives_a_short_cut_and_is_executed_once(wired: WiredCluster) -> None:
    host, caller = await wired.pair(Counter)
    assert await within(caller.send_message(Number(1), agent("counter"))) == Number(1)
    wired.hub.cut(node_of(host).node_id, node_of(caller).node_id)
    calls = asyncio.gather(*(caller.send_message(Number(1), agent("counter")) for _ in range(10)))
    await eventually(lambda: node_of(caller).state.peers[node_of(host).node_id].path is None)
    wired.hub.heal(node_of(host).node_id, node_of(caller).node_id)
    await within(calls)
    counter: Counter = instance_of(host, "counter/default")
    assert counter.total == 11


async def test_call_refused_by_a_process_that_has_not_its_agent_is_undeliverable_if_no_other_home_appears(
    wired: WiredCluster,
) -> None:
    host, caller = await wired.pair(Counter, discovery_timeout_s=0.1)
    node_of(caller).agency.locations.learn("echo/default", node_of(host).node_id)  # as if it had been there
    with pytest.raises(UndeliverableException, match="echo"):
        await within(caller.send_message(Text("hi"), agent("echo")))


async def test_call_whose_deadline_passes_while_nobody_answers_ends_without_waiting_for_a_verdict(
    wired: WiredCluster,
) -> None:
    host, caller = await wired.pair(Echo)
    wired.hub.freeze(node_of(host).node_id)
    with pytest.raises(CallTimeoutError, match=r"echo/default on node-1 \(\w{8}\) did not answer"):
        await within(caller.send_message(Text("hi"), agent("echo"), timeout_s=0.05))
    wired.hub.thaw(node_of(host).node_id)


async def test_call_made_by_hand_after_the_sockets_are_closed_is_refused(wired: WiredCluster) -> None:
    _, caller = await wired.pair(Echo)
    running = caller._lifecycle.running
    assert running is not None
    await within(caller.stop())
    with pytest.raises((RuntimeNotStartedError, UndeliverableException)):
        await within(running.outbound.operate(f.Operation.METADATA, "echo/default"))


async def test_local_handler_that_ends_programs_ends_its_call_and_not_the_event_loop(wired: WiredCluster) -> None:
    host = await wired.host(Ending, Echo)
    with pytest.raises(SystemExit):
        await host.send_message(Text("hi"), agent("ending"))
    assert await within(host.send_message(Text("hi"), agent("echo"))) == Text("hi")
