"""Calls one after the other: handler and caller go on where the message is read, and can't tell."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from functools import partial
from typing import Any

import pytest
from autogen_core import (
    AgentId,
    CancellationToken,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    default_subscription,
    message_handler,
)

from tests.integration.agents import agent
from tests.integration.clusters import Cluster, eventually, instance_of, within
from tests.integration.messages import Number, Text
from zmqagents import CallTimeoutError, ZmqAgentRuntime
from zmqagents.errors import RuntimeNotStartedError

left: ContextVar[str] = ContextVar("left", default="nothing")


class Handler(RoutedAgent):
    """Notes in what it runs, and does as it is told."""

    def __init__(self) -> None:
        super().__init__("tells where it runs")
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.left: list[str] = []
        self.endings: list[str] = []

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        self.tasks.append(asyncio.current_task())
        self.left.append(left.get())
        left.set("a handler's")
        try:
            if message.content == "fail":
                raise LookupError("as it was told")
            if message.content == "block":
                time.sleep(0.3)  # noqa: ASYNC251 - what handlers should not do
                await asyncio.sleep(0)
            if message.content == "wait":
                await asyncio.Event().wait()
        except BaseException as error:
            self.endings.append(type(error).__name__)
            raise
        return message

    @property
    def parked(self) -> list[bool]:
        """Which of its calls have been handled in a parked task."""
        return ["coro=<_work()" in repr(task) for task in self.tasks]


@default_subscription
class Busybody(RoutedAgent):
    """Publishes, and calls the next of its kind, before its handler has waited for anything."""

    def __init__(self) -> None:
        super().__init__("tells everybody")
        self.heard: list[str] = []

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Number:
        if message.value == 0:
            return message
        await self.publish_message(Text(str(message.value)), DefaultTopicId(source="all"))
        return await self.send_message(Number(message.value - 1), AgentId(f"busy{message.value % 2}", "k"))  # type: ignore[no-any-return]

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        self.heard.append(message.content)


class Pair:
    """A host that has a parked task, and a caller."""

    def __init__(self, host: ZmqAgentRuntime, caller: ZmqAgentRuntime) -> None:
        self.host, self.caller = host, caller

    @property
    def handler(self) -> Handler:
        handler = instance_of(self.host, "handler/default")
        assert isinstance(handler, Handler)
        return handler

    async def call(self, content: str = "hi", **more: Any) -> Any:
        """A call, which a parked task should handle."""
        return await within(self.caller.send_message(Text(content), agent("handler"), **more))


@pytest.fixture
async def pair(cluster: Cluster) -> Pair:
    pair = Pair(*await cluster.pair(Handler))
    left.set("the starter's")

    async def call_until_parked() -> None:
        await pair.call()
        while not pair.handler.parked[-1]:
            await pair.call()

    await within(call_until_parked())
    for noted in (pair.handler.tasks, pair.handler.left):
        noted.clear()
    return pair


async def test_handlers_of_lone_calls_run_in_parked_tasks_of_their_own(pair: Pair) -> None:
    for _ in range(10):
        assert await pair.call() == Text("hi")
    assert all(pair.handler.parked)
    assert len(set(map(id, pair.handler.tasks))) == 10


async def test_handler_of_a_lone_call_sees_nothing_of_the_one_before_nor_of_the_caller(pair: Pair) -> None:
    left.set("the caller's")
    for _ in range(3):
        await pair.call()
    assert pair.handler.left == ["nothing"] * 3
    assert left.get() == "the caller's"


async def test_caller_goes_on_in_its_own_task_and_context(pair: Pair) -> None:
    async def calls(number: int) -> None:
        mine = asyncio.current_task()
        left.set(str(number))
        for _ in range(5):
            await pair.call()
            assert asyncio.current_task() is mine
            assert left.get() == str(number)

    await asyncio.gather(*(calls(number) for number in range(3)))


async def test_lone_call_raises_what_its_handler_raises(pair: Pair) -> None:
    with pytest.raises(LookupError, match="as it was told"):
        await pair.call("fail")
    assert await pair.call() == Text("hi")


async def test_lone_call_that_is_cancelled_ends_its_handler_too(pair: Pair) -> None:
    token = CancellationToken()
    call = asyncio.ensure_future(pair.call("wait", cancellation_token=token))
    await eventually(lambda: pair.handler.tasks)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: pair.handler.endings == ["CancelledError"])
    assert await pair.call() == Text("hi")


async def test_lone_call_that_is_taken_back_before_its_handler_has_begun_is_not_handled(pair: Pair) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def make() -> Handler:
        asked.set()
        await go_on.wait()
        return Handler()

    await Handler.register(pair.host, "slow", make)
    await within(pair.caller.wait_for_agents("slow"))
    token = CancellationToken()
    call = asyncio.ensure_future(pair.caller.send_message(Text("hi"), agent("slow"), cancellation_token=token))
    await within(asked.wait())
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: not pair.host._lifecycle.running.tasks)  # type: ignore[union-attr]
    go_on.set()
    assert await pair.call() == Text("hi")
    assert not getattr(pair.host._parts.agents.instances.get("slow/default"), "tasks", [])


async def test_lone_call_whose_task_is_cancelled_ends_its_handler_too(pair: Pair) -> None:
    call = asyncio.ensure_future(pair.call("wait"))
    await eventually(lambda: pair.handler.tasks)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await eventually(lambda: pair.handler.endings == ["CancelledError"])


async def test_lone_call_ends_at_its_deadline(pair: Pair) -> None:
    with pytest.raises(CallTimeoutError):
        await pair.call("wait", timeout_s=0.05)
    await eventually(lambda: pair.handler.endings == ["CancelledError"])


async def test_handler_of_a_lone_call_that_blocks_the_loop_is_answered_for(pair: Pair) -> None:
    assert await pair.call("block") == Text("block")
    assert pair.handler.parked == [True]
    assert len(pair.caller.peers()) == len(pair.host.peers()) == 1


async def test_handlers_may_publish_and_call_back_at_once(cluster: Cluster) -> None:
    one, two = await cluster.pair()
    await Busybody.register(one, "busy0", Busybody)
    await Busybody.register(two, "busy1", Busybody)
    await within(one.wait_for_agents("busy1"))
    await within(two.wait_for_agents("busy0"))
    for _ in range(5):
        assert await within(two.send_message(Number(6), AgentId("busy0", "k"))) == Number(0)
    told = [str(number) for number in (6, 5, 4, 3, 2, 1)] * 5
    for runtime, key in ((one, "busy0/all"), (two, "busy1/all")):
        heard = instance_of(runtime, key).heard
        await eventually(partial(_has_all, heard, told))


def _has_all(heard: list[str], told: list[str]) -> bool:
    return sorted(heard) == sorted(told)


async def test_parked_task_keeps_nothing_from_stopping_and_is_gone_after_it(pair: Pair) -> None:
    await pair.call()
    await within(pair.host.stop_when_idle())
    await within(pair.caller.stop())
    assert not [task for task in asyncio.all_tasks() if "coro=<_work()" in repr(task)]


async def test_stop_ends_a_lone_call_under_way(cluster: Cluster) -> None:
    pair = Pair(*await cluster.pair(Handler, drain_timeout_s=0.1))
    call = asyncio.ensure_future(pair.call("wait"))
    await eventually(lambda: "handler/default" in pair.host._parts.agents.instances and pair.handler.tasks)
    await within(pair.caller.stop())
    with pytest.raises(RuntimeNotStartedError, match="stopped while the call was in flight"):
        await call


async def test_agents_go_on_after_all_their_tasks_were_cancelled(pair: Pair) -> None:
    for task in asyncio.all_tasks():
        if "coro=<_work()" in repr(task):
            task.cancel()
    for _ in range(5):
        assert await pair.call() == Text("hi")
    assert pair.handler.parked[-1]
