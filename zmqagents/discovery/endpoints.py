"""``tcp://host:port`` texts: parse, with errors that say what to write, and format."""

from __future__ import annotations

import ipaddress
import re

from zmqagents.errors import ConfigError

MAX_HOST_CHARS = 253  # RFC 1035 section 3.1: 255 octets on the wire are 253 characters of text

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_EXAMPLE = "write tcp://host:port, such as 'tcp://10.0.0.5:5555' or 'tcp://[::1]:5555'"

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def parse_endpoint(text: str) -> tuple[str, int]:
    """Host (an IPv6 address without its brackets) and port of ``tcp://host:port``.

    Raises ConfigError, whose text says what to write instead.
    """
    scheme, separator, rest = text.partition("://")
    if not separator:
        hint = f"write 'tcp://{text}'" if re.fullmatch(r"[^/\s]+:[0-9]+", text) else _EXAMPLE
        raise ConfigError(f"endpoint {text!r} has no scheme: {hint}")
    if scheme != "tcp":
        raise ConfigError(f"endpoint {text!r} has the scheme {scheme!r}, and only tcp is spoken: write 'tcp://{rest}'")
    host, port_text = _split(text, rest)
    _check_host(text, host, bracketed=rest.startswith("["))
    if not port_text:
        raise ConfigError(f"endpoint {text!r} has no port: write 'tcp://{rest.rstrip(':')}:5555', with its real port")
    if not (port_text.isascii() and port_text.isdigit() and len(port_text) <= 5 and 1 <= int(port_text) <= 65535):
        raise ConfigError(f"endpoint {text!r} has the port {port_text!r}: write a number from 1 to 65535")
    return host, int(port_text)


def format_endpoint(host: str, port: int) -> str:
    """The reverse of ``parse_endpoint``: an IPv6 address gets its brackets."""
    return f"tcp://[{host}]:{port}" if ":" in host else f"tcp://{host}:{port}"


def ip_or_none(host: str) -> IPAddress | None:
    """The address that ``host`` spells, None if it is a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _split(text: str, rest: str) -> tuple[str, str]:
    """Host and port text; the port text is empty where there is none."""
    if rest.startswith("["):
        host, bracket, tail = rest[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise ConfigError(f"endpoint {text!r} is malformed after its bracket: {_EXAMPLE}")
        return host, tail[1:]
    host, colon, port_text = rest.rpartition(":")
    if not colon:
        return rest, ""
    if ":" in host:
        hint = f"write 'tcp://[{host}]:{port_text}'" if ip_or_none(host) else _EXAMPLE
        raise ConfigError(f"endpoint {text!r} has an IPv6 address without brackets: {hint}")
    return host, port_text


def _check_host(text: str, host: str, *, bracketed: bool) -> None:
    address = ip_or_none(host)
    if bracketed:
        if address is None or address.version != 6:
            raise ConfigError(f"endpoint {text!r} has brackets around what is no IPv6 address: {_EXAMPLE}")
    elif host == "*":
        raise ConfigError(f"endpoint {text!r} names no host: {_EXAMPLE}")
    elif address is None:
        if not host or not _is_name(host):
            raise ConfigError(f"endpoint {text!r} has no valid host name: {_EXAMPLE}")
        if re.fullmatch(r"[0-9.]+", host):
            raise ConfigError(f"endpoint {text!r} has a host that looks like an IPv4 address but is none: {_EXAMPLE}")


def _is_name(host: str) -> bool:
    try:
        plain = host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return False
    labels = plain.removesuffix(".").split(".")
    return len(plain) <= MAX_HOST_CHARS and all(_LABEL.fullmatch(label) for label in labels)
