"""A receiver that is slower than its senders: they wait, and then are told."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import TopicId, TypeSubscription

from tests.integration.agents import Patient, agent
from tests.integration.clusters import Cluster, eventually, instance_of, node_of, within
from tests.integration.messages import Number, Text
from tests.integration.processes import Launch
from zmqagents import BackpressureError

pytestmark = pytest.mark.integration

EVENT_WINDOW = CALL_WINDOW = 8_192  # SPEC.md section 5
LINK_WINDOW = 1_024


async def test_publisher_waits_for_handlers_of_a_full_window_and_is_told_who_is_slow(cluster: Cluster) -> None:
    host, publisher = await cluster.pair(Patient, send_timeout_s=2.0)
    await host.add_subscription(TypeSubscription("news", "patient"))
    await eventually(lambda: node_of(publisher).directory.agent_types("news"))
    topic = TopicId("news", "default")
    for _ in range(EVENT_WINDOW):
        await publisher.publish_message(Text("hi"), topic)
    with pytest.raises(BackpressureError, match=r"node-1 .* has taken no more messages for 2 s"):
        await within(publisher.publish_message(Text("hi"), topic))

    patient: Patient = instance_of(host, "patient/default")
    patient.go_on.set()
    await eventually(lambda: node_of(publisher).unfinished_events < EVENT_WINDOW)
    await within(publisher.publish_message(Text("hi"), topic))
    await within(publisher.stop_when_idle())


async def test_caller_waits_for_the_answers_of_a_full_window_and_is_told_who_is_slow(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Patient, send_timeout_s=0.2, cancel_grace_s=60.0)
    calls: list[asyncio.Future[Text]] = []
    while len(calls) < CALL_WINDOW:
        calls += [asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient"))) for _ in range(512)]
        count = len(calls)
        await eventually(lambda count=count: len(node_of(host).served) == count)  # type: ignore[misc]
    calls.pop().cancel()  # its handler goes on, so it makes no room
    with pytest.raises(BackpressureError, match=r"node-1 .* has taken no more messages for 0.2 s"):
        await within(caller.send_message(Text("one more"), agent("patient")))
    assert len(node_of(host).served) == CALL_WINDOW

    patient: Patient = instance_of(host, "patient/default")
    patient.go_on.set()
    assert set(map(type, await within(asyncio.gather(*calls)))) == {Text}
    assert await within(caller.send_message(Text("again"), agent("patient"))) == Text("again")


async def test_caller_of_a_process_that_stands_still_is_told_so_and_nothing_is_sent(
    cluster: Cluster, launch: Launch
) -> None:
    caller = await cluster.host(discovery="mdns", send_timeout_s=0.2)
    member = await launch("member", cluster=cluster.name, instance_id="stuck", agents=["busy"])
    await member.report("started")
    await within(caller.wait_for_agents("busy"))
    standing = asyncio.ensure_future(caller.send_message(Number(1_500), agent("busy")))
    await asyncio.sleep(0)
    calls = [asyncio.ensure_future(caller.send_message(Number(0), agent("busy"))) for _ in range(2 * LINK_WINDOW)]
    outcomes = await within(asyncio.gather(*calls, return_exceptions=True))
    refused = [outcome for outcome in outcomes if isinstance(outcome, BackpressureError)]
    assert len(refused) > LINK_WINDOW / 2
    assert "stuck" in (refused[0].peer or "")
    assert [outcome for outcome in outcomes if outcome not in refused] == [Text("done")] * (len(calls) - len(refused))
    assert await within(standing) == Text("done")
