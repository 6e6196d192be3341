"""Messages of a class that the receiving process has no serializer for."""

from __future__ import annotations

import pytest
from autogen_core import (
    AgentId,
    MessageContext,
    RoutedAgent,
    TopicId,
    UnknownPayload,
    message_handler,
    try_get_known_serializers_for_type,
)

from .bench import LOCAL, REMOTE, Bench
from .messages import Text
from .unlisted import Unlisted


class Puzzled(RoutedAgent):
    """Handles Text only, and writes down what else comes."""

    def __init__(self, unhandled: list[object]) -> None:
        super().__init__("knows one class")
        self._unhandled = unhandled

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        return message

    async def on_unhandled_message(self, message: object, ctx: MessageContext) -> None:
        self._unhandled.append(message)


class Inscrutable(RoutedAgent):
    """Answers with a class of its own process."""

    def __init__(self) -> None:
        super().__init__("answers in its own words")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Unlisted:
        return Unlisted(message.content)


@pytest.fixture
def unhandled() -> list[object]:
    return []


@pytest.fixture
async def puzzled(bench: Bench, unhandled: list[object]) -> AgentId:
    """An agent that doesn't know Unlisted, of a started bench whose caller does."""
    await Puzzled.register(bench.host, "puzzled", lambda: Puzzled(unhandled))
    bench.caller.add_message_serializer(try_get_known_serializers_for_type(Unlisted))
    await bench.start("puzzled")
    return AgentId("puzzled", "k")


async def test_event_of_an_unlisted_class_reaches_the_handler_as_far_as_it_can_be_read(
    bench: Bench, puzzled: AgentId, unhandled: list[object]
) -> None:
    await bench.publish(Unlisted("hi"), TopicId("puzzled:", "k"))
    await bench.idle()
    [message] = unhandled
    if not bench.is_remote:
        assert message == Unlisted("hi")
        return
    assert isinstance(message, UnknownPayload)
    assert (message.type_name, message.data_content_type) == ("Unlisted", "application/json")
    assert b"hi" in message.payload


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_call_with_an_unlisted_class_is_passed_as_it_is_within_a_process(
    bench: Bench, puzzled: AgentId, unhandled: list[object]
) -> None:
    for message in (Unlisted("hi"), object(), "text", 5, None):
        assert await bench.call(message, puzzled) is None
        assert unhandled[-1] is message


@pytest.mark.integration
@pytest.mark.parametrize("kind", REMOTE, indirect=True)
async def test_call_with_an_unlisted_class_is_an_error_that_names_it(
    bench: Bench, puzzled: AgentId, unhandled: list[object]
) -> None:
    with pytest.raises(Exception, match="Unlisted"):
        await bench.call(Unlisted("hi"), puzzled)
    assert unhandled == []
    assert await bench.call(Text("still there"), puzzled) == Text("still there")


@pytest.mark.integration
@pytest.mark.parametrize("kind", REMOTE, indirect=True)
async def test_class_without_any_serializer_is_an_error_at_the_sender_that_names_it(
    bench: Bench, puzzled: AgentId
) -> None:
    class Bare:
        pass

    with pytest.raises(Exception, match="Bare"):
        await bench.call(Bare(), puzzled)
    with pytest.raises(Exception, match="Bare"):
        await bench.publish(Bare(), TopicId("puzzled:", "k"))


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_reply_of_an_unlisted_class_comes_back_within_a_process(bench: Bench) -> None:
    await Inscrutable.register(bench.host, "inscrutable", Inscrutable)
    await bench.start("inscrutable")
    assert await bench.call(Text("hi"), "inscrutable") == Unlisted("hi")


async def test_reply_comes_back_once_the_caller_has_a_serializer_for_it(bench: Bench) -> None:
    """That of the answering side is found in the handler's signature."""
    await Inscrutable.register(bench.host, "inscrutable", Inscrutable)
    bench.caller.add_message_serializer(try_get_known_serializers_for_type(Unlisted))
    await bench.start("inscrutable")
    assert await bench.call(Text("hi"), "inscrutable") == Unlisted("hi")
