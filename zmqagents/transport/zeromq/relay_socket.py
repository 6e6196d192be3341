"""The one socket of a forwarder: a ROUTER that hands messages on (SPEC.md section 12).

**Promise.** What goes through is not looked at behind its first part (of gossip, its second), and what is large is not
copied in Python. Nothing blocks the event loop; a slow reader costs a bounded number of bytes (``backlog.py``) and
holds up nobody else; and it is told when a connection has ended, if not whose.

**How.** As the sockets of a node: driven by the descriptor (``reading.py``), libzmq takes turns among those who send.
A frame of libzmq's is handed on as it is, which costs a count of references. From ``_LARGE_BYTES`` on it is sent so
that pyzmq tells when libzmq is done with it: some 40 us, and the only way to know how much a connection holds up.

**What libzmq doesn't take now** is tried again every few milliseconds, because a ROUTER doesn't tell for whom it has
room again.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import zmq

from zmqagents.errors import ConfigError
from zmqagents.protocol.codec import GOSSIP_PREFIX, MAX_HEADER_BYTES
from zmqagents.protocol.ids import NodeId, is_node_id
from zmqagents.transport.base import MAX_PARTS, TransportOptions
from zmqagents.transport.zeromq.backlog import Backlog, weigh
from zmqagents.transport.zeromq.curve import key_pairs
from zmqagents.transport.zeromq.door import Door
from zmqagents.transport.zeromq.ending import Ending
from zmqagents.transport.zeromq.options import make_context, prepare, use_family
from zmqagents.transport.zeromq.paths import sender
from zmqagents.transport.zeromq.reading import Reader

_NOBLOCK = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)

_COPIED_BYTES = 4_096  # below, bytes are cheaper than a frame of libzmq's
_LARGE_BYTES = 65_536

QUEUE_MESSAGES = 512
"""Of each connection and direction. With ``_LARGE_BYTES``: 32 MiB for a reader that has stopped, a link's window."""

_RETRY_S = 0.005
_RETRY_MAX_S = 0.05
_RETRY_MESSAGES = 64  # for one destination, before the next has its turn
_LAST_WORDS_S = 1.0  # reading of what a node left behind takes no longer, unless others send without end


class RelayEvents(Protocol):
    """Callbacks of a ``RelaySocket``."""

    def on_message(self, node_id: NodeId, parts: list[Any]) -> None:
        """A message came: bytes, or frames of libzmq's that ``send`` takes; the first two parts as the relay wants."""

    def on_handled(self) -> None:
        """All that had come is read, or it is time for others: what was made meanwhile can go."""

    def on_unreachable(self, node_id: NodeId, messages: int) -> None:
        """The node has no connection; so many messages that waited for it are dropped. All it sent was delivered."""

    def on_overflow(self, node_id: NodeId) -> None:
        """A message for the node was dropped, because as much as may wait for it does."""

    def on_disconnected(self) -> None:
        """Some connection has ended, or several."""

    def on_stray(self, reason: str) -> None:
        """Something came that is no message."""

    def on_turned_away(self, host: str, reason: str) -> None:
        """No connection with a host was made because of keys, or because it doesn't speak ZMTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLimits:
    """How much may wait for slow readers, in bytes."""

    each_bytes: int = 32 << 20
    """For one destination: a link's window."""
    all_bytes: int = 256 << 20


class RelayReader(Reader):
    """Reads a ROUTER; large parts remain frames of libzmq's."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        deliver: Callable[..., None],
        on_stray: Callable[[str], None],
        on_handled: Callable[[], None],
    ) -> None:
        self._on_handled = on_handled
        super().__init__(loop, socket, deliver, on_stray)

    def _drain(self) -> int:
        messages = super()._drain()
        self._on_handled()
        return messages

    def has_input(self) -> bool:
        """Whether something is there to read."""
        return bool(self._events() & zmq.POLLIN)

    def _read(self, deliver: Callable[..., None]) -> bool:
        recv = self._recv
        try:
            node_id = recv(_NOBLOCK)
        except zmq.Again:
            return False
        frame = recv(_NOBLOCK, False)
        # What is over the bound is not copied, and is no header.
        parts: list[Any] = [frame.bytes if len(frame) <= MAX_HEADER_BYTES else b""]
        excess = 0
        while frame.more:
            frame = recv(_NOBLOCK, False)
            if len(parts) < MAX_PARTS:
                parts.append(frame.bytes if len(frame) < _COPIED_BYTES else frame)
            else:
                excess += 1
        if excess:
            self._on_stray(f"a message of {MAX_PARTS + excess:,} parts; the limit is {MAX_PARTS:,}")
        elif not is_node_id(node_id):
            self._on_stray(f"a message from a peer whose routing id is not a node id: {node_id[:16].hex()}")
        else:
            if parts[0] == GOSSIP_PREFIX and len(parts) > 1 and isinstance(parts[1], zmq.Frame):
                parts[1] = parts[1].bytes if len(parts[1]) <= MAX_HEADER_BYTES else b""
            deliver(node_id, parts)
        return True


class RelaySocket:
    """A bound ROUTER; in the event loop's thread only."""

    def __init__(
        self,
        endpoints: Sequence[str],
        events: RelayEvents,
        options: TransportOptions | None = None,
        limits: QueueLimits | None = None,
    ) -> None:
        """Listen at ``endpoints`` (``tcp://address:port``). Raises ConfigError, saying what to change."""
        options = replace(options or TransportOptions(), queue_messages=QUEUE_MESSAGES)
        limits = limits or QueueLimits()
        self._loop = asyncio.get_running_loop()
        self._events = events
        self._linger_s = options.linger_ms / 1_000
        self.backlog = Backlog(each_bytes=limits.each_bytes, all_bytes=limits.all_bytes)
        self._retry: asyncio.TimerHandle | None = None
        self._gone: dict[NodeId, int] = {}
        """Who has no connection, and whose last words may not be read yet; with the messages that waited for it."""
        self._gone_by_s = 0.0
        self._ending: Ending | None = None
        pairs = key_pairs(options)
        self._context = make_context()
        self._door = Door(self._context, pairs, events.on_turned_away, events.on_disconnected)
        self._socket = self._context.socket(zmq.ROUTER)
        try:
            prepare(self._socket, b"", options, pairs)
            self._door.watch(self._socket)
            self.endpoints = tuple(_bind(self._socket, endpoint) for endpoint in endpoints)
            self._door.open()
        except BaseException:
            self._door.close()
            self._socket.close()
            self._context.term()
            raise
        self._put = sender(self._socket)
        self._reader = RelayReader(self._loop, self._socket, events.on_message, events.on_stray, self._handled)

    def send(self, node_id: NodeId, parts: list[Any]) -> bool:
        """Queue a message, or have it wait, or drop it; the events tell. False if there is no connection for it."""
        if self._ending is not None:
            return False
        if node_id in self.backlog:
            self._keep(node_id, parts)
            return True
        try:
            if not self._sent(node_id, parts, is_new=True):
                self._keep(node_id, parts)
        except zmq.ZMQError as error:
            self._failed(node_id, error)
            return False
        finally:
            self._reader.sent()
        return True

    def _sent(self, node_id: NodeId, parts: list[Any], *, is_new: bool) -> bool:
        """Whether libzmq has taken it. Raises ZMQError: EHOSTUNREACH if there is no connection."""
        put = self._put
        size_bytes = len(parts[0]) if len(parts) == 1 else weigh(parts)
        tracked: zmq.Frame | None = None
        if size_bytes >= _LARGE_BYTES:
            if is_new and not self.backlog.has_room(node_id, size_bytes):
                return False
            if not self.backlog.may_fly(node_id, size_bytes):
                return False
            parts = list(parts)
            largest = max(range(len(parts)), key=lambda place: len(parts[place]))
            tracked = parts[largest] = _tracked(parts[largest])
        try:
            put(node_id, _MORE)
            for part in parts[:-1]:
                put(part, _MORE)
            put(parts[-1], _NOBLOCK)
        except zmq.Again:
            return False
        if tracked is not None and isinstance(tracked.tracker, zmq.MessageTracker):
            self.backlog.flies(node_id, tracked.tracker, size_bytes)
        return True

    def _keep(self, node_id: NodeId, parts: list[Any]) -> None:
        if not self.backlog.keep(node_id, parts, weigh(parts)):
            self._events.on_overflow(node_id)
        elif self._retry is None:
            self._retry = self._loop.call_later(_RETRY_S, self._try_again, _RETRY_S)

    def _failed(self, node_id: NodeId, error: zmq.ZMQError) -> None:
        if error.errno != errno.EHOSTUNREACH:
            raise error
        dropped = self.backlog.forget(node_id)
        if not self._reader.has_input():
            self._events.on_unreachable(node_id, dropped)
            return
        # libzmq refuses to send as soon as the connection has ended, though what came before can still be read: the
        # BYE to its peers, of one that has left. Told at once, its messages would be those of a stranger.
        if not self._gone:
            self._gone_by_s = self._loop.time() + _LAST_WORDS_S
        self._gone[node_id] = self._gone.get(node_id, 0) + dropped
        self._reader.touch()

    def _handled(self) -> None:
        if self._gone and (not self._reader.has_input() or self._loop.time() >= self._gone_by_s):
            gone, self._gone = self._gone, {}
            for node_id, dropped in gone.items():
                self._events.on_unreachable(node_id, dropped)
        self._events.on_handled()

    def _try_again(self, waited_s: float) -> None:
        """Each destination has its turn; the wait grows while none takes anything."""
        self._retry = None
        moved = False
        for node_id in self.backlog.destinations():
            try:
                moved = self._move(node_id) or moved
            except zmq.ZMQError as error:
                self._failed(node_id, error)
        self._reader.touch()
        if self.backlog.waiting and self._ending is None:
            wait_s = _RETRY_S if moved else min(2 * waited_s, _RETRY_MAX_S)
            self._retry = self._loop.call_later(wait_s, self._try_again, wait_s)

    def _move(self, node_id: NodeId) -> bool:
        for count in range(_RETRY_MESSAGES):
            if node_id not in self.backlog:
                return True
            if not self._sent(node_id, self.backlog.first(node_id), is_new=False):
                return count > 0
            self.backlog.gone(node_id)
        return True

    async def close(self) -> None:
        """Send what libzmq has for at most the linger time, then end. No callback follows. Idempotent."""
        if self._ending is None:
            if self._retry is not None:
                self._retry.cancel()
            self._reader.close()
            self._door.close()
            self._socket.close()
            self._ending = Ending(self._loop, self._context, self._door)
        await self._ending.wait(self._linger_s)


def _tracked(part: Any) -> zmq.Frame:
    """The same bytes in a frame of which libzmq tells when it is done with them."""
    data = part.buffer if isinstance(part, zmq.Frame) else part
    return zmq.Frame(data, track=True, copy=False)


def _bind(socket: zmq.Socket[bytes], endpoint: str) -> str:
    use_family(socket, ipv6="[" in endpoint)
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        raise ConfigError(_explain(error, endpoint)) from error
    return bytes(socket.get(zmq.LAST_ENDPOINT)).decode("ascii")


def _explain(error: zmq.ZMQError, endpoint: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"--bind {endpoint}: the port is taken; take another one, or 0 for a free port"
    if error.errno in {errno.EADDRNOTAVAIL, errno.ENODEV, errno.EAFNOSUPPORT}:
        return f"--bind {endpoint}: not an address of this machine; write one of its own, or tcp://0.0.0.0:PORT for all"
    if error.errno == errno.EACCES:
        return f"--bind {endpoint}: the port needs privileges; take one from 1,024 on"
    return f"--bind {endpoint}: can't listen there: {error.strerror}"
