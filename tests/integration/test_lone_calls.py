"""Calls one after the other: handler and caller go on where the message is read, and can't tell."""

from __future__ import annotations

import asyncio
import time
from contextvars import ContextVar
from typing import Any

import pytest
from autogen_core import AgentId, CancellationToken, MessageContext, RoutedAgent, default_subscription, message_handler

from tests.integration.agents import Patient, agent
from tests.integration.clusters import Cluster, eventually, instance_of, within
from tests.integration.messages import Number, Text
from zmqagents import CallTimeoutError, RuntimeNotStartedError, ZmqAgentRuntime

left: ContextVar[str] = ContextVar("left", default="nothing")


class Handler(RoutedAgent):
    """Notes in what it runs, and does as it is told."""

    def __init__(self) -> None:
        super().__init__("tells where it runs")
        self.tasks: list[asyncio.Task[Any] | None] = []
        self.left: list[str] = []

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        self.tasks.append(asyncio.current_task())
        self.left.append(left.get())
        left.set("a handler's")
        if message.content == "fail":
            raise LookupError("as it was told")
        if message.content == "wait":
            await asyncio.sleep(60)
        if message.content == "block":
            time.sleep(0.3)  # noqa: ASYNC251 - what handlers should not do
            await asyncio.sleep(0)
        return message

    @property
    def parked(self) -> int:
        """How many of its calls have been handled in a parked task."""
        return sum("Parking" in repr(task) for task in self.tasks)


@default_subscription
class Busybody(RoutedAgent):
    """Publishes and calls before its handler has waited for anything."""

    def __init__(self) -> None:
        super().__init__("tells everybody")
        self.heard: list[str] = []

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Number:
        if message.value == 0:
            return message
        await self.publish_message(Text(str(message.value)), ctx.topic_id or _everybody())
        return await self.send_message(Number(message.value - 1), AgentId("busybody", f"k{message.value % 2}"))

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        self.heard.append(message.content)


def _everybody() -> Any:
    from autogen_core import DefaultTopicId

    return DefaultTopicId(source="all")


Pair = tuple[ZmqAgentRuntime, ZmqAgentRuntime, Handler]


@pytest.fixture
async def pair(cluster: Cluster) -> Pair:
    """A host, whose next call finds a parked task; a caller; and the agent."""
    host, caller = await cluster.pair(Handler)
    instance: list[Handler] = []

    async def is_parked() -> bool:
        await call(caller)
        instance[:] = [instance_of(host, "handler/default")]
        return bool(instance[0].parked)

    async with asyncio.timeout(10) if hasattr(asyncio, "timeout") else _Forever():
        while not await is_parked():
            pass
    handler = instance[0]
    handler.tasks.clear()
    handler.left.clear()
    return host, caller, handler


class _Forever:
    async def __aenter__(self) -> None: ...
    async def __aexit__(self, *error: object) -> None: ...


async def call(caller: ZmqAgentRuntime, content: str = "hi", **more: Any) -> Text:
    answer = await within(caller.send_message(Text(content), agent("handler"), **more))
    assert isinstance(answer, Text)
    return answer
