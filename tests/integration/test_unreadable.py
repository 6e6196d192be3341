"""What can't be serialized, and what the receiver doesn't know."""

from __future__ import annotations

import asyncio
import json
from dataclasses import make_dataclass
from typing import Any

import pytest
from autogen_core import (
    AgentId,
    BaseAgent,
    DefaultTopicId,
    MessageContext,
    MessageSerializer,
    RoutedAgent,
    TypeSubscription,
    message_handler,
    try_get_known_serializers_for_type,
)

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, eventually, node_of, within
from tests.integration.messages import Text, Whatever
from tests.integration.processes import Launch
from zmqagents import SerializationError

pytestmark = pytest.mark.integration


class NotAMessage:
    """Neither a dataclass, nor Pydantic's, nor Protobuf's."""


class Giver(RoutedAgent):
    """Answers with what can't be serialized: a class, or a value in a class that can be."""

    def __init__(self) -> None:
        super().__init__("gives")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Any:
        return NotAMessage() if message.content == "class" else Whatever(NotAMessage())


class JsonOf(MessageSerializer[Any]):
    """A serializer by hand, under a type name that only one side knows."""

    def __init__(self, cls: type[Any], type_name: str) -> None:
        self.cls = cls
        self._type_name = type_name

    @property
    def data_content_type(self) -> str:
        return "application/json"

    @property
    def type_name(self) -> str:
        return self._type_name

    def deserialize(self, payload: bytes) -> Any:
        raise AssertionError("nobody else writes this type")

    def serialize(self, message: Any) -> bytes:
        return json.dumps(vars(message)).encode()


async def test_call_with_a_class_that_nobody_can_serialize_fails_at_once_and_says_what_to_do(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Echo)
    with pytest.raises(
        SerializationError, match=r"NotAMessage.*can't be serialized: make it a dataclass.*add_message_serializer"
    ):
        await within(caller.send_message(NotAMessage(), agent("echo")), 1)


async def test_event_of_a_class_that_nobody_can_serialize_fails_at_its_publisher(
    cluster: Cluster, launch: Launch
) -> None:
    caller = await cluster.host(discovery="mdns")
    listener = await launch("member", cluster=cluster.name, agents=["listener"])
    await listener.report("started")
    await caller.wait_for_agents("listener", 1, 10)
    with pytest.raises(SerializationError, match="NotAMessage"):
        await within(caller.publish_message(NotAMessage(), DefaultTopicId()), 1)


@pytest.mark.parametrize("what", ["class", "value"])
async def test_reply_that_cannot_be_serialized_is_an_error_that_names_its_class(cluster: Cluster, what: str) -> None:
    host, caller = await cluster.pair(Giver)
    named = {"class": "NotAMessage", "value": "Whatever"}[what]
    with pytest.raises(SerializationError, match=rf"giver/default.*{named}.*node-1"):
        await within(caller.send_message(Text(what), agent("giver")))
    assert not node_of(host).served


async def test_call_with_a_type_that_the_receiver_does_not_know_is_an_error_that_names_it(
    cluster: Cluster, launch: Launch
) -> None:
    caller = await cluster.host(discovery="mdns")
    member = await launch("member", cluster=cluster.name, instance_id="receiver", agents=["anything"])
    await member.report("started")
    unheard_of = make_dataclass("UnheardOf", [("content", str)], namespace={"__module__": __name__})
    with pytest.raises(
        SerializationError, match=r"'UnheardOf' as application/json is not known.*anything/default.*receiver"
    ):
        await within(caller.send_message(unheard_of("hi"), agent("anything")))
    assert await within(caller.send_message(Text("hi"), agent("anything"))) is None


async def test_event_of_a_type_that_the_receiver_does_not_know_reaches_the_agent_as_unknown_payload(
    cluster: Cluster, launch: Launch
) -> None:
    caller = await cluster.host(discovery="mdns")
    member = await launch("member", cluster=cluster.name, agents=["anything"], subscribe={"news": "anything"})
    await member.report("started")
    await eventually(lambda: node_of(caller).directory.agent_types("news"))
    unheard_of = make_dataclass("UnheardOf", [("content", str)], namespace={"__module__": __name__})
    await within(caller.publish_message(unheard_of("hi"), DefaultTopicId("news")))
    unknown = await member.report("unknown")
    assert unknown == {"what": "unknown", "type_name": "UnheardOf", "payload": '{"content":"hi"}'}


async def test_reply_of_a_type_that_the_caller_does_not_know_is_an_error_that_says_what_to_do(cluster: Cluster) -> None:
    class Answering(BaseAgent):
        async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
            return Whatever(1)

    host = cluster.make()
    await Answering.register(host, "answering", lambda: Answering("answers"))
    host.add_message_serializer(try_get_known_serializers_for_type(Text))
    host.add_message_serializer(JsonOf(Whatever, "OnlyTheHostKnows"))
    await within(host.start())
    caller = await cluster.host()
    with pytest.raises(SerializationError, match=r"node-1.*'OnlyTheHostKnows'.*import its class.*register it"):
        await within(caller.send_message(Text("?"), agent("answering")))


@pytest.mark.parametrize("text", ["\ud800", "x" * 1_025], ids=["a lone surrogate", "too long"])
async def test_text_that_the_wire_cannot_carry_is_an_error_of_its_sender_and_disturbs_nobody(
    cluster: Cluster, text: str
) -> None:
    _, caller = await cluster.pair(Echo)
    bystander = asyncio.gather(*(caller.send_message(Text(str(n)), agent("echo")) for n in range(10)))
    refused = [
        caller.send_message(Text("?"), AgentId("echo", text)),
        caller.send_message(Text("?"), agent("echo"), message_id=text),
        caller.send_message(Text("?"), agent("echo"), sender=AgentId("me", text)),
    ]
    for call in refused:
        with pytest.raises((SerializationError, UnicodeEncodeError)):
            await within(call)
    assert len(await within(bystander)) == 10
    assert node_of(caller).state.counters.resets == 0


async def test_wrong_text_of_an_event_is_an_error_of_its_publisher(cluster: Cluster, launch: Launch) -> None:
    host, caller = await cluster.pair(Echo)
    await host.add_subscription(TypeSubscription("news", "echo"))
    await eventually(lambda: node_of(caller).directory.agent_types("news"))
    for publish in (
        caller.publish_message(Text("?"), DefaultTopicId("news", "\ud800")),
        caller.publish_message(Text("?"), DefaultTopicId("news", "x" * 2_000)),
        caller.publish_message(Text("?"), DefaultTopicId("news"), message_id="x" * 2_000),
        caller.publish_message(Text("?"), DefaultTopicId("news"), sender=AgentId("me", "x" * 2_000)),
    ):
        with pytest.raises((SerializationError, UnicodeEncodeError)):
            await within(publish)
    assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")
    assert node_of(caller).state.counters.resets == 0
