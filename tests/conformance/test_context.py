"""What a handler is told about the message it handles."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from autogen_core import (
    AgentId,
    CancellationToken,
    DefaultTopicId,
    MessageContext,
    MessageHandlerContext,
    RoutedAgent,
    TopicId,
    message_handler,
    type_subscription,
)

from .agents import Recorder, Relay
from .bench import LOCAL, Bench
from .messages import Received, Text

TOPIC = TopicId("news", "paris")


@type_subscription("news")
class NewsRecorder(Recorder):
    """Subscribed to the topic type "news"."""


class Aware(RoutedAgent):
    """Answers with who the handler context says it is, also after a switch of tasks."""

    def __init__(self) -> None:
        super().__init__("knows itself")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        within_a_task = await asyncio.gather(_who())
        return Text(f"{MessageHandlerContext.agent_id()} {within_a_task[0]} {DefaultTopicId()}")


async def _who() -> AgentId:
    return MessageHandlerContext.agent_id()


async def test_call_from_outside_has_no_sender_and_no_topic(bench: Bench, log: list[Received]) -> None:
    await Recorder.register(bench.host, "rec", lambda: Recorder(log))
    await bench.start("rec")
    await bench.call(Text("hi"), "rec")
    ctx = log[0].ctx
    assert (ctx.sender, ctx.topic_id, ctx.is_rpc) == (None, None, True)
    assert not ctx.cancellation_token.is_cancelled()


async def test_event_from_outside_has_its_topic_and_no_sender(bench: Bench, log: list[Received]) -> None:
    await NewsRecorder.register(bench.host, "rec", lambda: NewsRecorder(log))
    await bench.start("rec")
    await bench.publish(Text("hi"), TOPIC)
    await bench.idle()
    ctx = log[0].ctx
    assert (ctx.sender, ctx.topic_id, ctx.is_rpc) == (None, TOPIC, False)
    assert not ctx.cancellation_token.is_cancelled()


async def test_call_names_the_agent_that_sent_it(bench: Bench, log: list[Received]) -> None:
    class RecordingEcho(Recorder):
        @message_handler
        async def answer(self, message: Text, ctx: MessageContext) -> Text:
            log.append(Received(self.id, message, ctx))
            return message

    await RecordingEcho.register(bench.host, "rec", lambda: RecordingEcho(log))
    await Relay.register(bench.caller, "relay", lambda: Relay(AgentId("rec", "default")))
    await bench.start("rec", "relay")
    await bench.call(Text("hi"), AgentId("relay", "k"))
    assert log[0].ctx.sender == AgentId("relay", "k")


async def test_sender_that_the_caller_names_is_passed_on(bench: Bench, log: list[Received]) -> None:
    await NewsRecorder.register(bench.host, "rec", lambda: NewsRecorder(log))
    await Relay.register(bench.caller, "relay", lambda: Relay(AgentId("rec", "default")))
    await bench.start("rec", "relay")
    await bench.call(Text("a call"), "rec", sender=AgentId("relay", "k"))
    await bench.publish(Text("an event"), TOPIC, sender=AgentId("relay", "k"))
    await bench.idle()
    assert [seen.ctx.sender for seen in log] == [AgentId("relay", "k")] * 2


async def test_message_id_is_passed_on(bench: Bench, log: list[Received]) -> None:
    await NewsRecorder.register(bench.host, "rec", lambda: NewsRecorder(log))
    await bench.start("rec")
    await bench.call(Text("a call"), "rec", message_id="call-1")
    await bench.publish(Text("an event"), TOPIC, message_id="event-1")
    await bench.idle()
    assert [seen.ctx.message_id for seen in log] == ["call-1", "event-1"]


class Label(str):
    """A text of a class of the user's, as numpy's are."""

    __slots__ = ()


async def test_ids_may_be_of_classes_that_are_texts(bench: Bench, log: list[Received]) -> None:
    await NewsRecorder.register(bench.host, "rec", lambda: NewsRecorder(log))
    await bench.start("rec")
    await bench.call(Text("a call"), "rec", message_id=Label("call-1"))
    await bench.publish(Text("an event"), TopicId(Label(TOPIC.type), Label(TOPIC.source)), message_id=Label("event-1"))
    await bench.call(Text("a call"), "rec", message_id="call-2")
    await bench.idle()
    assert {seen.ctx.message_id for seen in log} == {"call-1", "event-1", "call-2"}


async def test_message_id_is_a_new_uuid_when_none_is_given(bench: Bench, log: list[Received]) -> None:
    await NewsRecorder.register(bench.host, "rec", lambda: NewsRecorder(log))
    await bench.start("rec")
    await bench.call(Text("a call"), "rec")
    await bench.publish(Text("an event"), TOPIC)
    await bench.idle()
    assert len({uuid.UUID(seen.ctx.message_id) for seen in log}) == 2


async def test_message_id_of_an_event_is_the_same_for_each_subscriber(bench: Bench, log: list[Received]) -> None:
    await NewsRecorder.register(bench.host, "one", lambda: NewsRecorder(log))
    await NewsRecorder.register(bench.host, "two", lambda: NewsRecorder(log))
    await bench.start("one", "two")
    await bench.publish(Text("an event"), TOPIC)
    await bench.idle()
    assert len(log) == 2
    assert len({seen.ctx.message_id for seen in log}) == 1


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_cancellation_token_is_the_callers_own_within_a_process(bench: Bench, log: list[Received]) -> None:
    await NewsRecorder.register(bench.host, "rec", lambda: NewsRecorder(log))
    await bench.start("rec")
    token = CancellationToken()
    await bench.call(Text("a call"), "rec", cancellation_token=token)
    await bench.publish(Text("an event"), TOPIC, cancellation_token=token)
    await bench.idle()
    assert [seen.ctx.cancellation_token is token for seen in log] == [True, True]


async def test_handler_context_knows_the_agent_in_the_handler_and_its_tasks(bench: Bench) -> None:
    await Aware.register(bench.host, "aware", Aware)
    await bench.start("aware")
    assert await bench.call(Text("who?"), AgentId("aware", "k")) == Text("aware/k aware/k default/k")


async def test_handler_context_of_concurrent_handlers_is_their_own(bench: Bench) -> None:
    await Aware.register(bench.host, "aware", Aware)
    await bench.start("aware")
    replies = await asyncio.gather(*(bench.call(Text("who?"), AgentId("aware", key)) for key in "abc"))
    assert replies == [Text(f"aware/{key} aware/{key} default/{key}") for key in "abc"]


async def test_handler_context_raises_outside_a_handler(bench: Bench) -> None:
    await Aware.register(bench.host, "aware", Aware)
    await bench.start("aware")
    await bench.call(Text("who?"), "aware")
    with pytest.raises(RuntimeError, match="must be called within a message handler"):
        MessageHandlerContext.agent_id()
