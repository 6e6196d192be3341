"""A question that is answered at once: the one-shot query of RFC 6762 section 5.1.

The continuous querying of a browser is too slow for a start that others wait for, by design of mDNS: the first query is
delayed by 20 to 120 ms and its answer by as much again (sections 5.2 and 6), what was multicast within the last second
is not repeated before the second is over (section 6), and two hosts that ask the same within a second are answered once
(section 7.3). A process that starts half a second after another would learn of it after more than a second.

A query from a port other than 5353 is answered by unicast, to that port, with none of these delays (section 6.7). It
also goes round a trap of processes that share port 5353 on one host: unicast answers to that port arrive at one of
them, whichever the kernel picks, so a browser there must not ask for them (section 15.1).

A firewall between hosts may drop the answers, as they come from another address than the question went to; then the
browser finds the same peers a second or two later.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable

from zmqagents.discovery.interfaces import MDNS_PORT, LocalAddress, aim, group_address

_log = logging.getLogger(__name__)

MAX_ANSWER_BYTES = 9000  # RFC 6762 section 17: no mDNS packet is larger, its headers included

Take = Callable[[bytes], None]
"""Given each answer; must not raise."""


async def ask(query: bytes, local: LocalAddress, take: Take) -> asyncio.DatagramTransport:
    """Multicast ``query`` from the address; answers go to ``take`` until the transport is closed. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if local.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.settimeout(0)
        aim(sock, local)
        sock.sendto(query, group_address(local))
        loop = asyncio.get_running_loop()
        transport, _protocol = await loop.create_datagram_endpoint(lambda: _Answers(local, take), sock=sock)
    except BaseException:
        sock.close()
        raise
    return transport


class _Answers(asyncio.DatagramProtocol):
    def __init__(self, local: LocalAddress, take: Take) -> None:
        self._local = local
        self._take = take

    def datagram_received(self, data: bytes, addr: tuple[object, ...]) -> None:
        # RFC 6762 section 6: answers come from port 5353, anything else is to be ignored.
        if addr[1] == MDNS_PORT and len(data) <= MAX_ANSWER_BYTES:
            self._take(data)

    def error_received(self, exc: Exception) -> None:
        _log.debug("mDNS question from %s: %s", self._local.address, exc)
