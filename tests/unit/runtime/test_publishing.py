"""Events on a network with faults: what was not finished goes to the agents' next homes, but not for ever."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import MessageContext, RoutedAgent, TopicId, TypeSubscription, message_handler
from msgspec.structs import replace

from tests.integration.agents import Patient
from tests.integration.clusters import eventually, instance_of, node_of, within
from tests.integration.messages import Text
from tests.unit.runtime.by_hand import ByHand
from tests.unit.runtime.wired import WiredCluster
from zmqagents import DeadLetter, ZmqAgentRuntime
from zmqagents.protocol import frames as f
from zmqagents.protocol.bounds import MAX_EVENT_HOPS

NEWS = TopicId("news", "default")


class Noting(RoutedAgent):
    """Writes down the ids of the messages that reach it."""

    def __init__(self) -> None:
        super().__init__("notes")
        self.ids: list[str] = []

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        self.ids.append(ctx.message_id)


async def subscribed(host: ZmqAgentRuntime, publisher: ZmqAgentRuntime, agent_type: str) -> None:
    await host.add_subscription(TypeSubscription("news", agent_type))
    await eventually(lambda: agent_type in node_of(publisher).directory.agent_types("news"))


def event(hops: int, *recipients: str) -> f.Event:
    return f.Event(
        "news", "default", "m1", None, list(recipients), "Text", "application/json", hops, None, b'{"content":""}'
    )


async def test_unfinished_event_of_a_lost_process_goes_to_the_agents_next_home_with_its_id(wired: WiredCluster) -> None:
    first, publisher = await wired.pair(Patient)
    await subscribed(first, publisher, "patient")
    await within(publisher.publish_message(Text("hi"), NEWS, message_id="m1"))
    await eventually(lambda: "patient/default" in first._parts.agents.instances)
    second = wired.make()
    await Noting.register(second, "patient", Noting)
    await second.add_subscription(TypeSubscription("news", "patient"))
    await within(second.start())
    await eventually(lambda: node_of(publisher).directory.process_count("patient") == 2)
    wired.kill(first)
    await eventually(lambda: "patient/default" in second._parts.agents.instances)
    noting: Noting = instance_of(second, "patient/default")
    await eventually(lambda: noting.ids == ["m1"])
    await within(publisher.stop_when_idle())


async def test_unfinished_event_that_has_no_next_home_is_a_dead_letter(wired: WiredCluster) -> None:
    letters: list[DeadLetter] = []
    host, publisher = await wired.pair(Patient, on_dead_letter=letters.append)
    await subscribed(host, publisher, "patient")
    await within(publisher.publish_message(Text("hi"), NEWS, message_id="m1"))
    await eventually(lambda: "patient/default" in host._parts.agents.instances)
    wired.kill(host)
    await eventually(lambda: letters)
    assert letters == [DeadLetter("patient/default", "news/default", "m1", "Text", "no process hosts its type")]


async def test_event_for_an_agent_that_is_not_here_is_sent_on(
    wired: WiredCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, other = await wired.pair(Noting)
    third = await wired.host()
    ByHand(other, third, monkeypatch).feed(event(0, "noting/default"))
    await eventually(lambda: "noting/default" in host._parts.agents.instances)
    noting: Noting = instance_of(host, "noting/default")
    await eventually(lambda: noting.ids == ["m1"])


async def test_event_that_was_sent_on_too_often_is_a_dead_letter(
    wired: WiredCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters: list[DeadLetter] = []
    host, other = await wired.pair(Noting, on_dead_letter=letters.append)
    ByHand(other, host, monkeypatch).feed(event(MAX_EVENT_HOPS, "noting/default"))
    assert [letter.reason.partition(":")[0] for letter in letters] == ["it was sent on too often"]
    assert "noting/default" not in host._parts.agents.instances


async def test_event_that_cannot_be_read_is_a_dead_letter_of_its_receiver(
    wired: WiredCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    letters: list[DeadLetter] = []
    host, other = await wired.pair(Noting, on_dead_letter=letters.append)
    ByHand(host, other, monkeypatch).feed(replace(event(0, "noting/default"), payload=b"{"))
    [letter] = letters
    assert (letter.recipient, letter.message_id) == ("noting/default", "m1")
    assert "can't be read" in letter.reason


async def test_event_for_thousands_of_agents_of_one_process_reaches_each_once(wired: WiredCluster) -> None:
    host = wired.make()
    for number in range(300):
        await Noting.register(host, f"noting{number}", Noting)
        await host.add_subscription(TypeSubscription("news", f"noting{number}"))
    await within(host.start())
    publisher = await wired.host()
    await within(publisher.publish_message(Text("hi"), NEWS))
    await within(publisher.stop_when_idle())
    assert len(host._parts.agents.instances) == 300
    assert all(len(noting.ids) == 1 for noting in host._parts.agents.instances.values())  # type: ignore[attr-defined]


async def test_publisher_waits_for_a_receiver_that_stands_still_and_its_events_arrive_in_order(
    wired: WiredCluster,
) -> None:
    host, publisher = await wired.pair(Noting)
    await subscribed(host, publisher, "noting")
    wired.hub.cut(node_of(host).node_id, node_of(publisher).node_id)
    publishing = asyncio.gather(
        *(publisher.publish_message(Text("hi"), NEWS, message_id=str(number)) for number in range(2_000))
    )
    await eventually(lambda: node_of(publisher).state.peers[node_of(host).node_id].path is None)
    wired.hub.heal(node_of(host).node_id, node_of(publisher).node_id)
    await within(publishing)
    await within(publisher.stop_when_idle())
    noting: Noting = instance_of(host, "noting/default")
    assert noting.ids == [str(number) for number in range(2_000)]
