"""What the transport tests share: a recorder of callbacks that can be waited on, and a way to make nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import NodeId, PathId
from zmqagents.transport.base import Bound, Transport, TransportEvents, TransportOptions
from zmqagents.transport.zeromq import ZeroMqTransport

Event: TypeAlias = tuple[Any, ...]
MakeTransport: TypeAlias = Callable[[], Transport]

DEADLINE_S = 10.0

FAST = TransportOptions(reconnect_ms=20, reconnect_max_ms=100, linger_ms=200)
"""The defaults, but quicker to dial again."""


SECRET = b"s" * 32


class LockedTransport(ZeroMqTransport):
    """With a cluster key."""


class Recorder(TransportEvents):
    """Keeps every callback as a tuple: its name and its arguments. ``then`` is called with it."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.then: Callable[[Event], None] | None = None
        self._news = asyncio.Event()

    def is_late(self) -> bool:
        return False

    def on_message(self, path: PathId, parts: list[Part]) -> None:
        self._add("message", path, parts)

    def on_lone_message(self, path: PathId, parts: list[Part]) -> None:
        assert asyncio.current_task() is None
        self.on_message(path, parts)

    def on_gossip(self, parts: list[Part]) -> None:
        self._add("gossip", parts)

    def on_path_up(self, path: int) -> None:
        self._add("up", path)

    def on_path_down(self, path: int) -> None:
        self._add("down", path)

    def on_path_refused(self, path: int) -> None:
        self._add("refused", path)

    def on_gossip_up(self, endpoint: str) -> None:
        self._add("gossip up", endpoint)

    def on_gossip_down(self, endpoint: str) -> None:
        self._add("gossip down", endpoint)

    def on_gossip_refused(self, endpoint: str) -> None:
        self._add("gossip refused", endpoint)

    def on_stray(self, reason: str) -> None:
        self._add("stray", reason)

    def named(self, name: str) -> list[Event]:
        """The events of one name."""
        return [event for event in self.events if event[0] == name]

    def on_turned_away(self, host: str, reason: str) -> None:
        self._add("turned away", host, reason)

    @property
    def messages(self) -> list[list[bytes]]:
        return [event[2] for event in self.named("message")]

    @property
    def strays(self) -> list[str]:
        return [event[1] for event in self.named("stray")]

    async def until(self, condition: Callable[[], bool], what: str, *, deadline_s: float = DEADLINE_S) -> None:
        """Wait until ``condition`` holds after some callback; AssertionError, with all events, after the deadline."""
        try:
            await asyncio.wait_for(self._until(condition), deadline_s)
        except asyncio.TimeoutError:
            raise AssertionError(f"no {what} within {deadline_s:g} s, but {_shown(self.events)}") from None

    async def saw(self, *event: Any, times: int = 1, deadline_s: float = DEADLINE_S) -> None:
        """Wait until an event has come ``times`` times."""
        await self.until(lambda: self.events.count(event) >= times, repr(event), deadline_s=deadline_s)

    async def got(self, count: int, *, deadline_s: float = DEADLINE_S) -> list[list[bytes]]:
        """Wait for ``count`` messages and return all that came."""
        await self.until(lambda: len(self.messages) >= count, f"{count} messages", deadline_s=deadline_s)
        return self.messages

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._news.clear()
            await self._news.wait()

    def _add(self, *event: Any) -> None:
        self.events.append(event)
        self._news.set()
        if self.then is not None:
            self.then(event)


class Node:
    """A transport, bound, with its recorder."""

    def __init__(self, make: MakeTransport, name: str, options: TransportOptions = FAST) -> None:
        self.id: NodeId = name.encode().ljust(16, b".")
        self.seen = Recorder()
        self.transport = make()
        if isinstance(self.transport, LockedTransport):
            options = replace(options, curve_secrets=(SECRET,))
        self.bound: Bound = self.transport.bind(self.id, options, self.seen)

    @property
    def endpoint(self) -> str:
        return self.bound.endpoints[0]

    @property
    def gossip_endpoint(self) -> str:
        return self.bound.gossip_endpoints[0]

    def send(self, path: PathId, *parts: Part) -> bool:
        return self.transport.send(path, parts)

    async def dial(self, path: int, endpoint: str) -> None:
        """Open a path and wait until it is up."""
        self.transport.open_path(path, endpoint)
        await self.seen.saw("up", path)

    async def follow(self, publisher: Node) -> None:
        """Subscribe to another node, and publish there until it is heard: a subscription takes a moment to arrive."""
        self.transport.subscribe(publisher.gossip_endpoint)
        await self.seen.saw("gossip up", publisher.gossip_endpoint)
        hello = [b"zmqagents/1", b"hello " + self.id]

        def heard() -> bool:
            publisher.transport.publish(hello)
            return ("gossip", hello) in self.seen.events

        await eventually(heard, f"{hello!r}")

    async def close(self) -> None:
        await self.transport.close()


def at_ports_of(bound: Bound, options: TransportOptions = FAST) -> TransportOptions:
    """Options with which a node takes the place of another."""
    return replace(options, port=port_of(bound.endpoints[0]), gossip_port=port_of(bound.gossip_endpoints[0]))


def port_of(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


async def eventually(condition: Callable[[], bool], what: str, *, deadline_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds that no callback announces, looking at it every few milliseconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + deadline_s
    while not condition():
        assert loop.time() < until, f"no {what} within {deadline_s:g} s"
        await asyncio.sleep(0.005)


def _shown(events: list[Event]) -> str:
    return ", ".join(str(event)[:80] for event in events[-20:]) or "nothing came"
