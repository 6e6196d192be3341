"""Reading of sockets from the event loop, by their file descriptors. The loop of every received message is here."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import cast

import zmq
import zmq.backend

from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import NODE_ID_BYTES
from zmqagents.transport.base import MAX_PARTS
from zmqagents.transport.zeromq.options import get_int

_SLICE_S = 0.005  # how long one wake-up may work before timers and other sockets have their turn
_CATCH_UP_S = 1.0  # the same after the loop was held up: some 100,000 messages, far more than windows let through

# From here on a payload part is a view of libzmq's memory and not copied. Below, a view costs more than copying; a part
# so large has memory of its own in libzmq, so that its view keeps nothing else alive.
VIEWED_BYTES = 1 << 16

_NOBLOCK = int(zmq.NOBLOCK)
_POLLIN = int(zmq.POLLIN)
MONITOR_EVENT = struct.Struct("=hi")  # event, value: zmq_socket_monitor(3)


class Reader:
    """Reads one socket whenever there is something, until ``close``; hands each message to ``deliver``."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        deliver: Callable[..., None],
        on_stray: Callable[[str], None],
        is_late: Callable[[], bool] = bool,
        *,
        deliver_lone: Callable[..., None] | None = None,
    ) -> None:
        """While one message comes at a time, it goes to ``deliver_lone``, if given, before the look for another."""
        self._idle = True
        """Whether ``touch`` has anything to do."""
        self._answered = False
        """Whether something was sent since a message was read."""
        self._open = True
        self._loop = loop
        self._socket = socket
        self._recv = socket.recv
        self._events = cast("Callable[[], int]", partial(zmq.backend.Socket.get, socket, int(zmq.EVENTS)))
        """Asking what there is costs half of finding nothing."""
        self._deliver = deliver
        self._on_stray = on_stray
        self._is_late = is_late
        self._deliver_lone = deliver_lone
        self._lone = deliver_lone
        """Set while the next message is likely to be the only one, as the last one was."""
        self._fd = get_int(socket, zmq.FD)
        loop.add_reader(self._fd, self._on_readable)
        self.touch()

    def touch(self) -> None:
        """Look for input in the next turn of the loop.

        Due after any other call on the socket, which may have swallowed the signal of its descriptor.
        """
        if self._idle:
            self._idle = False
            self._loop.call_soon(self._look)

    def sent(self) -> None:
        """Something was sent on the socket: as ``touch``, if anything is there to read. While reading, it is noted.

        Asking costs less than a turn of the loop. Whatever comes after the question signals the descriptor again.
        """
        if not self._idle:
            self._answered = True
        elif self._events() & _POLLIN:
            self.touch()

    def close(self) -> None:
        """Stop reading; nothing is delivered any more. The socket stays open."""
        if self._open:
            self._open = False
            self._events = int  # nothing any more: a socket that is closed can't be asked
            self._loop.remove_reader(self._fd)

    def _look(self) -> None:
        self._idle = True
        if self._open and self._events() & _POLLIN:
            self._lone = None
            self._drain()

    def _on_readable(self) -> None:
        deliver_lone = self._lone
        if deliver_lone is None:
            if self._drain() == 1:
                self._lone = self._deliver_lone
            return
        self._idle = False
        self._answered = False
        try:
            self._read(deliver_lone)
        finally:
            self._idle = True
            if self._answered:
                self.sent()
            elif self._open:  # what the message has started may be yet to come, and comes first
                self.touch()

    def _drain(self) -> int:
        """Read until nothing is left, or time is up; how many messages."""
        self._idle = False  # what is called below sends on the same socket
        messages = 0
        finished = False
        began = monotonic()
        slice_s = _SLICE_S
        try:
            while self._open:
                if not self._read(self._deliver):
                    finished = True
                    break
                messages += 1
                if monotonic() - began > slice_s:
                    if slice_s == _CATCH_UP_S or not self._is_late():
                        break
                    slice_s = _CATCH_UP_S
                # Last, so that a yes is followed by reading at once: a SUB that has said yes has taken the first part
                # out of its queue, and a disconnect before the others are read tears the message: libzmq aborts.
                if not self._events() & _POLLIN:
                    finished = True
                    break
        finally:
            self._idle = True
            if self._open and not finished:  # out of time, or a callback has raised
                self.touch()
        return messages

    def _read(self, deliver: Callable[..., None]) -> bool:
        """Take and deliver one message; False if there is none."""
        try:
            frame = self._recv(_NOBLOCK, copy=False)
        except zmq.Again:
            return False
        if not frame.more:
            deliver([frame.bytes])
            return True
        parts = self._rest([frame.bytes])
        if parts is not None:
            deliver(parts)
        return True

    def _rest(self, parts: list[Part]) -> list[Part] | None:
        """``parts`` with the further parts of a message; None, after a report, if there are too many."""
        recv = self._recv
        excess = 0
        more = True
        while more:
            frame = recv(_NOBLOCK, False)  # copy=False; a keyword costs 10 % of the call
            more = frame.more
            if len(parts) < MAX_PARTS:
                parts.append(frame.bytes if len(frame) < VIEWED_BYTES else frame.buffer.toreadonly())
            else:
                excess += 1
        if excess:
            self._on_stray(f"a message of {MAX_PARTS + excess:,} parts; the limit is {MAX_PARTS:,}")
            return None
        return parts


class RouterReader(Reader):
    """Reads a ROUTER: ``deliver`` gets the sender's node id and the parts."""

    def _read(self, deliver: Callable[..., None]) -> bool:
        try:
            sender = self._recv(_NOBLOCK)
        except zmq.Again:
            return False
        parts = self._rest([])
        if len(sender) != NODE_ID_BYTES or sender[0] == 0:
            self._on_stray(f"a message from a peer whose routing id is not a node id: {sender[:NODE_ID_BYTES].hex()}")
        elif parts is not None:
            deliver(sender, parts)
        return True


class MonitorReader(Reader):
    """Reads a monitor: ``deliver`` gets the event, its value and the endpoint."""

    def _read(self, deliver: Callable[..., None]) -> bool:
        try:
            head = self._recv(_NOBLOCK)
        except zmq.Again:
            return False
        event, value = MONITOR_EVENT.unpack(head)
        deliver(event & 0xFFFF, value, self._recv(_NOBLOCK).decode("ascii", "replace"))
        return True
