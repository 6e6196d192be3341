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
- one with another key: as one that accepts and closes, for it has nothing to say to strangers.
- one with a key where we have none, or the reverse: the same, or HANDSHAKE_FAILED_PROTOCOL; who sees it first hangs up.
- one that knows our key but doesn't admit it: HANDSHAKE_FAILED_AUTH, DISCONNECTED and no CONNECT_RETRIED.

So *up* is HANDSHAKE_SUCCEEDED and nothing else, *down* is DISCONNECTED after it, *refused* is CLOSED confirmed by
``refusal.py``; and what libzmq gives up is dialled again here.

A peer that ends handshakes is dialled again here too, with each of our keys in turn: a few times quickly, since a peer
that goes looks like that once, and then more and more seldom, since a wrong key stays wrong until a person changes it.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from zmqagents.transport.endpoints import Endpoint
from zmqagents.transport.zeromq.curve import KeyPair, lock_dialled
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

_SAME = "give both the same cluster_key (ZMQAGENTS_CLUSTER_KEY)"
_OTHER_KEY = f"ended the handshake: it has another cluster key, or none, or is another program; {_SAME} and cluster"
_NOT_KEYED = f"has no cluster key, and this process has one; {_SAME}"
_KEYED = f"has a cluster key, and this process has none; {_SAME}"
_KEYED_PERHAPS = (
    f"ended the handshake: it has a cluster key and this process has none, or it is another program; {_SAME}"
)

_TIMED_OUT_S = 0.9 * HANDSHAKE_MS / 1_000  # libzmq doesn't say whether it has run out of patience

_MISMATCH = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)

# Waits after the first failed handshakes, in which every key has its turn, and then the first and the longest of the
# others. With five, the other side too has most likely seen a mismatch of which only one side can be first to see it.
_QUICK_S = (0.0, 0.05, 0.1, 0.2)
_SLOW_S = 10.0
_SLOWEST_S = 60.0
_MOST_FAILURES = 16  # of which the wait is the longest already


@dataclass(frozen=True, slots=True)
class Reports:
    """Whom a connection tells what."""

    up: Callable[[], None]
    down: Callable[[], None]
    refused: Callable[[], None]
    stray: Callable[[str], None]
    turned_away: Callable[[str], None]


class Connection:
    """One endpoint that a DEALER or SUB is connected to; ``up`` is what its monitor said last."""

    __slots__ = (
        "_closed",
        "_complaints",
        "_connected_s",
        "_endpoint",
        "_failures",
        "_fd",
        "_loop",
        "_pairs",
        "_probe",
        "_redial_s",
        "_reports",
        "_socket",
        "_timer",
        "_verdict",
        "_waits",
        "_why",
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
        pairs: tuple[KeyPair, ...] = (),
    ) -> None:
        self.up = False
        self._pairs = pairs
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
        self._why: str | None = None  # the handshake of this connection failed, when its end is reported
        self._verdict: asyncio.Handle | None = None
        self._failures = 0  # handshakes that the peer ended, in a row
        self._waits = False  # until the timer nothing is dialled, and what a monitor still says is old
        self._closed = False
        self._connect()

    def close(self) -> None:
        """No report follows. The socket's own connection is left to the caller."""
        self._closed = True
        self.up = False
        self._probe.cancel()
        self._cancel_redial()
        self._cancel_verdict()

    def handle(self, event: int, value: int) -> None:
        """Take one event of the socket's monitor that is about this endpoint."""
        if self._closed or self._waits:
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
            self._failures = 0
            self._why = None
            self._cancel_verdict()
            self._reports.up()
        elif event == _DISCONNECTED:
            self._disconnected(value)
        elif event == _CLOSED:
            self._failures = 0
            self._probe.start()
        else:
            self._handshake_failed(event, value)

    def _disconnected(self, fd: int) -> None:
        if fd != self._fd:  # an earlier connection of an endpoint that was left and dialled again
            return
        self._fd = _NO_FD
        was_up, self.up = self.up, False
        self._cancel_redial()
        why, self._why = self._why, None
        if why is None:
            self._timer = self._loop.call_later(self._redial_s, self._redial)
        elif self._verdict is None:  # not at once: several failures may be in the queue, and it is for all of them
            self._verdict = self._loop.call_soon(self._turned_away, why)
        if was_up:
            self._reports.down()

    def _handshake_failed(self, event: int, value: int) -> None:
        if event == _FAILED_AUTH:
            self._why = f"does not admit this process's cluster key; {_SAME}"
        elif event == _FAILED_PROTOCOL and value == _MISMATCH:
            self._why = _NOT_KEYED if self._pairs else _KEYED
        elif event == _FAILED_PROTOCOL:
            self._complain(event, f"breaks ZMTP (error {value:#x})")
        elif self._loop.time() - self._connected_s < _TIMED_OUT_S:
            self._why = _OTHER_KEY if self._pairs else _KEYED_PERHAPS
        # else it was silent until the end: a process that is stopped, say; nothing came, so there is nothing to report

    def _turned_away(self, why: str) -> None:
        """The peer ended the handshake: dial with the next key, or leave it alone for a while."""
        self._verdict = None
        self._cancel_redial()
        disconnect(self._socket, self._endpoint)
        self._fd = _NO_FD
        self._pairs = self._pairs[1:] + self._pairs[:1]
        quick = self._failures < len(_QUICK_S)
        wait_s = _QUICK_S[self._failures] if quick else min(_SLOW_S * 2 ** (self._failures - len(_QUICK_S)), _SLOWEST_S)
        self._failures = min(self._failures + 1, _MOST_FAILURES)
        self._waits = True
        self._timer = self._loop.call_later(wait_s, self._dial_anew)
        if not quick:
            self._reports.turned_away(f"{self._endpoint} {why}. It is dialled again in {wait_s:g} s")

    def _dial_anew(self) -> None:
        self._timer = None
        self._waits = False
        self._connect()

    def _complain(self, kind: int, complaint: str) -> None:
        if kind not in self._complaints:  # libzmq tries 20 times a second
            self._complaints.add(kind)
            self._reports.stray(f"{self._endpoint} {complaint}")

    def _connect(self) -> None:
        use_family(self._socket, ipv6=self._endpoint.is_ipv6)
        if self._pairs:
            lock_dialled(self._socket, self._pairs[0])
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

    def _cancel_verdict(self) -> None:
        if self._verdict is not None:
            self._verdict.cancel()
            self._verdict = None


def disconnect(socket: zmq.Socket[bytes], endpoint: Endpoint) -> None:
    """End a connection, if it is there."""
    try:
        socket.disconnect(str(endpoint))
    except zmq.ZMQError as error:
        if error.errno != errno.ENOENT:
            raise
