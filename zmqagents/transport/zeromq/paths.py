"""The dialled paths: one DEALER, with its monitor, for each."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from functools import partial

import zmq
import zmq.backend

from zmqagents.protocol.frames import Part
from zmqagents.transport.base import TransportEvents, TransportOptions
from zmqagents.transport.endpoints import Endpoint, parse_endpoint
from zmqagents.transport.zeromq.curve import KeyPair
from zmqagents.transport.zeromq.dialling import MONITORED, Connection, Reports
from zmqagents.transport.zeromq.options import close_monitor, make_monitor
from zmqagents.transport.zeromq.reading import MonitorReader, Reader

_OUT_OF_SOCKETS = frozenset({errno.EMFILE, errno.ENFILE})


def sender(socket: zmq.Socket[bytes]) -> Callable[[Part, int], object]:
    """``socket.send`` without pyzmq's upper layer, whose keywords for draft sockets take as long as the sending."""
    return partial(zmq.backend.Socket.send, socket)


class DialledPath:
    """A DEALER connected to one endpoint."""

    __slots__ = ("_monitor", "_monitor_reader", "_socket", "connection", "put", "reader")

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        path: int,
        endpoint: Endpoint,
        events: TransportEvents,
        redial_ms: int,
        pairs: tuple[KeyPair, ...] = (),
    ) -> None:
        loop = asyncio.get_running_loop()
        self._socket = socket
        self._monitor = make_monitor(socket, MONITORED)
        reports = Reports(
            up=partial(events.on_path_up, path),
            down=partial(events.on_path_down, path),
            refused=partial(events.on_path_refused, path),
            stray=events.on_stray,
            turned_away=partial(events.on_turned_away, str(endpoint.address)),
        )
        self.put = sender(socket)
        try:
            self.connection = Connection(loop, socket, endpoint, reports, redial_ms=redial_ms, pairs=pairs)
        except BaseException:
            close_monitor(socket, self._monitor)
            raise
        deliver = partial(events.on_message, path)
        self.reader = Reader(
            loop, socket, deliver, events.on_stray, events.is_late, deliver_lone=partial(events.on_lone_message, path)
        )
        self._monitor_reader = MonitorReader(loop, self._monitor, self._on_event, events.on_stray)

    def close(self) -> None:
        """End it without a report; what is queued goes out within the linger time, if there is a connection."""
        linger_ms = None if self.connection.up else 0
        self.connection.close()
        self._monitor_reader.close()
        self.reader.close()
        close_monitor(self._socket, self._monitor)
        self._socket.close(linger_ms)

    def _on_event(self, event: int, value: int, _endpoint: str) -> None:
        self.connection.handle(event, value)
        self.reader.touch()


class Dialler:
    """Opens and closes paths; ``paths`` are those whose socket exists."""

    def __init__(
        self,
        new_socket: Callable[[int], zmq.Socket[bytes]],
        options: TransportOptions,
        events: TransportEvents,
        pairs: tuple[KeyPair, ...] = (),
    ) -> None:
        self.paths: dict[int, DialledPath] = {}
        self._new_socket = new_socket
        self._options = options
        self._pairs = pairs
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._later: dict[int, asyncio.Handle] = {}  # paths that wait for a free descriptor, or for their complaint

    def open(self, path: int, endpoint: str) -> None:
        """Dial. What can't be dialled is reported as stray, since the endpoint is a peer's word."""
        if path in self.paths or path in self._later:
            raise ValueError(f"path {path} is open already; take a new number")
        try:
            target = parse_endpoint(endpoint)
        except ValueError as error:
            self._later[path] = self._loop.call_soon(self._events.on_stray, f"path {path} is not dialled: {error}")
            return
        self._dial(path, target)

    def close(self, path: int) -> None:
        """End one path, if it is there."""
        waiting = self._later.pop(path, None)
        if waiting is not None:
            waiting.cancel()
        dialled = self.paths.pop(path, None)
        if dialled is not None:
            dialled.close()

    def close_all(self) -> None:
        """End every path."""
        for path in [*self.paths, *self._later]:
            self.close(path)

    def _dial(self, path: int, endpoint: Endpoint) -> None:
        self._later.pop(path, None)
        try:
            socket = self._new_socket(zmq.DEALER)
            try:
                self.paths[path] = DialledPath(
                    socket, path, endpoint, self._events, self._options.reconnect_max_ms, self._pairs
                )
            except BaseException:
                socket.close()
                raise
        except zmq.ZMQError as error:
            if error.errno not in _OUT_OF_SOCKETS:
                raise
            self._later[path] = self._loop.call_later(
                self._options.reconnect_max_ms / 1_000, self._retry, path, endpoint
            )

    def _retry(self, path: int, endpoint: Endpoint) -> None:
        self._events.on_stray(
            f"no file descriptors are left for path {path} to {endpoint}: raise the limit (ulimit -n)"
        )
        if path in self._later:  # unless that call has closed it
            self._dial(path, endpoint)
