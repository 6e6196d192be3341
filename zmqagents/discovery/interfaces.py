"""Which addresses of this host mDNS speaks from.

Every interface costs: each announcement and each answer is sent once per address chosen here, and every node on the
link hears it. So the default is loopback alone, names and addresses are taken as they are given, and "all" is a choice,
not literally all: on a machine that runs containers most interfaces are bridges with nobody of ours behind them, and a
node that announced itself on fifty of them would be heard fifty times by its own host. One IPv4 and one IPv6 address
per interface are used; more would repeat each packet on the same link.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import ifaddr

from zmqagents.discovery.endpoints import ip_or_none
from zmqagents.errors import ConfigError

MDNS_PORT = 5353  # RFC 6762 section 3, like both groups
MDNS_GROUP_IPV4 = "224.0.0.251"
MDNS_GROUP_IPV6 = "ff02::fb"

# More links than a host of a cluster has for real, and few enough that a packet sent on each is no storm.
MAX_INTERFACES = 8

# Interfaces with these name prefixes lead to containers, virtual machines or tunnels. "br-" is how Docker names its
# networks; a bridge that an administrator made ("br0") carries the host's own address and is not meant.
VIRTUAL_PREFIXES = (
    "awdl", "br-", "cali", "cni", "docker", "dummy", "flannel", "ifb", "kube", "llw", "lxc", "lxd", "podman",
    "tailscale", "tap", "tun", "utun", "vEthernet", "vbox", "veth", "virbr", "vmnet", "vnet", "wg", "zt",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Adapter:
    """A network interface of this host, as the system lists it."""

    name: str
    index: int
    addresses: tuple[str, ...]
    """IPv4 and IPv6, without zone."""


@dataclass(frozen=True, slots=True)
class LocalAddress:
    """One address of one interface."""

    interface: str
    index: int
    address: str

    @property
    def is_ipv6(self) -> bool:
        """Which of the two groups is used from here."""
        return ":" in self.address

    @property
    def is_loopback(self) -> bool:
        """Packets from here never leave the host."""
        return ipaddress.ip_address(self.address).is_loopback


@dataclass(frozen=True, slots=True)
class Choice:
    """What ``choose`` decided."""

    addresses: tuple[LocalAddress, ...]
    broken: tuple[tuple[str, OSError], ...] = ()
    """Interfaces that were asked for and carry no multicast, with the system's reason."""
    over_cap: tuple[str, ...] = ()
    """Interfaces that "all" left out because there are too many."""


Probe = Callable[[LocalAddress], OSError | None]


def choose(wanted: Sequence[str], adapters: Sequence[Adapter], probe: Probe) -> Choice:
    """Pick addresses for ``wanted``: ("all",), or "loopback", names ("eth0") and addresses ("10.0.0.5").

    Raises ConfigError, listing what there is, for a name or an address that this host doesn't have.
    """
    if "all" in wanted:
        if len(wanted) > 1:
            raise ConfigError(f"interfaces is {list(wanted)}, and 'all' stands alone: write interfaces='all'")
        return _choose_all(adapters, probe)
    groups: list[list[LocalAddress]] = []
    for one in dict.fromkeys(wanted):
        if one == "loopback":
            groups += [group for adapter in adapters if (group := _one_per_family(adapter, loopback=True))]
        else:
            groups.append(_named(one, adapters))
    working: dict[LocalAddress, None] = {}
    broken: list[tuple[str, OSError]] = []
    for group in groups:
        usable, error = _probed(group, probe)
        working.update(dict.fromkeys(usable))
        if error is not None:
            broken.append((group[0].interface, error))
    return Choice(tuple(working), tuple(broken))


def list_adapters() -> list[Adapter]:
    """The interfaces of this host that have an address."""
    adapters = []
    for adapter in ifaddr.get_adapters():
        texts = [ip.ip if isinstance(ip.ip, str) else ip.ip[0] for ip in adapter.ips]
        name = adapter.nice_name if sys.platform == "win32" else adapter.name
        adapters.append(Adapter(name, adapter.index or 0, tuple(text.partition("%")[0] for text in texts)))
    return adapters


def multicast_error(local: LocalAddress) -> OSError | None:
    """Why the mDNS group can't be reached from there (down, no route), None if it can. Sends nothing."""
    family = socket.AF_INET6 if local.is_ipv6 else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            aim(probe, local)
            probe.connect(group_address(local))
    except OSError as error:
        return error
    return None


def aim(sock: socket.socket, local: LocalAddress) -> None:
    """Bind to a free port of the address and send multicast out of its interface. Raises OSError."""
    if local.is_ipv6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, local.index)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)  # RFC 6762 section 11
        link_local = ipaddress.ip_address(local.address).is_link_local
        sock.bind((local.address, 0, 0, local.index if link_local else 0))
    else:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(local.address))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, struct.pack("B", 255))  # RFC 6762 section 11
        sock.bind((local.address, 0))


def group_address(local: LocalAddress) -> tuple[str, int] | tuple[str, int, int, int]:
    """Where mDNS packets from there are sent to."""
    if local.is_ipv6:
        return (MDNS_GROUP_IPV6, MDNS_PORT, 0, local.index)
    return (MDNS_GROUP_IPV4, MDNS_PORT)


def _choose_all(adapters: Sequence[Adapter], probe: Probe) -> Choice:
    """Loopback, and up to MAX_INTERFACES others: real ones, or virtual ones where there is nothing better."""
    loopback: list[LocalAddress] = []
    real: list[list[LocalAddress]] = []
    virtual: list[list[LocalAddress]] = []
    for adapter in adapters:
        loopback += _probed(_one_per_family(adapter, loopback=True), probe)[0]
        usable = _probed(_one_per_family(adapter, loopback=False), probe)[0]
        if usable:
            (virtual if adapter.name.startswith(VIRTUAL_PREFIXES) else real).append(usable)
    better = real or virtual
    chosen = [address for group in better[:MAX_INTERFACES] for address in group]
    return Choice((*loopback, *chosen), over_cap=tuple(group[0].interface for group in better[MAX_INTERFACES:]))


def _named(wanted: str, adapters: Sequence[Adapter]) -> list[LocalAddress]:
    """The addresses that a name (one IPv4, one IPv6) or an address stands for."""
    wanted_ip = ip_or_none(wanted.partition("%")[0])
    for adapter in adapters:
        if wanted_ip is None and adapter.name == wanted:
            addresses = _one_per_family(adapter, loopback=True) + _one_per_family(adapter, loopback=False)
            if not addresses:
                raise ConfigError(f"the interface {wanted!r} has no IP address: bring it up, or name another")
            return addresses
        if wanted_ip is not None and any(ip_or_none(address) == wanted_ip for address in adapter.addresses):
            return [LocalAddress(adapter.name, adapter.index, str(wanted_ip))]
    there = ", ".join(f"{adapter.name} ({', '.join(adapter.addresses)})" for adapter in adapters if adapter.addresses)
    raise ConfigError(f"this host has no interface or address {wanted!r}: write one of {there}, 'loopback' or 'all'")


def _one_per_family(adapter: Adapter, *, loopback: bool) -> list[LocalAddress]:
    """The first IPv4 and the first IPv6 address of the adapter that are, or are not, loopback addresses."""
    chosen: dict[int, LocalAddress] = {}
    for address in adapter.addresses:
        ip = ipaddress.ip_address(address)
        if ip.is_loopback == loopback:
            chosen.setdefault(ip.version, LocalAddress(adapter.name, adapter.index, address))
    return [chosen[version] for version in sorted(chosen)]


def _probed(group: Sequence[LocalAddress], probe: Probe) -> tuple[list[LocalAddress], OSError | None]:
    """Those that carry multicast; an error only where none does: IPv6 multicast fails on any Linux loopback."""
    errors = {address: probe(address) for address in group}
    usable = [address for address, error in errors.items() if error is None]
    first = next((error for error in errors.values() if error is not None), None)
    return usable, None if usable else first
