"""Calling an agent: results, errors, order, and calls within calls."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import AgentId, MessageContext, RoutedAgent, message_handler
from autogen_core.exceptions import CantHandleException, UndeliverableException

from .agents import Echo, Failing, Recorder, Relay
from .bench import Bench, within
from .messages import Line, Number, Order, Received, Text


class Returning(RoutedAgent):
    """Hands the very object back."""

    def __init__(self) -> None:
        super().__init__("gives back")

    @message_handler
    async def on_any(self, message: Text | Order, ctx: MessageContext) -> Text | Order:
        return message


class Countdown(RoutedAgent):
    """Calls itself until the number is used up."""

    def __init__(self) -> None:
        super().__init__("counts down")

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Number:
        if message.value == 0:
            return message
        rest: Number = await self.send_message(Number(message.value - 1), self.id)
        return Number(rest.value + message.value)


class Meeting(RoutedAgent):
    """Answers nobody before it has heard two."""

    def __init__(self) -> None:
        super().__init__("waits for a second")
        self._first: asyncio.Future[None] | None = None

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        if self._first is None:
            self._first = asyncio.get_running_loop().create_future()
            await self._first
        elif not self._first.done():
            self._first.set_result(None)
        return message


async def test_call_returns_what_the_handler_returned(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    assert await bench.call(Text("hi"), AgentId("echo", "k")) == Text("echo/k: hi")


async def test_call_returns_none_when_the_handler_returned_none(bench: Bench, log: list[Received]) -> None:
    await Recorder.register(bench.host, "rec", lambda: Recorder(log))
    await bench.start("rec")
    assert await bench.call(Text("hi"), "rec") is None
    assert [seen.message for seen in log] == [Text("hi")]


async def test_call_passes_nested_pydantic_models_both_ways(bench: Bench) -> None:
    order = Order(lines=[Line(item="pen", count=2), Line(item="ink", count=1)])
    await Returning.register(bench.host, "returning", Returning)
    await bench.start("returning")
    assert await bench.call(order, "returning") == order


async def test_call_passes_the_object_itself_only_within_a_process(bench: Bench) -> None:
    await Returning.register(bench.host, "returning", Returning)
    await bench.start("returning")
    message = Text("same")
    reply = await bench.call(message, "returning")
    assert reply == message
    assert (reply is message) is not bench.is_remote


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad value"),
        LookupError("no such thing"),
        TimeoutError("took too long"),
        CantHandleException("not mine"),
        UndeliverableException("further on"),
        ValueError(),
        RuntimeError(""),
    ],
    ids=repr,
)
async def test_handler_error_reaches_the_caller_with_class_and_text(bench: Bench, error: Exception) -> None:
    await Failing.register(bench.host, "failing", lambda: Failing(error))
    await bench.start("failing")
    with pytest.raises(type(error)) as caught:
        await bench.call(Text("hi"), "failing")
    assert type(caught.value) is type(error)
    assert str(caught.value) == str(error)


def _asks_to_fail(message: Text, ctx: MessageContext) -> bool:
    return message.content == "fail"


async def test_agent_answers_again_after_an_error(bench: Bench) -> None:
    class Moody(Echo):
        @message_handler(match=_asks_to_fail)
        async def fail(self, message: Text, ctx: MessageContext) -> Text:
            raise ValueError("as asked")

    await Moody.register(bench.host, "moody", Moody)
    await bench.start("moody")
    with pytest.raises(ValueError, match=r"^as asked$"):
        await bench.call(Text("fail"), "moody")
    assert await bench.call(Text("hi"), "moody") == Text("moody/default: hi")


async def test_message_without_a_handler_goes_to_on_unhandled_message(bench: Bench) -> None:
    unhandled: list[tuple[object, bool]] = []

    class Picky(Echo):
        async def on_unhandled_message(self, message: object, ctx: MessageContext) -> None:
            unhandled.append((message, ctx.is_rpc))

    await Picky.register(bench.host, "picky", Picky)
    await bench.start("picky")
    assert await bench.call(Number(1), "picky") is None
    assert unhandled == [(Number(1), True)]


async def test_on_unhandled_message_may_raise_to_the_caller(bench: Bench) -> None:
    class Strict(Echo):
        async def on_unhandled_message(self, message: object, ctx: MessageContext) -> None:
            raise CantHandleException(f"no handler for {type(message).__name__}")

    await Strict.register(bench.host, "strict", Strict)
    await bench.start("strict")
    with pytest.raises(CantHandleException, match=r"^no handler for Number$"):
        await bench.call(Number(1), "strict")


async def test_call_to_an_unknown_type_raises(bench: Bench) -> None:
    """The oracle raises a bare Exception; ours says by the class that it was certainly not executed."""
    await bench.start()
    expected = Exception if bench.kind == "autogen" else UndeliverableException
    with pytest.raises(expected) as caught:
        await bench.call(Text("hi"), "nobody")
    assert bench.kind != "autogen" or str(caught.value) == "Recipient not found"


async def test_agent_calls_another_agent_within_its_handler(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await Relay.register(bench.host, "near", lambda: Relay(AgentId("echo", "k")))
    await Relay.register(bench.host, "far", lambda: Relay(AgentId("near", "k")))
    await bench.start("echo", "near", "far")
    assert await bench.call(Text("hi"), "far") == Text("far/default < near/k < echo/k: hi")


async def test_error_of_a_called_agent_passes_through_its_callers(bench: Bench) -> None:
    await Failing.register(bench.host, "failing", lambda: Failing(ValueError("deep down")))
    await Relay.register(bench.host, "near", lambda: Relay(AgentId("failing", "k")))
    await Relay.register(bench.host, "far", lambda: Relay(AgentId("near", "k")))
    await bench.start("failing", "near", "far")
    with pytest.raises(ValueError, match=r"^deep down$"):
        await bench.call(Text("hi"), "far")


async def test_agent_calls_itself_within_its_handler_without_a_deadlock(bench: Bench) -> None:
    await Countdown.register(bench.host, "countdown", Countdown)
    await bench.start("countdown")
    assert await bench.call(Number(10), "countdown") == Number(55)


async def test_called_agent_may_live_with_the_caller_and_the_calling_one_elsewhere(bench: Bench) -> None:
    await Echo.register(bench.caller, "echo", Echo)
    await Relay.register(bench.host, "relay", lambda: Relay(AgentId("echo", "k")))
    await bench.start("echo", "relay")
    assert await bench.call(Text("hi"), "relay") == Text("relay/default < echo/k: hi")


async def test_agent_handles_a_second_call_while_the_first_one_waits(bench: Bench) -> None:
    await Meeting.register(bench.host, "meeting", Meeting)
    await bench.start("meeting")
    replies = await asyncio.gather(bench.call(Text("one"), "meeting"), bench.call(Text("two"), "meeting"))
    assert list(replies) == [Text("one"), Text("two")]


async def test_calls_of_one_caller_reach_an_agent_in_order(bench: Bench, log: list[Received]) -> None:
    await Recorder.register(bench.host, "rec", lambda: Recorder(log))
    await bench.start("rec")
    await asyncio.gather(*(bench.call(Number(value), "rec") for value in range(50)))
    assert [seen.message.value for seen in log] == list(range(50))


async def test_many_calls_in_flight_each_get_their_own_answer(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    replies = await asyncio.gather(*(bench.call(Text(str(n)), AgentId("echo", str(n % 7))) for n in range(100)))
    assert replies == [Text(f"echo/{n % 7}: {n}") for n in range(100)]


async def test_call_made_before_start_is_answered_after_it(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    early = bench.caller.send_message(Text("early"), AgentId("echo", "default"))
    reply, _ = await within(asyncio.gather(early, bench.start("echo")))
    assert reply == Text("echo/default: early")
