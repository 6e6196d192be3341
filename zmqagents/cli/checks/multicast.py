"""Sends an mDNS packet and waits for it: the kernel loops multicast back to listeners of the host that sent it.

The packet is a question about a name that nobody has, so that nobody answers. It comes back through the same firewall
rules that the packets of others pass; what a switch or an access point does with multicast can only be seen from
another host.
"""

from __future__ import annotations

import secrets
import socket
import struct
import sys
import time

from zmqagents.discovery.interfaces import MDNS_GROUP_IPV4, MDNS_GROUP_IPV6, MDNS_PORT, LocalAddress, aim, group_address

ECHO_S = 1.0  # loops back within the kernel in microseconds
MAX_PACKET_BYTES = 9_000  # RFC 6762 section 17

_SERVICE = (b"_zmqagents", b"_tcp", b"local")
_TYPE_PTR, _CLASS_IN = 12, 1  # RFC 1035 section 3.2


def echo_error(local: LocalAddress) -> str:
    """Why a packet sent from there does not come back; "" if it does."""
    packet = question_for_nobody()
    try:
        with _listener(local) as listener, _speaker(local) as speaker:
            speaker.sendto(packet, group_address(local))
            return "" if _hear(listener, packet) else f"nothing heard within {ECHO_S:g} s"
    except OSError as error:
        return error.strerror or str(error)


def question_for_nobody() -> bytes:
    """A DNS question (RFC 1035 section 4) about an instance with a random name."""
    labels = (secrets.token_hex(16).encode(), *_SERVICE)
    name = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    return struct.pack("!6H", secrets.randbits(16), 0, 1, 0, 0, 0) + name + struct.pack("!2H", _TYPE_PTR, _CLASS_IN)


def _hear(listener: socket.socket, packet: bytes) -> bool:
    """Whether the packet comes within ECHO_S; others' packets are passed over."""
    until_s = time.monotonic() + ECHO_S
    while (left_s := until_s - time.monotonic()) > 0:
        listener.settimeout(left_s)
        try:
            if listener.recv(MAX_PACKET_BYTES) == packet:
                return True
        except TimeoutError:
            return False
    return False


def _listener(local: LocalAddress) -> socket.socket:
    """A socket that hears the group on that interface. Raises OSError.

    It is bound to the group and not to the wildcard, so that it takes no unicast answers from other mDNS programs.
    """
    sock = socket.socket(socket.AF_INET6 if local.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "SO_REUSEPORT"):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        anywhere = sys.platform == "win32"  # it can't bind to a group
        if local.is_ipv6:
            group = socket.inet_pton(socket.AF_INET6, MDNS_GROUP_IPV6)
            sock.bind(("::", MDNS_PORT) if anywhere else (MDNS_GROUP_IPV6, MDNS_PORT, 0, local.index))
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group + struct.pack("@I", local.index))
        else:
            group = socket.inet_aton(MDNS_GROUP_IPV4)
            sock.bind(("" if anywhere else MDNS_GROUP_IPV4, MDNS_PORT))
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group + socket.inet_aton(local.address))
    except BaseException:
        sock.close()
        raise
    return sock


def _speaker(local: LocalAddress) -> socket.socket:
    """A socket that sends to the group from that address. Raises OSError."""
    sock = socket.socket(socket.AF_INET6 if local.is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        aim(sock, local)
    except BaseException:
        sock.close()
        raise
    return sock
