"""Where a node listens, and which of these addresses it tells the others to dial.

``"all"`` stands for the interfaces at which other hosts can reach this one, and ``tell`` names no others:

* not loopback, unless there is nothing else: an address that every host has would lead the others to themselves;
* not the bridges of Docker, virtual machines and the like, nor tunnels (``VIRTUAL_PREFIXES``), unless there is nothing
  better: behind a bridge nobody but this host's own containers is, who reach the real addresses too, and every host
  with Docker has the same 172.17.0.1;
* no IPv6 link-local addresses, which mean nothing without the name of an interface, and that has another name on each
  host; IPv4 link-local ones (169.254.0.0/16) are what two hosts on a bare cable have, so they are the last resort;
* no address that can't be bound just now (another host is still being asked for it, say).

Processes of this host dial the same addresses, without leaving it; with ``"all"`` loopback is bound too, so that
``tcp://127.0.0.1:port`` does for a seed, and is told to nobody.

The order is that in which others try: the interface with the default route first, then as the system lists them, IPv4
before IPv6. What changes while the node runs (a new lease, a cable that is plugged in) is not noticed.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from zmqagents.discovery.advert import MAX_ENDPOINTS
from zmqagents.discovery.endpoints import format_endpoint, ip_or_none, parse_endpoint
from zmqagents.discovery.interfaces import MAX_INTERFACES, VIRTUAL_PREFIXES, Adapter
from zmqagents.errors import ConfigError

LOOPBACK = "127.0.0.1"
_ANY = ("0.0.0.0", "::")  # noqa: S104 - what a user may write
_FAR = {socket.AF_INET: "203.0.113.1", socket.AF_INET6: "2001:db8::1"}  # RFC 5737 and RFC 3849: nobody has these
_NO_PORT = 1  # stands for none while a text is parsed as an endpoint


class Host(NamedTuple):
    """What the choice depends on. ``usable`` says whether an address can be bound; ``uplinks`` lead to the world."""

    adapters: Sequence[Adapter]
    usable: Callable[[str], bool]
    uplinks: Sequence[str]


def to_bind(listen: Sequence[str], host: Host) -> tuple[str, ...]:
    """The addresses to bind for ``listen``: "all", "loopback", names of interfaces, and addresses, wildcards too.

    Raises ConfigError for a name that this host doesn't have, or that has no address to listen on.
    """
    chosen: list[str] = []
    for one in listen:
        if one == "all":
            chosen += [*_suitable(host), LOOPBACK]
        elif one == "loopback":
            chosen.append(LOOPBACK)
        elif ip_or_none(one) is not None:
            chosen.append(one)
        else:
            chosen += _of_interface(one, host)
    if "::" in chosen:  # takes IPv4 too
        chosen = [address for address in chosen if not _is_ipv4(address)]
    for wildcard in _ANY:
        if wildcard in chosen:  # takes all others of its family
            chosen = [one for one in chosen if one == wildcard or _is_ipv4(one) != _is_ipv4(wildcard)]
    return tuple(dict.fromkeys(chosen))


def to_tell(bound: Sequence[str], host: Host) -> tuple[str, ...]:
    """The endpoints that others are to dial, best first, of those that were bound: wildcards as concrete addresses."""
    found: list[str] = []
    for endpoint in bound:
        name, port = parse_endpoint(endpoint)
        if name not in _ANY:
            found.append(endpoint)
            continue
        suitable = _suitable(host) or ([LOOPBACK] if name == _ANY[0] else [LOOPBACK, "::1"])
        found += [format_endpoint(one, port) for one in suitable if name == "::" or _is_ipv4(one)]
    beyond = [endpoint for endpoint in found if not ipaddress.ip_address(parse_endpoint(endpoint)[0]).is_loopback]
    return tuple(dict.fromkeys(beyond or found))[:MAX_ENDPOINTS]


def told_as(advertise: Sequence[str], bound: Sequence[str], *, gossip: bool) -> tuple[str, ...]:
    """The endpoints that ``advertise``, without names any more, stands for; ports it doesn't say are the bound one.

    With a port it is an endpoint for data alone: who dials that gets the gossip on the same connection.
    """
    own_port = parse_endpoint(bound[0])[1]
    parsed = [_parse(text) for text in advertise]
    told = [format_endpoint(name, port or own_port) for name, port in parsed if not (gossip and port)]
    return tuple(dict.fromkeys(told))[:MAX_ENDPOINTS]


async def resolved(advertise: Sequence[str]) -> tuple[str, ...]:
    """The same with addresses for names. Raises ConfigError for what is malformed, or not known to the name server."""
    found: list[str] = []
    for text in advertise:
        name, port = _parse(text)
        address = ip_or_none(name)
        if address is None:
            found += [_format(one, port) for one in await _look_up(name)]
        elif address.is_unspecified or address.is_multicast:
            raise ConfigError(f"advertise={text!r}: nobody can dial that: write an address or name of this host")
        else:
            found.append(text)
    return tuple(found)


async def _look_up(name: str) -> list[str]:
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ConfigError(
            f"advertise={name!r}: the name can't be looked up ({error}): write a name that others can look up too, or"
            " an address"
        ) from None
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


def _parse(text: str) -> tuple[str, int | None]:
    """Name or address, and the port if there is one."""
    plain = text.strip().removeprefix("tcp://")
    address = ip_or_none(plain)
    if address is not None or ":" not in plain or plain.endswith("]"):
        bare = format_endpoint(plain, _NO_PORT) if address is not None else f"tcp://{plain}:{_NO_PORT}"
        return _endpoint(text, bare)[0], None
    return _endpoint(text, f"tcp://{plain}")


def _endpoint(text: str, endpoint: str) -> tuple[str, int]:
    try:
        return parse_endpoint(endpoint)
    except ConfigError:
        raise ConfigError(
            f"advertise={text!r}: write addresses or names that others can dial, with a port where it is another one"
            " there: '192.168.1.20', 'node1.example.org', '203.0.113.7:7000', '[2001:db8::7]:7000'"
        ) from None


def _format(address: str, port: int | None) -> str:
    return address if port is None else format_endpoint(address, port).removeprefix("tcp://")


def this_host(adapters: Sequence[Adapter]) -> Host:
    """This host as it is now."""
    return Host(adapters, _can_bind, [address for family in _FAR if (address := _uplink(family)) is not None])


def _can_bind(address: str) -> bool:
    with socket.socket(socket.AF_INET if _is_ipv4(address) else socket.AF_INET6) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _uplink(family: socket.AddressFamily) -> str | None:
    """The address from which packets to the world go out; sends none."""
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((_FAR[family], 9))
            return str(probe.getsockname()[0])
    except OSError:
        return None


def _suitable(host: Host) -> list[str]:
    """The addresses at which other hosts reach this one, best first."""
    real: list[list[str]] = []
    virtual: list[list[str]] = []
    last: list[list[str]] = []
    for adapter in sorted(host.adapters, key=lambda one: not any(uplink in one.addresses for uplink in host.uplinks)):
        addresses = [ipaddress.ip_address(address) for address in adapter.addresses]
        beyond = [one for one in addresses if not one.is_loopback and host.usable(str(one))]
        routed = [str(one) for one in beyond if not one.is_link_local]
        if routed:
            (virtual if adapter.name.startswith(VIRTUAL_PREFIXES) else real).append(routed)
        elif beyond:
            last.append([str(one) for one in beyond if one.version == 4])
    chosen = [address for group in (real or virtual or last)[:MAX_INTERFACES] for address in group]
    return sorted(chosen, key=lambda address: not _is_ipv4(address))


def _of_interface(name: str, host: Host) -> list[str]:
    """The addresses of one interface, link-local IPv6 ones left out."""
    for adapter in host.adapters:
        if adapter.name == name:
            addresses = [ipaddress.ip_address(address) for address in adapter.addresses]
            found = [
                str(one) for one in addresses if (one.version == 4 or not one.is_link_local) and host.usable(str(one))
            ]
            if not found:
                raise ConfigError(f"listen={name!r}: the interface has no address to listen on: bring it up")
            return sorted(found, key=lambda address: not _is_ipv4(address))
    there = ", ".join(adapter.name for adapter in host.adapters)
    raise ConfigError(
        f"listen={name!r}: this host has no such interface: write one of {there}, 'loopback', 'all', or addresses"
        " without port, such as '127.0.0.1'"
    )


def _is_ipv4(address: str) -> bool:
    return ":" not in address
