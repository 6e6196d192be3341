"""Which handler of a RoutedAgent gets a message."""

from __future__ import annotations

from typing import Any

import pytest
from autogen_core import AgentId, MessageContext, RoutedAgent, TopicId, event, message_handler, rpc, type_subscription
from autogen_core.exceptions import CantHandleException

from .bench import Bench
from .messages import Number, Text

TOPIC = TopicId("news", "k")


def is_urgent(message: Text, ctx: MessageContext) -> bool:
    return message.content.startswith("urgent")


def is_from_an_agent(message: Text, ctx: MessageContext) -> bool:
    return ctx.sender is not None


@type_subscription("news")
class Split(RoutedAgent):
    """Handles calls and events by different methods, and writes down which one ran."""

    def __init__(self, ran: list[str]) -> None:
        super().__init__("splits calls from events")
        self._ran = ran

    @rpc
    async def on_call(self, message: Text, ctx: MessageContext) -> Text:
        self._ran.append(f"call {message.content}")
        return message

    @event
    async def on_event(self, message: Text, ctx: MessageContext) -> None:
        self._ran.append(f"event {message.content}")

    async def on_unhandled_message(self, message: Any, ctx: MessageContext) -> None:
        self._ran.append(f"unhandled {message}")


@type_subscription("news")
class CallsOnly(Split):
    """Without the event handler of its base."""

    on_event = None  # type: ignore[assignment]


@type_subscription("news")
class EventsOnly(Split):
    """Without the call handler of its base."""

    on_call = None  # type: ignore[assignment]


class Matching(RoutedAgent):
    """Handlers of one message type, told apart by ``match``; written against the alphabet on purpose."""

    def __init__(self) -> None:
        super().__init__("matches")

    @message_handler
    async def c_anything(self, message: Text, ctx: MessageContext) -> Text:
        return Text("c_anything")

    @message_handler(match=is_urgent)
    async def b_urgent(self, message: Text, ctx: MessageContext) -> Text:
        return Text("b_urgent")

    @rpc(match=is_from_an_agent)
    async def a_from_an_agent(self, message: Text, ctx: MessageContext) -> Text:
        return Text("a_from_an_agent")

    @message_handler
    async def d_never(self, message: Text, ctx: MessageContext) -> Text:
        return Text("d_never")


class Careless(RoutedAgent):
    """Its handlers return what their signatures don't say."""

    def __init__(self) -> None:
        super().__init__("says one thing and does another")

    @message_handler
    async def strict(self, message: Text, ctx: MessageContext) -> Text:
        return Number(1)  # type: ignore[return-value]

    @message_handler(strict=False)
    async def lenient(self, message: Number, ctx: MessageContext) -> Number:
        return Text("not a number")  # type: ignore[return-value]


class Union(RoutedAgent):
    """One handler for two message types, which answers with the other one."""

    def __init__(self) -> None:
        super().__init__("takes either")

    @message_handler
    async def on_either(self, message: Text | Number, ctx: MessageContext) -> Text | Number | None:
        if isinstance(message, Text):
            return Number(len(message.content)) if message.content else None
        return Text(str(message.value))


class Inheriting(Matching):
    """Replaces one handler of its base and keeps the others."""

    @message_handler(match=is_urgent)
    async def b_urgent(self, message: Text, ctx: MessageContext) -> Text:  # type: ignore[override]
        return Text("replaced")


@pytest.fixture
def ran() -> list[str]:
    return []


async def test_rpc_handler_runs_for_calls_and_event_handler_for_events(bench: Bench, ran: list[str]) -> None:
    await Split.register(bench.host, "split", lambda: Split(ran))
    await bench.start("split")
    assert await bench.call(Text("one"), AgentId("split", "k")) == Text("one")
    await bench.publish(Text("two"), TOPIC)
    await bench.idle()
    assert ran == ["call one", "event two"]


async def test_event_without_an_event_handler_is_unhandled(bench: Bench, ran: list[str]) -> None:
    await CallsOnly.register(bench.host, "calls", lambda: CallsOnly(ran))
    await bench.start("calls")
    await bench.publish(Text("one"), TOPIC)
    await bench.idle()
    assert ran == ["unhandled Text(content='one')"]


async def test_call_without_an_rpc_handler_is_unhandled_and_answers_none(bench: Bench, ran: list[str]) -> None:
    await EventsOnly.register(bench.host, "events", lambda: EventsOnly(ran))
    await bench.start("events")
    assert await bench.call(Text("one"), "events") is None
    assert ran == ["unhandled Text(content='one')"]


@pytest.mark.parametrize(("content", "handler"), [("urgent: hi", "b_urgent"), ("hi", "c_anything")])
async def test_first_matching_handler_in_alphabetical_order_runs(bench: Bench, content: str, handler: str) -> None:
    await Matching.register(bench.host, "matching", Matching)
    await bench.start("matching")
    assert await bench.call(Text(content), "matching") == Text(handler)


async def test_match_function_may_look_at_the_context(bench: Bench) -> None:
    await Matching.register(bench.host, "matching", Matching)
    await bench.start("matching")
    reply = await bench.call(Text("urgent"), "matching", sender=AgentId("matching", "other"))
    assert reply == Text("a_from_an_agent")


async def test_handler_of_a_subclass_replaces_that_of_its_base(bench: Bench) -> None:
    await Inheriting.register(bench.host, "inheriting", Inheriting)
    await bench.start("inheriting")
    assert await bench.call(Text("urgent"), "inheriting") == Text("replaced")
    assert await bench.call(Text("hi"), "inheriting") == Text("c_anything")


async def test_handler_takes_and_returns_each_type_of_a_union(bench: Bench) -> None:
    await Union.register(bench.host, "union", Union)
    await bench.start("union")
    assert await bench.call(Text("four"), "union") == Number(4)
    assert await bench.call(Number(4), "union") == Text("4")
    assert await bench.call(Text(""), "union") is None


async def test_undeclared_return_type_is_an_error_only_when_strict(bench: Bench) -> None:
    await Careless.register(bench.host, "careless", Careless)
    await bench.start("careless")
    with pytest.raises(ValueError, match=r"^Return type .*Number.* not in return types .*Text"):
        await bench.call(Text("hi"), "careless")
    assert await bench.call(Number(1), "careless") == Text("not a number")


async def test_handler_called_with_another_type_by_hand_cannot_handle_it(bench: Bench) -> None:
    await Matching.register(bench.host, "matching", Matching)
    agent = await bench.host.try_get_underlying_agent_instance(AgentId("matching", "k"), Matching)
    handler: Any = agent.c_anything
    with pytest.raises(CantHandleException, match="Number"):
        await handler(Number(1), None)
