"""Clusters of which every node is a runtime of the test's own process: real sockets, one event loop.

Nodes find each other by seeds, so that no test depends on what else speaks mDNS on this host.
"""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeVar

from autogen_core import RoutedAgent

from zmqagents import ZmqAgentRuntime
from zmqagents.protocol.node import Node

DEADLINE_S = 10.0  # far beyond what any step needs: reaching it is a failure, not a measurement

T = TypeVar("T")


async def within(awaitable: Awaitable[T], deadline_s: float = DEADLINE_S) -> T:
    """Await with a deadline; TimeoutError past it."""
    return await asyncio.wait_for(awaitable, deadline_s)


async def eventually(condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
    """Return once the condition holds. AssertionError past the deadline."""
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    while not condition():
        assert loop.time() < until, "it did not happen in time"
        await asyncio.sleep(0.005)


def new_name() -> str:
    """A name for a cluster that nobody else has."""
    return f"test-{uuid.uuid4().hex[:16]}"


def node_of(runtime: ZmqAgentRuntime) -> Node:
    """The protocol node of a started runtime."""
    running = runtime._lifecycle.running
    assert running is not None, "not started"
    return running.node


def endpoint_of(runtime: ZmqAgentRuntime) -> str:
    """Where a started runtime listens."""
    return node_of(runtime).record.endpoints[0]


def gossip_endpoint_of(runtime: ZmqAgentRuntime) -> str:
    """Where a started runtime publishes its gossip."""
    return node_of(runtime).record.gossip_endpoints[0]


def strays_of(runtime: ZmqAgentRuntime) -> int:
    """How much illegal input a started runtime has dropped."""
    return node_of(runtime).state.counters.strays


def instance_of(runtime: ZmqAgentRuntime, key: str) -> Any:
    """The agent ``type/key`` that is active in that runtime."""
    return runtime._parts.agents.instances[key]


class Cluster:
    """One cluster; whatever was made in it is closed with it."""

    def __init__(self) -> None:
        self.name = new_name()
        self._made: list[ZmqAgentRuntime] = []

    def make(self, **settings: Any) -> ZmqAgentRuntime:
        """A runtime that is not started; its seeds are the nodes that run already, unless it uses mDNS."""
        label = f"node-{len(self._made) + 1}"
        defaults = {"cluster": self.name, "instance_id": label, "discovery": "none", "listen": "loopback"}
        settings = {**defaults, **settings}
        if settings["discovery"] == "none":
            running = [endpoint_of(one) for one in self._made if one._lifecycle.running is not None]
            settings.setdefault("seeds", running)
        made = ZmqAgentRuntime(**settings)
        self._made.append(made)
        return made

    async def host(self, *classes: type[RoutedAgent], **settings: Any) -> ZmqAgentRuntime:
        """A started runtime that hosts each class under its name in lower case."""
        runtime = self.make(**settings)
        for cls in classes:
            await cls.register(runtime, cls.__name__.lower(), cls)
        await within(runtime.start())
        return runtime

    async def pair(self, *classes: type[RoutedAgent], **settings: Any) -> tuple[ZmqAgentRuntime, ZmqAgentRuntime]:
        """A host of the classes, and a node that hosts nothing; each knows the other."""
        host = await self.host(*classes, **settings)
        caller = await self.host(**settings)
        await eventually(lambda: len(host.peers()) == 1)
        return host, caller

    async def close(self) -> None:
        """Stop whatever still runs."""
        async with contextlib.AsyncExitStack() as stack:
            for runtime in self._made:
                stack.push_async_callback(within, runtime.close(), 20.0)


@contextlib.asynccontextmanager
async def new_cluster() -> AsyncIterator[Cluster]:
    """A cluster that is gone when the block is left."""
    cluster = Cluster()
    try:
        yield cluster
    finally:
        await cluster.close()
