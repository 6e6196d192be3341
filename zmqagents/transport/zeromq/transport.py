"""The sockets of one node, and the calls of ``transport/base.py`` on them."""

from __future__ import annotations

import asyncio
import errno
import os
import weakref
from collections.abc import Callable, Sequence

import zmq

from zmqagents.errors import ForkedProcessError
from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import NodeId, PathId
from zmqagents.transport.base import Bound, TransportEvents, TransportOptions
from zmqagents.transport.zeromq.curve import key_pairs
from zmqagents.transport.zeromq.door import Door
from zmqagents.transport.zeromq.ending import Ending
from zmqagents.transport.zeromq.gossip import Subscriber
from zmqagents.transport.zeromq.heap import keep_freed_memory
from zmqagents.transport.zeromq.listening import listen
from zmqagents.transport.zeromq.options import make_context, prepare
from zmqagents.transport.zeromq.paths import DialledPath, Dialler, sender
from zmqagents.transport.zeromq.reading import Reader, RouterReader

_NOBLOCK = int(zmq.NOBLOCK)
_MORE = int(zmq.NOBLOCK | zmq.SNDMORE)
_TAKES_NONE = frozenset({errno.EAGAIN, errno.EHOSTUNREACH})  # full, or a routing id that isn't connected


class _Sockets:
    """What ``bind`` makes and ``close`` ends. Raises ConfigError if an address can't be bound, and leaves nothing."""

    def __init__(self, node_id: NodeId, options: TransportOptions, events: TransportEvents) -> None:
        self._node_id = node_id
        self._options = options
        self._open: list[zmq.Socket[bytes]] = []
        self._pairs = key_pairs(options)
        self.loop = asyncio.get_running_loop()
        self.context = make_context()
        self.door = Door(self.context, self._pairs, events.on_turned_away)
        try:
            self.router = self._new_kept(zmq.ROUTER)
            self.publisher = self._new_kept(zmq.PUB)
            self.door.watch(self.router)
            self.door.watch(self.publisher)
            self.bound = Bound(
                listen(self.router, options.listen, options.port, setting="port"),
                listen(self.publisher, options.listen, options.gossip_port, setting="gossip_port"),
            )
            self.subscriber = Subscriber(self._new_kept(zmq.SUB), options, events, self._pairs)
            self.door.open()
        except BaseException:
            self.door.close()
            for socket in self._open:
                socket.close()
            self.context.term()  # nothing is queued: returns at once
            raise
        self.router_reader = RouterReader(
            self.loop,
            self.router,
            events.on_message,
            events.on_stray,
            events.is_late,
            deliver_lone=events.on_lone_message,
        )
        self.dialler = Dialler(self._new, options, events, self._pairs)

    def close(self) -> None:
        """Stop reading, and close every socket; what is queued goes out within the linger time."""
        self.dialler.close_all()
        self.subscriber.close()
        self.router_reader.close()
        self.door.close()
        self.router.close()
        self.publisher.close()

    def _new(self, kind: int) -> zmq.Socket[bytes]:
        socket = self.context.socket(kind)
        try:
            prepare(socket, self._node_id, self._options, self._pairs)
        except BaseException:
            socket.close()
            raise
        return socket

    def _new_kept(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._new(kind)
        self._open.append(socket)
        return socket


class ZeroMqTransport:
    """A ``Transport`` over ZeroMQ and TCP."""

    def __init__(self) -> None:
        self._sockets: _Sockets | None = None
        self._paths: dict[int, DialledPath] = {}
        self._router: tuple[Callable[[Part, int], object], Reader] | None = None  # None also in a forked child
        self._linger_s = 0.0
        self._ending: Ending | None = None
        self._forked = False
        _living.add(self)

    def bind(self, node_id: NodeId, options: TransportOptions, events: TransportEvents) -> Bound:
        """Listen; callbacks begin. Raises ConfigError if an address can't be bound, with what to change."""
        self._check_process()
        if self._sockets is not None:
            raise RuntimeError("this transport was bound before; make a new one")
        keep_freed_memory()
        sockets = self._sockets = _Sockets(node_id, options, events)
        self._linger_s = options.linger_ms / 1_000
        self._paths = sockets.dialler.paths
        self._router = sender(sockets.router), sockets.router_reader
        return sockets.bound

    def open_path(self, path: int, endpoint: str) -> None:
        """Dial ``endpoint``; ValueError if ``path`` is in use. What can't be dialled is reported as stray."""
        sockets = self._usable()
        if sockets is not None:
            sockets.dialler.open(path, endpoint)

    def close_path(self, path: int) -> None:
        """End a dialled path; unknown numbers are ignored. No callback for it follows."""
        sockets = self._usable()
        if sockets is not None:
            sockets.dialler.close(path)

    def send(self, path: PathId, parts: Sequence[Part]) -> bool:
        """Queue one multipart message; False if the path takes none now (unknown, not connected, or full)."""
        last = parts[-1]
        if isinstance(path, int):
            dialled = self._paths.get(path)
            if dialled is None or not dialled.connection.up:
                self._check_process()
                return False
            put = dialled.put
            reader = dialled.reader
        elif self._router is None:
            self._check_process()
            return False
        else:
            put, reader = self._router
        try:
            if isinstance(path, bytes):
                put(path, _MORE)
            for part in parts[:-1]:
                put(part, _MORE)
            put(last, _NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in _TAKES_NONE:
                raise
            return False
        finally:
            reader.sent()
        return True

    def subscribe(self, endpoint: str) -> None:
        """Connect to a peer's gossip endpoint; a second call for it is ignored."""
        sockets = self._usable()
        if sockets is not None:
            sockets.subscriber.subscribe(endpoint)

    def unsubscribe(self, endpoint: str) -> None:
        """Disconnect from it; unknown ones are ignored. No callback for it follows."""
        sockets = self._usable()
        if sockets is not None:
            sockets.subscriber.unsubscribe(endpoint)

    def publish(self, parts: Sequence[bytes]) -> None:
        """Send gossip to whoever has subscribed; a subscriber whose queue is full misses it."""
        sockets = self._usable()
        if sockets is not None:
            # Sending takes note of new subscriptions only now and then; asking for the events always does.
            sockets.publisher.get(zmq.EVENTS)
            sockets.publisher.send_multipart(parts, _NOBLOCK)

    async def close(self) -> None:
        """Send what is queued for at most the linger time, then end every socket. No callback follows. Idempotent."""
        sockets = self._usable()
        if sockets is not None:
            sockets.close()
            self._paths = {}
            self._router = None
            self._ending = Ending(sockets.loop, sockets.context, sockets.door)
        if self._ending is not None:
            await self._ending.wait(self._linger_s)

    def _usable(self) -> _Sockets | None:
        """The sockets, or None once closed. RuntimeError before ``bind``, except that there is nothing to close."""
        self._check_process()
        return None if self._ending is not None else self._sockets

    def _check_process(self) -> None:
        if self._forked:
            raise ForkedProcessError(
                "a zmqagents transport was used in a child made by fork; its sockets belong to the parent. "
                "Make a new runtime in the child"
            )

    def disown(self) -> None:
        """Give up the sockets without touching them: they belong to the parent of this forked process."""
        self._forked = True
        self._paths = {}
        self._router = None


_living: weakref.WeakSet[ZeroMqTransport] = weakref.WeakSet()
_inherited: list[
    ZeroMqTransport
] = []  # kept for ever: collecting them would warn of sockets that are not ours to close


def _disown_all() -> None:
    """In a forked child. Here and not by comparing process ids in ``send``, where it would cost with every message."""
    for transport in list(_living):
        transport.disown()
        _inherited.append(transport)


os.register_at_fork(after_in_child=_disown_all)
