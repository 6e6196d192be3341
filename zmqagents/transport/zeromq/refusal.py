"""Why a dial failed. A socket monitor says CLOSED for a refusal, a dead network and a timeout alike.

The difference matters: a peer whose connection was lost and whose port now refuses is gone (SPEC.md section 6.4), while
"network is unreachable" says only that our own cable is out, and must not bury every peer at once. So a CLOSED makes us
dial once ourselves and read the error. Rejected: judging by the time that the dial took; an ICMP message comes as fast
as a refusal.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable

from zmqagents.transport.endpoints import Endpoint

_WAIT_S = 1.0  # a refusal takes one round trip; silence is no answer


class Probe:
    """Dials one endpoint on request; calls ``refused`` if, and only if, the kernel says that nobody listens there."""

    def __init__(self, loop: asyncio.AbstractEventLoop, endpoint: Endpoint, refused: Callable[[], None]) -> None:
        self._loop = loop
        self._endpoint = endpoint
        self._refused = refused
        self._socket: socket.socket | None = None
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Dial, unless a dial is under way."""
        if self._socket is not None:
            return
        try:
            [(family, kind, protocol, _, address)] = socket.getaddrinfo(
                str(self._endpoint.address), self._endpoint.port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
            )
            probe = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        except OSError:  # no descriptors, no such family: says nothing about the peer
            return
        code = probe.connect_ex(address)
        if code == errno.EINPROGRESS:
            self._socket = probe
            self._loop.add_writer(probe, self._finish)
            self._timer = self._loop.call_later(_WAIT_S, self.cancel)
            return
        probe.close()
        self._judge(code)

    def cancel(self) -> None:
        """Forget a dial that is under way; ``refused`` isn't called for it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._socket is not None:
            self._loop.remove_writer(self._socket)
            self._socket.close()
            self._socket = None

    def _finish(self) -> None:
        if self._socket is not None:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self.cancel()
            self._judge(code)

    def _judge(self, code: int) -> None:
        if code == errno.ECONNREFUSED:
            self._refused()
