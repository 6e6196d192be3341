"""Endpoints as text: ``tcp://127.0.0.1:5555`` and ``tcp://[::1]:5555``, with numeric addresses only."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_SCHEME = "tcp://"
_ZONE = re.compile(r"[A-Za-z0-9._-]{1,15}")  # IFNAMSIZ - 1; other characters libzmq may refuse
_MAX_PORT = 65_535
_MAX_CHARS = 128  # the longest legal one, IPv6 with a zone, has under 80; the text came from a peer


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A numeric address and a port; ``str()`` is its one canonical text."""

    address: ipaddress.IPv4Address | ipaddress.IPv6Address
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Whether it needs an IPv6 socket."""
        return self.address.version == 6

    def __str__(self) -> str:
        return format_endpoint(self.address, self.port)


def format_endpoint(address: ipaddress.IPv4Address | ipaddress.IPv6Address, port: int) -> str:
    """The text of an endpoint, with brackets around IPv6."""
    host = f"[{address}]" if address.version == 6 else str(address)
    return f"{_SCHEME}{host}:{port}"


def parse_endpoint(text: str) -> Endpoint:
    """The endpoint that ``text`` names. ValueError, with the reason, if it can't be dialled."""
    shown = repr(text[:_MAX_CHARS])
    if len(text) > _MAX_CHARS or not text.startswith(_SCHEME):
        raise ValueError(f"{shown} is not of the form tcp://address:port")
    host, colon, port_text = text[len(_SCHEME) :].rpartition(":")
    if not colon or not (port_text.isascii() and port_text.isdigit()) or not 1 <= int(port_text) <= _MAX_PORT:
        raise ValueError(f"{shown} has no port from 1 to {_MAX_PORT:,} at its end")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = parse_address(host[1:-1] if bracketed else host)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None
    if bracketed != (address.version == 6):
        raise ValueError(f"{shown}: brackets belong around an IPv6 address, and only there")
    return Endpoint(address, int(port_text))


def parse_address(text: str, *, wildcard: bool = False) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """A numeric address that one machine can have, or a wildcard if that will do. ValueError, with the reason, else."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"{text!r} is not a numeric address such as 127.0.0.1 or ::1") from None
    zone = getattr(address, "scope_id", None)
    if zone is not None and not _ZONE.fullmatch(zone):
        raise ValueError(f"{zone!r} is not the name of a network interface")
    if (address.is_unspecified and not wildcard) or address.is_multicast:
        raise ValueError(f"{text} is not the address of one machine")
    return address
