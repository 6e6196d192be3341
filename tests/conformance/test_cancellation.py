"""Cancelling a call by its token or by its task."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import AgentId, CancellationToken, MessageContext, RoutedAgent, TopicId, message_handler

from .agents import Echo, Recorder, Relay
from .bench import Bench, within
from .messages import Received, Text


class Cancellable(RoutedAgent):
    """Ends its handler when the token of the message it handles is cancelled."""

    def __init__(self) -> None:
        super().__init__("listens to its token")
        self.begun = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.ended = asyncio.Event()

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        ctx.cancellation_token.add_callback(self.cancelled.set)
        self.begun.set()
        try:
            await self.cancelled.wait()
        finally:
            self.ended.set()
        return message


class SelfCancelling(RoutedAgent):
    """Raises CancelledError by itself."""

    def __init__(self) -> None:
        super().__init__("gives up")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        raise asyncio.CancelledError


@pytest.fixture
async def agent(bench: Bench) -> Cancellable:
    """A cancellable agent, reached as cancellable/default, and an echo; the bench is started."""
    cancellable = Cancellable()
    await bench.host.register_agent_instance(cancellable, AgentId("cancellable", "default"))
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("cancellable", "echo")
    return cancellable


async def test_cancelled_token_ends_the_call_and_is_seen_by_the_handler(bench: Bench, agent: Cancellable) -> None:
    token = CancellationToken()
    call = asyncio.ensure_future(bench.call(Text("hi"), "cancellable", cancellation_token=token))
    await within(agent.begun.wait())
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await within(agent.ended.wait())
    assert agent.cancelled.is_set()


async def test_cancelled_token_ends_a_call_within_a_call(bench: Bench, agent: Cancellable) -> None:
    await Relay.register(bench.host, "relay", lambda: Relay(agent.id))
    await bench.known("relay")
    token = CancellationToken()
    call = asyncio.ensure_future(bench.call(Text("hi"), "relay", cancellation_token=token))
    await within(agent.begun.wait())
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await within(agent.ended.wait())
    assert agent.cancelled.is_set()


async def test_cancelled_token_ends_every_call_that_it_was_given_to(bench: Bench, agent: Cancellable) -> None:
    token = CancellationToken()
    calls = [asyncio.ensure_future(bench.call(Text(str(n)), "cancellable", cancellation_token=token)) for n in range(3)]
    await within(agent.begun.wait())
    token.cancel()
    outcomes = await within(asyncio.gather(*calls, return_exceptions=True))
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3


async def test_call_with_a_token_that_is_already_cancelled_is_cancelled(bench: Bench, agent: Cancellable) -> None:
    token = CancellationToken()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bench.call(Text("hi"), "echo", cancellation_token=token)
    await bench.idle()


async def test_cancelling_after_the_answer_changes_nothing(bench: Bench, agent: Cancellable) -> None:
    token = CancellationToken()
    reply = await bench.call(Text("hi"), "echo", cancellation_token=token)
    token.cancel()
    assert reply == Text("echo/default: hi")
    await bench.idle()


async def test_cancelled_call_leaves_other_calls_alone(bench: Bench, agent: Cancellable) -> None:
    token, other_token = CancellationToken(), CancellationToken()
    call = asyncio.ensure_future(bench.call(Text("hi"), "cancellable", cancellation_token=token))
    await within(agent.begun.wait())
    other = asyncio.ensure_future(bench.call(Text("there"), "echo", cancellation_token=other_token))
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert await other == Text("echo/default: there")
    assert not other_token.is_cancelled()


async def test_cancelled_task_of_the_caller_ends_its_call(bench: Bench, agent: Cancellable) -> None:
    token = CancellationToken()
    call = asyncio.ensure_future(bench.call(Text("hi"), "cancellable", cancellation_token=token))
    await within(agent.begun.wait())
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    token.cancel()
    await within(agent.ended.wait())
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi")


async def test_cancelled_error_of_the_handler_itself_reaches_the_caller(bench: Bench) -> None:
    await SelfCancelling.register(bench.host, "giving-up", SelfCancelling)
    await bench.start("giving-up")
    with pytest.raises(asyncio.CancelledError):
        await bench.call(Text("hi"), "giving-up")
    await bench.idle()


async def test_event_is_delivered_though_its_token_is_cancelled_and_shows_it(bench: Bench, log: list[Received]) -> None:
    await Recorder.register(bench.host, "rec", lambda: Recorder(log))
    await bench.start("rec")
    token = CancellationToken()
    token.cancel()
    await bench.publish(Text("hi"), TopicId("rec:", "k"), cancellation_token=token)
    await bench.idle()
    assert [seen.message for seen in log] == [Text("hi")]
