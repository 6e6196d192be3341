"""Who is let in at the bound sockets, and a word about those who are not.

**Promise.** With cluster keys, nobody gets through a handshake whose CURVE key isn't one of them: libzmq asks us (ZAP,
ZeroMQ RFC 27), and refuses everybody when nobody answers. Whoever is turned away because of keys is told of, with the
address where that can still be found out.

**A thread of its own** answers, because the event loop may be busy for a minute while a peer that lost its connection
comes back. It sleeps unless somebody knocks. Rejected: ``zmq.auth.thread``, an event loop and a pipe for what one
blocking poll does; it ends by itself here when the context does.

**Addresses.** A monitor of a bound socket names our own endpoint, not the peer's; so we look where the connection comes
from when it is accepted, by its descriptor. libzmq may have closed it by then (and once in a blue moon opened another),
so the address is a hint for people. The I/O thread, of which there is one, reports the failure of a handshake and then
the end of its connection: so the DISCONNECTED after a failure tells whose it was.

**Not reported:** connections that just end, which is how port scans, probes of health and peers that die look; and,
while two keys are in use, a failure of somebody who is let in with the other one right after.

**Ends of connections** that had come through the handshake are told too, if somebody wants to know; not whose they
were, which the monitor doesn't say.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import math
import os
import socket as sockets
import threading
import time
from collections.abc import Callable

import zmq

from zmqagents.transport.zeromq.curve import KeyPair
from zmqagents.transport.zeromq.options import close_monitor, make_monitor
from zmqagents.transport.zeromq.reading import MONITOR_EVENT

_ZAP_ENDPOINT = "inproc://zeromq.zap.01"  # fixed by RFC 27
_ZAP_VERSION = b"1.0"
_ZAP_PARTS = 7  # version, request id, domain, address, identity, mechanism, and CURVE's one credential

_ACCEPTED = int(zmq.EVENT_ACCEPTED)
_DISCONNECTED = int(zmq.EVENT_DISCONNECTED)
_FAILED = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)
_FAILED_PROTOCOL = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
_FAILED_AUTH = int(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
_FAILURES = frozenset({_FAILED, _FAILED_PROTOCOL, _FAILED_AUTH})
_WATCHED = _ACCEPTED | _DISCONNECTED | _FAILED_PROTOCOL | _FAILED_AUTH

_MISMATCH = int(zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH)
_CRYPTOGRAPHIC = int(zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC)

_SAME = "give both the same cluster_key (ZMQAGENTS_CLUSTER_KEY)"

_HELD_S = 3.0  # from a wrong key to the next with the other one: a round trip or two, if the peer isn't very busy
_UNSEEN = "an address that was gone before it could be seen"
_UNSEEN_S = 1.0  # so close to one that was seen, it is most likely the same peer's
_POLL_MS = 200  # while something is held back

_MAX_HOSTS = 256  # of which a word is kept until the event loop has heard it; of more, none


class Door:
    """Answers ZAP and watches bound sockets, from ``open`` until the context ends."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        pairs: tuple[KeyPair, ...],
        tell: Callable[[str, str], None],
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """``tell`` gets host and complaint; ``on_lost`` is called when connections have ended. In the event loop."""
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._on_lost = on_lost
        self._failed = False  # the last event was a failure: the end that follows is no loss
        self._loss_told = True  # the event loop has heard of the last loss
        self._keyed = bool(pairs)
        self._admitted = tuple(pair.public_bytes for pair in pairs)
        self._held_s = _HELD_S if len(pairs) > 1 else 0.0
        self._watched: dict[zmq.Socket[bytes], zmq.Socket[bytes]] = {}  # bound socket by the monitor's PAIR
        self._hosts: dict[int, str] = {}  # by descriptor, of which a process has not many
        self._complaints: dict[zmq.Socket[bytes], str] = {}  # of the last failed handshake, until its connection ends
        self._waiting: dict[str, tuple[float, str]] = {}  # when to tell, and what, by host
        self._seen_s = -math.inf  # when somebody was turned away whose address is known
        self._news: dict[str, str] = {}  # what the event loop is about to hear, by host
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="zmqagents-door", daemon=True)
        self._zap: zmq.Socket[bytes] | None = None
        if pairs:
            self._zap = context.socket(zmq.REP)
            self._zap.set(zmq.LINGER, 0)
            self._zap.bind(_ZAP_ENDPOINT)

    def watch(self, socket: zmq.Socket[bytes]) -> None:
        """Tell of failed handshakes at a socket that is to be bound."""
        events = _WATCHED if self._on_lost is None else _WATCHED | _FAILED
        self._watched[make_monitor(socket, events)] = socket

    def open(self) -> None:
        """Begin; from here on the sockets of the door are its thread's."""
        self._thread.start()

    def close(self) -> None:
        """Stop watching, before the watched sockets close. The end of the context ends the thread."""
        opened = self._thread.is_alive()
        for pair, socket in self._watched.items():
            if opened:
                socket.monitor(None, 0)
            else:
                close_monitor(socket, pair)
        if not opened and self._zap is not None:
            self._zap.close()

    def join(self) -> None:
        """Wait for the thread, once the context has ended."""
        if self._thread.ident is not None:
            self._thread.join()

    # -- in the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        poller = zmq.Poller()
        for socket in self._all():
            poller.register(socket, zmq.POLLIN)
        try:
            with contextlib.suppress(zmq.ContextTerminated):  # which is how the transport closes
                while True:
                    for socket, _ in poller.poll(_POLL_MS if self._waiting else None):
                        if socket is self._zap:
                            self._answer(socket)
                        else:
                            self._read(socket)
                    self._pass_on()
        finally:
            for socket in self._all():
                socket.close(0)

    def _all(self) -> list[zmq.Socket[bytes]]:
        return [*self._watched, *([self._zap] if self._zap is not None else [])]

    def _answer(self, zap: zmq.Socket[bytes]) -> None:
        request = zap.recv_multipart()
        admitted = (
            len(request) == _ZAP_PARTS
            and request[5] == b"CURVE"
            and any([hmac.compare_digest(request[6], key) for key in self._admitted])  # noqa: C419 - all, in equal time
        )
        if admitted:
            self._waiting.pop(request[3].decode("ascii", "replace"), None)
        number = request[1] if len(request) > 1 else b""
        status = (b"200", b"OK") if admitted else (b"400", b"another key")
        zap.send_multipart([_ZAP_VERSION, number, *status, b"", b""])

    def _read(self, pair: zmq.Socket[bytes]) -> None:
        head, _ = pair.recv_multipart()
        event, value = MONITOR_EVENT.unpack(head)
        event &= 0xFFFF
        if event == _ACCEPTED:
            host = _host_of(value)
            if host:
                self._hosts[value] = host
            else:
                self._hosts.pop(value, None)
        elif event == _DISCONNECTED:
            host = self._hosts.pop(value, _UNSEEN)
            complaint = self._complaints.pop(pair, None)
            if complaint is not None:
                self._note(host, complaint, time.monotonic())
            elif not self._failed:
                self._lost()
        elif event in {_FAILED_PROTOCOL, _FAILED_AUTH}:
            self._complaints[pair] = self._explain(event, value)
        self._failed = event in _FAILURES

    def _lost(self) -> None:
        """One call for all connections that end before the event loop gets to it."""
        if self._on_lost is not None and self._loss_told:
            self._loss_told = False
            with contextlib.suppress(RuntimeError):  # as in _pass_on
                self._loop.call_soon_threadsafe(self._hear_of_loss, self._on_lost)

    def _note(self, host: str, complaint: str, now_s: float) -> None:
        held_s = self._held_s
        if host == _UNSEEN:
            if now_s < self._seen_s + _UNSEEN_S:
                return
            held_s = max(held_s, _UNSEEN_S)
        else:
            self._seen_s = now_s
            self._waiting.pop(_UNSEEN, None)
        if host in self._waiting or len(self._waiting) < _MAX_HOSTS:
            due_s, _ = self._waiting.get(host, (now_s + held_s, ""))
            self._waiting[host] = (due_s, complaint)

    def _explain(self, event: int, value: int) -> str:
        if event == _FAILED_AUTH or value == _CRYPTOGRAPHIC:
            return f"it has another cluster key than this process, or another cluster's name; {_SAME} and cluster"
        if value == _MISMATCH and self._keyed:
            return f"it has no cluster key, and this process has one; {_SAME}"
        if value == _MISMATCH:
            return f"it has a cluster key, and this process has none; {_SAME}"
        return f"what it sent is not ZMTP as it should be (error {value:#x}): it is another program"

    def _pass_on(self) -> None:
        """Have the event loop told what is due: one call for all, however many have come since the last."""
        now_s = time.monotonic()
        due = [host for host, (due_s, _) in self._waiting.items() if due_s <= now_s]
        if not due:
            return
        with self._lock:
            scheduled = bool(self._news)
            for host in due:
                self._news[host] = self._waiting.pop(host)[1]
            while len(self._news) > _MAX_HOSTS:
                self._news.popitem()
        if not scheduled:
            with contextlib.suppress(RuntimeError):  # the loop was closed without the transport: nobody to be told
                self._loop.call_soon_threadsafe(self._hear)

    def _hear_of_loss(self, on_lost: Callable[[], None]) -> None:
        """In the event loop again."""
        self._loss_told = True  # before the call: what ends from now on is told anew
        on_lost()

    def _hear(self) -> None:
        """In the event loop again."""
        with self._lock:
            news, self._news = self._news, {}
        for host, complaint in news.items():
            self._tell(host, f"a connection from it was refused: {complaint}")


def _host_of(descriptor: int) -> str | None:
    """Where a connection comes from; None if it is closed already. The descriptor remains libzmq's."""
    try:
        with sockets.socket(fileno=os.dup(descriptor)) as connection:
            name = connection.getpeername()
    except OSError:
        return None
    # a socket that listens on [::] names IPv4 addresses so
    return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) and name else None
