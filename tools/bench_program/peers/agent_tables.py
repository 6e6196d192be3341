"""One process, alone in its cluster, that has much of something: subscriptions, or live agents."""

from __future__ import annotations

import gc
import secrets
import time
from dataclasses import dataclass

import psutil
from autogen_core import (
    Agent,
    AgentId,
    AgentInstantiationContext,
    MessageContext,
    RoutedAgent,
    TypePrefixSubscription,
    TypeSubscription,
    message_handler,
)

from tools.bench_program.load import Inbox
from tools.bench_program.serving import Command
from tools.bench_program.wire import BenchError, Json
from zmqagents import ZmqAgentRuntime

from .agents import EVENT, NEWS, Listener
from .base import Adapter, Address, Side

_BATCH = 500
_TIMEOUT_S = 60.0


@dataclass
class Wake:
    """Makes an agent live."""


class Idle(RoutedAgent):
    """An agent that is there."""

    def __init__(self) -> None:
        super().__init__("Idles")

    @message_handler
    async def on_wake(self, message: Wake, ctx: MessageContext) -> None:
        """Be there."""


class Table(Side):
    """A process with a runtime."""

    def commands(self) -> dict[str, Command]:
        """See Side."""
        return super().commands() | {
            "subscribe": self.subscribe,
            "publish_cost": self.publish_cost,
            "hold_agents": self.hold_agents,
        }

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._inbox = Inbox()
        self._runtime = ZmqAgentRuntime(cluster=f"bench-{secrets.token_hex(4)}")
        await Listener.register(self._runtime, "listener", lambda: Listener(self._inbox))
        await self._runtime.add_subscription(TypeSubscription(NEWS.type, "listener"))
        await self._runtime.start()
        return address

    async def stop(self) -> None:
        """See Side."""
        await self._runtime.close()

    async def subscribe(self, others: int) -> None:
        """Add that many subscriptions to other topics: half of them exact, half prefixes of different lengths."""
        for number in range(others):
            if number % 2:
                other: TypeSubscription | TypePrefixSubscription = TypeSubscription(f"other-{number}", "listener")
            else:
                other = TypePrefixSubscription(f"prefix-{number}-{'x' * (number % 24)}", "listener")
            await self._runtime.add_subscription(other)
        await self._publish(0, _BATCH)  # the record is told, and caches are as they stay

    async def _publish(self, first: int, count: int) -> None:
        for number in range(first, first + count):
            await self._runtime.publish_message(EVENT, NEWS, message_id=str(number))
        got = await self._inbox.received(first, count, _TIMEOUT_S)
        if got["lost"]:
            raise BenchError(f"{got['lost']} of {count} events did not arrive")

    async def publish_cost(self, seconds: float) -> Json:
        """Microseconds of CPU time for one publish and its delivery to the one agent that it is for."""
        begun_s, until_s = time.process_time(), time.monotonic() + seconds
        count = 0
        while time.monotonic() < until_s or not count:
            await self._publish(count, _BATCH)
            count += _BATCH
        return {"publish_us": (time.process_time() - begun_s) * 1e6 / count}

    async def hold_agents(self, count: int) -> Json:
        """Bytes that ``count`` agents take; option ``plain``: in a dict, made without a runtime that keeps them."""
        if not self.options.get("plain"):
            await Idle.register(self._runtime, "idle", Idle)
        kept: dict[str, Agent] = {}
        await self._wake(0, 1, kept)
        gc.collect()
        before_bytes = psutil.Process().memory_full_info().uss
        for first in range(1, count, _BATCH):
            await self._wake(first, min(first + _BATCH, count), kept)
        gc.collect()
        return {"bytes": psutil.Process().memory_full_info().uss - before_bytes, "agents": count - 1}

    async def _wake(self, first: int, end: int, kept: dict[str, Agent]) -> None:
        for number in range(first, end):
            identity = AgentId("idle", f"agent-{number}")
            if self.options.get("plain"):
                with AgentInstantiationContext.populate_context((self._runtime, identity)):
                    kept[str(identity)] = Idle()
            else:
                await self._runtime.send_message(Wake(), identity)


ADAPTER = Adapter(Table)
