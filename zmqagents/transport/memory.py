"""A transport within one process: the twin of the ZeroMQ one, for tests, with faults on demand.

It promises what ``base.py`` says and passes the same contract tests. Nodes meet in a ``MemoryHub``. Everything that a
transport reports is reported from the event loop by ``call_soon`` or ``call_later``, never from within a call, and in
the order in which it happened; so a loop with a virtual clock makes a run repeatable.

A way that is cut, or a frozen node, behaves as TCP does: what was sent waits, and arrives if the fault ends before the
heartbeat timeout. After it the connection counts as lost at both ends and what waited is gone. Dialling across the
fault is neither answered nor refused; dialling a node that was killed or closed is refused.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from zmqagents.errors import ConfigError
from zmqagents.protocol.codec import GOSSIP_PREFIX
from zmqagents.protocol.ids import NodeId, PathId
from zmqagents.transport.base import MAX_PARTS, Bound, TransportEvents, TransportOptions
from zmqagents.transport.endpoints import format_endpoint, parse_address, parse_endpoint
from zmqagents.transport.memory_wire import Wire

_FIRST_FREE_PORT = 20_001


class MemoryHub:
    """The network on which memory transports meet, and the switchboard of its faults."""

    def __init__(self) -> None:
        self._listening: dict[str, MemoryTransport] = {}
        self._port = _FIRST_FREE_PORT
        self._cut: set[tuple[NodeId, NodeId]] = set()
        self._frozen: set[NodeId] = set()
        self._drops: Counter[tuple[NodeId, NodeId]] = Counter()
        self._wires: dict[Wire, None] = {}  # in the order in which they were made, so that runs repeat

    def transport(self) -> MemoryTransport:
        """A new transport on this network."""
        return MemoryTransport(self)

    def cut(self, a: NodeId, b: NodeId, *, one_way: bool = False) -> None:
        """Let nothing pass from ``a`` to ``b``, nor back unless ``one_way``."""
        self._cut |= {(a, b)} if one_way else {(a, b), (b, a)}
        self._faults_changed()

    def heal(self, a: NodeId, b: NodeId) -> None:
        """Undo every cut between two nodes."""
        self._cut -= {(a, b), (b, a)}
        self._faults_changed()

    def freeze(self, node: NodeId) -> None:
        """Stop a node as SIGSTOP does: it neither takes nor sends, but its ports accept."""
        self._frozen.add(node)
        self._faults_changed()

    def thaw(self, node: NodeId) -> None:
        """Undo ``freeze``."""
        self._frozen.discard(node)
        self._faults_changed()

    def drop_next(self, source: NodeId, destination: NodeId, count: int = 1) -> None:
        """Lose the next ``count`` messages of paths, or of gossip, from one node to another."""
        self._drops[source, destination] += count

    def kill(self, node: NodeId) -> None:
        """End a node as SIGKILL does: no callback for it follows, peers see its paths go down and then be refused."""
        for transport in dict.fromkeys(self._listening.values()):
            if transport.node_id == node:
                transport.vanish()

    def passes(self, source: NodeId, destination: NodeId) -> bool:
        """Whether a message can arrive now."""
        return (source, destination) not in self._cut and not self._frozen & {source, destination}

    def takes_drop(self, source: NodeId, destination: NodeId) -> bool:
        """Whether this message is one that ``drop_next`` asked for; counts it."""
        if not self._drops[source, destination]:
            return False
        self._drops[source, destination] -= 1
        return True

    def listen(
        self, transport: MemoryTransport, addresses: tuple[str, ...], port: int, setting: str
    ) -> tuple[str, ...]:
        """Take a port on every address. ConfigError if that can't be."""
        try:
            hosts = [parse_address(address, wildcard=True) for address in addresses]
        except ValueError as error:
            raise ConfigError(f"listen: {error}; write an address of this machine, such as 127.0.0.1 or ::1") from None
        if not hosts:
            raise ConfigError('listen is empty; write at least one address, such as "127.0.0.1"')
        if not port:
            port, self._port = self._port, self._port + 1
        endpoints = tuple(format_endpoint(host, port) for host in hosts)
        for endpoint in endpoints:
            if endpoint in self._listening:
                raise ConfigError(f"{endpoint} is taken; give {setting} another value, or 0 for a free port")
        self._listening.update(dict.fromkeys(endpoints, transport))
        return endpoints

    def listener(self, endpoint: str) -> MemoryTransport | None:
        """Who listens there, or at that port of all addresses."""
        port = endpoint.rpartition(":")[2]
        wildcards = ("0.0.0.0", "[::]") if "[" not in endpoint else ("[::]",)  # noqa: S104
        places = (endpoint, *(f"tcp://{host}:{port}" for host in wildcards))
        return next((self._listening[place] for place in places if place in self._listening), None)

    def leave(self, transport: MemoryTransport) -> None:
        """Take a transport's ports away."""
        self._listening = {endpoint: other for endpoint, other in self._listening.items() if other is not transport}

    def join(self, wire: Wire) -> None:
        """Let faults act on a new connection."""
        self._wires[wire] = None

    def forget(self, wire: Wire) -> None:
        """Leave a lost connection alone."""
        self._wires.pop(wire, None)

    def _faults_changed(self) -> None:
        for wire in list(self._wires):
            wire.faults_changed()


@dataclass(frozen=True, slots=True)
class _Reports:
    message: Callable[[list[bytes]], None]
    up: Callable[[], None]
    down: Callable[[], None]
    refused: Callable[[], None]


class Dial:
    """A dialled path, or a subscription: keeps a wire to its endpoint while it can."""

    def __init__(self, owner: MemoryTransport, endpoint: str, reports: _Reports, *, gossip: bool) -> None:
        self.owner = owner
        self.gossip = gossip
        self.limit = owner.options.gossip_queue_messages if gossip else owner.options.queue_messages
        self.wire: Wire | None = None
        self._endpoint = endpoint
        self._reports = reports
        self._wait_ms = owner.options.reconnect_ms
        self._loop = asyncio.get_running_loop()
        self._next: asyncio.Handle | None = self._loop.call_soon(self._attempt)

    def close(self) -> None:
        """End it; no report follows. What was sent before still arrives."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        wire, self.wire = self.wire, None
        if wire is not None:
            self._loop.call_soon(wire.lose)

    def receive(self, wire: Wire, parts: list[bytes]) -> None:
        """A message came from the listener."""
        if wire is self.wire:
            self.owner.admit(wire, parts, self._reports.message)

    def lost(self, wire: Wire) -> None:
        """The wire is gone: dial again."""
        if wire is self.wire:
            self.wire = None
            self._wait_ms = self.owner.options.reconnect_ms
            self._next = self._loop.call_later(self._wait_ms / 1_000, self._attempt)
            self._reports.down()

    def _attempt(self) -> None:
        hub, here = self.owner.hub, self.owner.node_id
        listener = hub.listener(self._endpoint)
        if listener is not None and hub.passes(here, listener.node_id) and hub.passes(listener.node_id, here):
            self._next = None
            self._wait_ms = self.owner.options.reconnect_ms
            self.wire = Wire(hub, self, listener)
            listener.connected(self.wire)
            self._reports.up()
            return
        self._next = self._loop.call_later(self._wait_ms / 1_000, self._attempt)
        if listener is None and hub.passes(here, here):  # a frozen node doesn't see that it is refused
            self._wait_ms = min(2 * self._wait_ms, self.owner.options.reconnect_max_ms)
            self._reports.refused()


class MemoryTransport:
    """A ``Transport`` on a ``MemoryHub``."""

    def __init__(self, hub: MemoryHub) -> None:
        self.hub = hub
        self.node_id: NodeId = b""
        self.options = TransportOptions()
        self._events: TransportEvents | None = None  # None: not bound, or closed
        self._paths: dict[int, Dial | None] = {}  # None: its endpoint can't be dialled
        self._subscriptions: dict[str, Dial | None] = {}
        self._accepted: dict[NodeId, Wire] = {}
        self._subscribers: dict[Wire, None] = {}

    def bind(self, node_id: NodeId, options: TransportOptions, events: TransportEvents) -> Bound:
        """Listen; callbacks begin. Raises ConfigError if an address can't be bound, with what to change."""
        if self.node_id:
            raise RuntimeError("this transport was bound before; make a new one")
        try:
            bound = Bound(
                self.hub.listen(self, options.listen, options.port, "port"),
                self.hub.listen(self, options.listen, options.gossip_port, "gossip_port"),
            )
        except ConfigError:
            self.hub.leave(self)
            raise
        self.node_id, self.options, self._events = node_id, options, events
        return bound

    def open_path(self, path: int, endpoint: str) -> None:
        """Dial ``endpoint``; ValueError if ``path`` is in use. What can't be dialled is reported as stray."""
        events = self._events
        if events is None:
            return
        if path in self._paths:
            raise ValueError(f"path {path} is open already; take a new number")
        reports = _Reports(
            partial(events.on_message, path),
            partial(events.on_path_up, path),
            partial(events.on_path_down, path),
            partial(events.on_path_refused, path),
        )
        self._paths[path] = self._dial(endpoint, reports, gossip=False)

    def close_path(self, path: int) -> None:
        """End a dialled path; unknown numbers are ignored. No callback for it follows."""
        dial = self._paths.pop(path, None)
        if dial is not None:
            dial.close()

    def send(self, path: PathId, parts: Sequence[bytes]) -> bool:
        """Queue one multipart message; False if the path takes none now (unknown, not connected, or full)."""
        if isinstance(path, int):
            dial = self._paths.get(path)
            return dial is not None and dial.wire is not None and dial.wire.there.put(parts)
        wire = self._accepted.get(path)
        return wire is not None and wire.back.put(parts)

    def subscribe(self, endpoint: str) -> None:
        """Connect to a peer's gossip endpoint; a second call for it is ignored."""
        events = self._events
        if events is None or endpoint in self._subscriptions:
            return
        reports = _Reports(
            events.on_gossip,
            partial(events.on_gossip_up, endpoint),
            partial(events.on_gossip_down, endpoint),
            partial(events.on_gossip_refused, endpoint),
        )
        self._subscriptions[endpoint] = self._dial(endpoint, reports, gossip=True)

    def unsubscribe(self, endpoint: str) -> None:
        """Disconnect from it; unknown ones are ignored. No callback for it follows."""
        dial = self._subscriptions.pop(endpoint, None)
        if dial is not None:
            dial.close()

    def publish(self, parts: Sequence[bytes]) -> None:
        """Send gossip to whoever has subscribed; a subscriber whose queue is full misses it."""
        if parts[0].startswith(GOSSIP_PREFIX):
            for wire in self._subscribers:
                wire.back.put(parts)

    async def close(self) -> None:
        """Send what is queued, then end every connection. No callback follows. Idempotent."""
        if self._events is not None:
            self._end()
        await asyncio.sleep(0)  # the turn in which what was queued is delivered and the wires are lost

    def vanish(self) -> None:
        """End at once, with the loss of what is queued."""
        wires = [*self._accepted.values(), *self._subscribers]
        dials = [*self._paths.values(), *self._subscriptions.values()]
        wires += [dial.wire for dial in dials if dial is not None and dial.wire is not None]
        for wire in wires:
            wire.there.clear()
            wire.back.clear()
        self._end()

    def connected(self, wire: Wire) -> None:
        """Another node's dial has reached us."""
        if wire.dial.gossip:
            self._subscribers[wire] = None
            return
        former = self._accepted.get(wire.dial.owner.node_id)
        self._accepted[wire.dial.owner.node_id] = wire
        if former is not None:  # as ROUTER_HANDOVER does: a node has one connection, its newest
            asyncio.get_running_loop().call_soon(former.lose)

    def lost(self, wire: Wire) -> None:
        """A connection to us is gone."""
        self._subscribers.pop(wire, None)
        if self._accepted.get(wire.dial.owner.node_id) is wire:
            del self._accepted[wire.dial.owner.node_id]

    def accept(self, wire: Wire, parts: list[bytes]) -> None:
        """A message came from another node's dial."""
        if self._events is not None:
            self.admit(wire, parts, partial(self._events.on_message, wire.dial.owner.node_id))

    def admit(self, wire: Wire, parts: list[bytes], deliver: Callable[[list[bytes]], None]) -> None:
        """Deliver what is within the bounds."""
        if self._events is None:
            return
        if any(len(part) > self.options.max_part_bytes for part in parts):
            wire.lose()
        elif len(parts) > MAX_PARTS:
            self._events.on_stray(f"a message of {len(parts):,} parts; the limit is {MAX_PARTS:,}")
        else:
            deliver(parts)

    def _dial(self, endpoint: str, reports: _Reports, *, gossip: bool) -> Dial | None:
        try:
            return Dial(self, str(parse_endpoint(endpoint)), reports, gossip=gossip)
        except ValueError as error:
            asyncio.get_running_loop().call_soon(self._stray, f"not dialled: {error}")
            return None

    def _stray(self, reason: str) -> None:
        if self._events is not None:
            self._events.on_stray(reason)

    def _end(self) -> None:
        self._events = None
        self.hub.leave(self)
        for dial in [*self._paths.values(), *self._subscriptions.values()]:
            if dial is not None:
                dial.close()
        loop = asyncio.get_running_loop()
        for wire in [*self._accepted.values(), *self._subscribers]:
            loop.call_soon(wire.lose)
        self._paths = {}
        self._subscriptions = {}
        self._accepted = {}
        self._subscribers = {}
