"""A process with a runtime, an agent, and nothing to do: ``python -m tools.bench_program.idle_node CLUSTER INDEX``.

Imports no more than a user's program would, because its memory is measured. Counts what it gossips and what it reads,
at the border of the transport: parts, without what ZMTP and TCP add.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence

from autogen_core import MessageContext, RoutedAgent, message_handler

from zmqagents import ZmqAgentRuntime
from zmqagents.protocol.frames import Part
from zmqagents.transport.driver import Driver

from .serving import Command, serve

ANSWERS = 1  # standard output: nothing else here writes to it
MEET_TIMEOUT_S = 120.0


class Idle(RoutedAgent):
    """An agent that is there."""

    def __init__(self) -> None:
        super().__init__("Idles")

    @message_handler
    async def on_text(self, message: str, ctx: MessageContext) -> None:
        """Take a text that nobody sends."""


class Heard:
    """Bytes that came in, by gossip and on links."""

    gossip_bytes = 0
    link_bytes = 0


def count_what_is_heard(heard: Heard) -> None:
    """Count what every driver of this process is told from now on."""
    on_gossip, on_message = Driver.on_gossip, Driver.on_message

    def gossip(driver: Driver, parts: list[Part]) -> None:
        heard.gossip_bytes += _size(parts)
        on_gossip(driver, parts)

    def message(driver: Driver, path: int | bytes, parts: list[Part]) -> None:
        heard.link_bytes += _size(parts)
        on_message(driver, path, parts)

    setattr(Driver, "on_gossip", gossip)  # noqa: B010 - counted here, not in the package, which has no use for it
    setattr(Driver, "on_message", message)  # noqa: B010


def _size(parts: Sequence[Part]) -> int:
    return sum(len(part) for part in parts)


class Node:
    """The process's part in the cluster."""

    def __init__(self, cluster: str, index: int) -> None:
        self._heard = Heard()
        count_what_is_heard(self._heard)
        self._runtime = ZmqAgentRuntime(cluster=cluster, instance_id=f"node-{index}")

    def commands(self) -> dict[str, Command]:
        """What the conductor can ask for."""
        return {
            "start": self.start,
            "meet": self.meet,
            "change": self.change,
            "hear_of_change": self.hear_of_change,
            "heard": self.heard,
        }

    async def start(self) -> None:
        """Join."""
        await Idle.register(self._runtime, "idle", Idle)
        await self._runtime.start()

    async def meet(self, count: int) -> float:
        """Return, with the monotonic time, once that many processes are known, this one counted."""
        await self._runtime.wait_for_agents("idle", count, MEET_TIMEOUT_S)
        return time.monotonic()

    async def change(self) -> float:
        """Host an agent type that nobody hosts yet; the monotonic time before."""
        begun_s = time.monotonic()
        await Idle.register(self._runtime, "new", Idle)
        return begun_s

    async def hear_of_change(self) -> float:
        """The monotonic time at which this process knows of it."""
        await self._runtime.wait_for_agents("new", 1, MEET_TIMEOUT_S)
        return time.monotonic()

    async def heard(self) -> dict[str, float]:
        """Bytes that came in so far, and when."""
        return {
            "gossip_bytes": self._heard.gossip_bytes,
            "link_bytes": self._heard.link_bytes,
            "at_s": time.monotonic(),
        }

    async def stop(self) -> None:
        """Leave."""
        await self._runtime.close()


def start() -> None:
    """Be the node that the arguments name."""
    node = Node(sys.argv[1], int(sys.argv[2]))
    asyncio.run(serve(node.commands(), node.stop, ANSWERS))


if __name__ == "__main__":
    start()
