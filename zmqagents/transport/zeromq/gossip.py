"""The SUB: gossip of the others, over one socket and one monitor for all endpoints."""

from __future__ import annotations

import asyncio
from functools import partial

import zmq

from zmqagents.transport.base import TransportEvents, TransportOptions
from zmqagents.transport.endpoints import parse_endpoint
from zmqagents.transport.zeromq.curve import KeyPair
from zmqagents.transport.zeromq.dialling import MONITORED, Connection, Reports, disconnect
from zmqagents.transport.zeromq.options import close_monitor, make_monitor
from zmqagents.transport.zeromq.reading import MonitorReader, Reader


class Subscriber:
    """The SUB. Its connections are told apart by the endpoint in the events of the monitor."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        options: TransportOptions,
        events: TransportEvents,
        pairs: tuple[KeyPair, ...] = (),
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._socket = socket
        self._options = options
        self._pairs = pairs
        self._events = events
        self._connections: dict[str, Connection] = {}  # by canonical endpoint
        self._bad: dict[str, asyncio.Handle] = {}  # not dialled; by endpoint as given
        self._monitor = make_monitor(socket, MONITORED)
        self._reader = Reader(self._loop, socket, events.on_gossip, events.on_stray)
        self._monitor_reader = MonitorReader(self._loop, self._monitor, self._on_event, events.on_stray)

    def subscribe(self, endpoint: str) -> None:
        """Connect. What can't be dialled is reported as stray, since the endpoint is a peer's word."""
        try:
            target = parse_endpoint(endpoint)
        except ValueError as error:
            if endpoint not in self._bad:
                complaint = f"no gossip is read: {error}"
                self._bad[endpoint] = self._loop.call_soon(self._events.on_stray, complaint)
            return
        key = str(target)
        if key in self._connections:
            return
        reports = Reports(
            up=partial(self._events.on_gossip_up, endpoint),
            down=partial(self._events.on_gossip_down, endpoint),
            refused=partial(self._events.on_gossip_refused, endpoint),
            stray=self._events.on_stray,
            turned_away=partial(self._events.on_turned_away, str(target.address)),
        )
        self._connections[key] = Connection(
            self._loop, self._socket, target, reports, redial_ms=self._options.reconnect_max_ms, pairs=self._pairs
        )
        self._reader.touch()

    def unsubscribe(self, endpoint: str) -> None:
        """Disconnect, if it is connected."""
        complaint = self._bad.pop(endpoint, None)
        if complaint is not None:
            complaint.cancel()
            return
        try:
            target = parse_endpoint(endpoint)
        except ValueError:  # never connected
            return
        connection = self._connections.pop(str(target), None)
        if connection is not None:
            connection.close()
            disconnect(self._socket, target)
            self._reader.touch()

    def close(self) -> None:
        """End every connection without a report."""
        for connection in self._connections.values():
            connection.close()
        for complaint in self._bad.values():
            complaint.cancel()
        self._monitor_reader.close()
        self._reader.close()
        close_monitor(self._socket, self._monitor)
        self._socket.close()

    def _on_event(self, event: int, value: int, endpoint: str) -> None:
        connection = self._connections.get(endpoint) or self._connections.get(_canonical(endpoint))
        if connection is not None:
            connection.handle(event, value)
            self._reader.touch()


def _canonical(endpoint: str) -> str:
    """As ``Endpoint`` writes it: libzmq and Python abbreviate some IPv6 addresses differently."""
    try:
        return str(parse_endpoint(endpoint))
    except ValueError:
        return endpoint
