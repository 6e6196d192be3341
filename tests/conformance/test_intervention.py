"""Intervention handlers: they see, change, drop and refuse messages on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from autogen_core import (
    AgentId,
    DefaultInterventionHandler,
    DefaultTopicId,
    DropMessage,
    MessageContext,
    RoutedAgent,
    default_subscription,
    message_handler,
)
from autogen_core.exceptions import MessageDroppedException

from .agents import Echo, Recorder, Relay
from .bench import OURS, Bench, Kind, within
from .conftest import NewBench
from .messages import Number, Received, Text

Change = Callable[[Any], Any]


def unchanged(message: Any) -> Any:
    return message


def dropped(message: Any) -> Any:
    return DropMessage


def dropped_by_instance(message: Any) -> Any:
    return DropMessage()


def forgotten(message: Any) -> Any:
    return None


def refused(message: Any) -> Any:
    raise PermissionError(f"not {message.content}")


def suffixed(suffix: str) -> Change:
    return lambda message: Text(message.content + suffix)


def when(content: str, change: Change) -> Change:
    """Apply ``change`` to the Text with that content only."""
    return lambda message: change(message) if message == Text(content) else message


@dataclass
class Intervention(DefaultInterventionHandler):
    """Applies one function at each of the three places, and writes down what it saw there."""

    send: Change = unchanged
    publish: Change = unchanged
    response: Change = unchanged
    seen: list[tuple[Any, ...]] = field(default_factory=list)

    async def on_send(self, message: Any, *, message_context: MessageContext, recipient: AgentId) -> Any:
        self.seen.append(("send", message, message_context, recipient))
        return self.send(message)

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        self.seen.append(("publish", message, message_context))
        return self.publish(message)

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        self.seen.append(("response", message, sender, recipient))
        return self.response(message)


@default_subscription
class DefaultRecorder(Recorder):
    """Subscribed to the default topic type, and answers calls with None."""


@default_subscription
class Signal(RoutedAgent):
    """Writes every Text down, and tells when "last" has come."""

    def __init__(self, log: list[str], last: asyncio.Event) -> None:
        super().__init__("signals")
        self._log = log
        self._last = last

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        self._log.append(message.content)
        if message.content == "last":
            self._last.set()

    async def on_unhandled_message(self, message: object, ctx: MessageContext) -> None:
        self._log.append(repr(message))


class Noting(Echo):
    """An echo that notes what reached it."""

    def __init__(self, noted: list[str]) -> None:
        super().__init__()
        self._noted = noted

    @message_handler
    async def a_note(self, message: Text, ctx: MessageContext) -> Text:
        self._noted.append(message.content)
        return message


async def echo_bench(new_bench: NewBench, *handlers: Intervention) -> Bench:
    """A started bench with these handlers, an Echo and a Relay to it."""
    bench = new_bench(intervention_handlers=list(handlers))
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    return bench


async def published(new_bench: NewBench, *handlers: Intervention, texts: list[str]) -> list[str]:
    """Publish Texts, "last" after them, and tell which arrived."""
    log: list[str] = []
    last = asyncio.Event()
    bench = new_bench(intervention_handlers=list(handlers))
    await Signal.register(bench.host, "signal", lambda: Signal(log, last))
    await bench.start("signal")
    for text in (*texts, "last"):
        await bench.publish(Text(text), DefaultTopicId())
    await within(last.wait())
    return log


async def test_handler_changes_a_call_before_the_agent_gets_it(new_bench: NewBench) -> None:
    bench = await echo_bench(new_bench, Intervention(send=suffixed("!")))
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi!")


async def test_handler_changes_a_response_before_the_caller_gets_it(new_bench: NewBench) -> None:
    bench = await echo_bench(new_bench, Intervention(response=suffixed("?")))
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi?")


async def test_handler_changes_an_event_before_its_subscribers_get_it(new_bench: NewBench) -> None:
    intervention = Intervention(publish=when("hi", suffixed("!")))
    assert await published(new_bench, intervention, texts=["hi", "there"]) == ["hi!", "there", "last"]


async def test_handler_may_answer_with_another_message_class(new_bench: NewBench) -> None:
    bench = await echo_bench(new_bench, Intervention(response=lambda message: Number(len(message.content))))
    assert await bench.call(Text("hi"), "echo") == Number(16)


async def test_handler_sees_each_call_and_response_once_with_its_context(new_bench: NewBench) -> None:
    intervention = Intervention()
    bench = await echo_bench(new_bench, intervention)
    await Relay.register(bench.caller, "relay", lambda: Relay(AgentId("echo", "k")))
    await bench.known("relay")
    await bench.call(Text("hi"), "echo", sender=AgentId("relay", "r"), message_id="m1")
    (_, sent, ctx, recipient), response = intervention.seen
    assert (sent, recipient) == (Text("hi"), AgentId("echo", "default"))
    assert (ctx.sender, ctx.topic_id, ctx.is_rpc, ctx.message_id) == (AgentId("relay", "r"), None, True, "m1")
    echo, relay = AgentId("echo", "default"), AgentId("relay", "r")
    assert response == ("response", Text("echo/default: hi"), echo, relay)


async def test_handler_sees_each_event_once_with_its_context(new_bench: NewBench, log: list[Received]) -> None:
    intervention = Intervention()
    bench = new_bench(intervention_handlers=[intervention])
    for agent_type in ("one", "two"):
        await DefaultRecorder.register(bench.host, agent_type, lambda: DefaultRecorder(log))
    await bench.start("one", "two")
    topic = DefaultTopicId(source="k")
    await bench.publish(Text("hi"), topic, message_id="m1")
    await bench.idle()
    [(_, message, ctx)] = intervention.seen
    assert message == Text("hi")
    assert (ctx.sender, ctx.topic_id, ctx.is_rpc, ctx.message_id) == (None, topic, False, "m1")
    assert len(log) == 2


async def test_handler_sees_what_agents_send_to_each_other(new_bench: NewBench) -> None:
    intervention = Intervention()
    bench = await echo_bench(new_bench, intervention)
    await Relay.register(bench.host, "relay", lambda: Relay(AgentId("echo", "k")))
    await bench.known("relay")
    await bench.call(Text("hi"), AgentId("relay", "r"))
    steps = [(step[0], str(step[2] if step[0] == "response" else step[3])) for step in intervention.seen]
    assert steps == [("send", "relay/r"), ("send", "echo/k"), ("response", "echo/k"), ("response", "relay/r")]


async def test_response_handler_is_asked_for_none_too_and_not_for_an_error(
    new_bench: NewBench, log: list[Received]
) -> None:
    intervention = Intervention(response=lambda message: Text("instead of none"))
    bench = new_bench(intervention_handlers=[intervention])
    await Recorder.register(bench.host, "rec", lambda: Recorder(log))
    await bench.start("rec")
    assert await bench.call(Text("hi"), "rec") == Text("instead of none")
    assert [step[0] for step in intervention.seen] == ["send", "response"]


@pytest.mark.parametrize("drop", [dropped, dropped_by_instance])
async def test_dropped_call_raises_and_does_not_reach_the_agent(new_bench: NewBench, drop: Change) -> None:
    noted: list[str] = []
    bench = new_bench(intervention_handlers=[Intervention(send=when("drop", drop))])
    await Noting.register(bench.host, "noting", lambda: Noting(noted))
    await bench.start("noting")
    with pytest.raises(MessageDroppedException):
        await bench.call(Text("drop"), "noting")
    await bench.call(Text("keep"), "noting")
    assert noted == ["keep"]


@pytest.mark.parametrize("drop", [dropped, dropped_by_instance])
async def test_dropped_response_raises_at_the_caller(new_bench: NewBench, drop: Change) -> None:
    bench = await echo_bench(new_bench, Intervention(response=drop))
    with pytest.raises(MessageDroppedException):
        await bench.call(Text("hi"), "echo")


@pytest.mark.parametrize("drop", [dropped, dropped_by_instance])
async def test_dropped_event_vanishes_without_an_error(new_bench: NewBench, drop: Change) -> None:
    intervention = Intervention(publish=when("drop", drop))
    assert await published(new_bench, intervention, texts=["drop", "keep"]) == ["keep", "last"]


async def test_error_of_the_send_handler_reaches_the_caller_and_not_the_agent(new_bench: NewBench) -> None:
    noted: list[str] = []
    bench = new_bench(intervention_handlers=[Intervention(send=when("secret", refused))])
    await Noting.register(bench.host, "noting", lambda: Noting(noted))
    await bench.start("noting")
    with pytest.raises(PermissionError, match=r"^not secret$"):
        await bench.call(Text("secret"), "noting")
    await bench.call(Text("open"), "noting")
    assert noted == ["open"]


async def test_error_of_the_response_handler_reaches_the_caller(new_bench: NewBench) -> None:
    bench = await echo_bench(new_bench, Intervention(response=refused))
    with pytest.raises(PermissionError, match=r"^not echo/default: hi$"):
        await bench.call(Text("hi"), "echo")


async def test_error_of_the_publish_handler_drops_the_event_and_is_not_the_publishers(new_bench: NewBench) -> None:
    intervention = Intervention(publish=when("secret", refused))
    assert await published(new_bench, intervention, texts=["secret", "open"]) == ["open", "last"]


async def test_none_from_the_send_handler_warns_and_changes_nothing(new_bench: NewBench) -> None:
    """As AutoGen documents it. The oracle warns, but then does hand None to the agent."""
    bench = await echo_bench(new_bench, Intervention(send=forgotten, response=lambda message: message or Text("")))
    with pytest.warns(RuntimeWarning, match="^Intervention handler on_send returned None"):
        reply = await bench.call(Text("hi"), "echo")
    assert reply == (Text("") if bench.kind == "autogen" else Text("echo/default: hi"))


async def test_none_from_the_response_handler_warns_and_changes_nothing(new_bench: NewBench) -> None:
    """As AutoGen documents it. The oracle warns, but then does hand None to the caller."""
    bench = await echo_bench(new_bench, Intervention(response=forgotten))
    with pytest.warns(RuntimeWarning, match="^Intervention handler on_response returned None"):
        reply = await bench.call(Text("hi"), "echo")
    assert reply == (None if bench.kind == "autogen" else Text("echo/default: hi"))


async def test_none_from_the_publish_handler_warns_and_changes_nothing(kind: Kind, new_bench: NewBench) -> None:
    """As AutoGen documents it. The oracle warns, but then does hand None to the agents."""
    with pytest.warns(RuntimeWarning, match="^Intervention handler on_publish returned None"):
        arrived = await published(new_bench, Intervention(publish=when("hi", forgotten)), texts=["hi"])
    assert arrived == ["None" if kind == "autogen" else "hi", "last"]


async def test_last_of_several_handlers_decides_and_each_sees_the_original(new_bench: NewBench) -> None:
    first, second = Intervention(send=suffixed(" first")), Intervention(send=suffixed(" second"))
    bench = await echo_bench(new_bench, first, second)
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi second")
    assert [handler.seen[0][1] for handler in (first, second)] == [Text("hi"), Text("hi")]


async def test_handlers_after_one_that_drops_are_not_asked(new_bench: NewBench) -> None:
    first, second = Intervention(send=dropped), Intervention()
    bench = await echo_bench(new_bench, first, second)
    with pytest.raises(MessageDroppedException):
        await bench.call(Text("hi"), "echo")
    assert (len(first.seen), second.seen) == (1, [])


@pytest.mark.parametrize("kind", OURS, indirect=True)
async def test_runtime_becomes_idle_after_dropped_and_refused_messages(new_bench: NewBench) -> None:
    """The oracle never does: it forgets to count them as done."""
    bench = await echo_bench(new_bench, Intervention(send=dropped, publish=refused))
    with pytest.raises(MessageDroppedException):
        await bench.call(Text("hi"), "echo")
    await bench.publish(Text("hi"), DefaultTopicId())
    await bench.idle()
