"""What becomes of one dialled endpoint, read from the events of a socket monitor.

Seen with libzmq 4.3.5; in parentheses the milliseconds since the start or the loss:

- a peer that answers: CONNECT_DELAYED, CONNECTED, HANDSHAKE_SUCCEEDED.
- one that is killed: DISCONNECTED (2), CONNECT_RETRIED, CONNECT_DELAYED (52), CLOSED, CONNECT_RETRIED with twice the
  wait, and so on.
- one that is stopped: DISCONNECTED (2,000), CONNECT_RETRIED, CONNECT_DELAYED, CONNECTED, because the kernel accepts for
  it; then, HANDSHAKE_IVL later, HANDSHAKE_FAILED_NO_DETAIL, DISCONNECTED, CONNECT_RETRIED. (The value of that event,
  an errno, is whatever the I/O thread met last.)
- one that accepts and closes: CONNECTED, HANDSHAKE_FAILED_NO_DETAIL, DISCONNECTED, CONNECT_RETRIED, without back-off.
- a host that drops packets: CONNECT_DELAYED, CLOSED (CONNECT_TIMEOUT), CONNECT_RETRIED.
- no route: CLOSED at once, CONNECT_RETRIED.
- one that breaks ZMTP, has the wrong socket type, or sends a part over the limit: CONNECTED, perhaps
  HANDSHAKE_FAILED_PROTOCOL, DISCONNECTED and **no CONNECT_RETRIED**: libzmq gives the endpoint up for good.
- one that seems to speak ZMTP 1.0, which is how HTTP looks: CONNECTED, then nothing.

So *up* is HANDSHAKE_SUCCEEDED and nothing else, *down* is DISCONNECTED after it, *refused* is CLOSED confirmed by
``refusal.py``; and what libzmq gives up is dialled again here.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from zmqagents.transport.endpoints import Endpoint
from zmqagents.transport.zeromq.options import HANDSHAKE_MS, use_family
from zmqagents.transport.zeromq.refusal import Probe

_CONNECT_DELAYED = int(zmq.EVENT_CONNECT_DELAYED)
_CONNECT_RETRIED = int(zmq.EVENT_CONNECT_RETRIED)
_CONNECTED = int(zmq.EVENT_CONNECTED)
_CLOSED = int(zmq.EVENT_CLOSED)
_DISCONNECTED = int(zmq.EVENT_DISCONNECTED)
_SUCCEEDED = int(zmq.EVENT_HANDSHAKE_SUCCEEDED)
_FAILED = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
_FAILED_PROTOCOL = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_FAILED_AUTH = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH)

MONITORED = (
    _CONNECT_DELAYED
    | _CONNECT_RETRIED
    | _CONNECTED
    | _CLOSED
    | _DISCONNECTED
    | _SUCCEEDED
    | _FAILED
    | _FAILED_PROTOCOL
    | _FAILED_AUTH
)
"""The events that a monitor has to send for ``Connection.handle``."""

_NO_FD = -1

_TIMED_OUT_S = 0.9 * HANDSHAKE_MS / 1_000  # libzmq doesn't say whether it has run out of patience


@dataclass(frozen=True, slots=True)
class Reports:
    """Whom a connection tells what."""

    up: Callable[[], None]
    down: Callable[[], None]
    refused: Callable[[], None]
    stray: Callable[[str], None]


class Connection:
    """One endpoint that a DEALER or SUB is connected to; ``up`` is what its monitor said last."""

    __slots__ = (
        "_closed",
        "_complaints",
        "_connected_s",
        "_endpoint",
        "_fd",
        "_loop",
        "_probe",
        "_redial_s",
        "_reports",
        "_socket",
        "_timer",
        "up",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        endpoint: Endpoint,
        reports: Reports,
        *,
        redial_ms: int,
    ) -> None:
        self.up = False
        self._loop = loop
        self._socket = socket
        self._endpoint = endpoint
        self._reports = reports
        self._redial_s = redial_ms / 1_000
        self._probe = Probe(loop, endpoint, reports.refused)
        self._timer: asyncio.TimerHandle | None = None
        self._fd = _NO_FD
        self._connected_s = 0.0
        self._complaints: set[int] = set()  # kinds of failure reported since the last handshake that succeeded
        self._closed = False
        self._connect()

    def close(self) -> None:
        """No report follows. The socket's own connection is left to the caller."""
        self._closed = True
        self.up = False
        self._probe.cancel()
        self._cancel_redial()

    def handle(self, event: int, value: int) -> None:
        """Take one event of the socket's monitor that is about this endpoint."""
        if self._closed:
            return
        if event in {_CONNECT_DELAYED, _CONNECT_RETRIED}:
            self._cancel_redial()
        elif event == _CONNECTED:
            self._fd = value
            self._connected_s = self._loop.time()
            self._cancel_redial()
            self._probe.cancel()
        elif event == _SUCCEEDED:
            self.up = True
            self._complaints.clear()
            self._reports.up()
        elif event == _DISCONNECTED:
            self._disconnected(value)
        elif event == _CLOSED:
            self._probe.start()
        else:
            self._handshake_failed(event, value)

    def _disconnected(self, fd: int) -> None:
        if fd != self._fd:  # an earlier connection of an endpoint that was left and dialled again
            return
        self._fd = _NO_FD
        was_up, self.up = self.up, False
        self._cancel_redial()
        self._timer = self._loop.call_later(self._redial_s, self._redial)
        if was_up:
            self._reports.down()

    def _handshake_failed(self, event: int, value: int) -> None:
        if event == _FAILED_AUTH:
            self._complain(event, f"does not admit our key (ZAP status {value})")
        elif event == _FAILED_PROTOCOL:
            self._complain(event, f"breaks ZMTP, or has other security settings (ZMTP error {value:#x})")
        elif self._loop.time() - self._connected_s < _TIMED_OUT_S:
            self._complain(event, "ended the handshake: it is another program, or has other security settings")
        # else it was silent until the end: a process that is stopped, say; nothing came, so there is nothing to report

    def _complain(self, kind: int, complaint: str) -> None:
        if kind not in self._complaints:  # libzmq tries 20 times a second
            self._complaints.add(kind)
            self._reports.stray(f"{self._endpoint} {complaint}")

    def _connect(self) -> None:
        use_family(self._socket, ipv6=self._endpoint.is_ipv6)
        self._socket.connect(str(self._endpoint))

    def _redial(self) -> None:
        """Dial what libzmq has given up; it announces a retry of its own within a millisecond of the loss."""
        self._timer = None
        disconnect(self._socket, self._endpoint)
        self._connect()
        self._complain(_DISCONNECTED, "broke ZMTP or sent a part over the limit; dialling it again")

    def _cancel_redial(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def disconnect(socket: zmq.Socket[bytes], endpoint: Endpoint) -> None:
    """End a connection, if it is there."""
    try:
        socket.disconnect(str(endpoint))
    except zmq.ZMQError as error:
        if error.errno != errno.ENOENT:
            raise
