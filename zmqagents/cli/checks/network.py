"""This host's network: its interfaces, whether mDNS packets cross them, and whether the ports are free."""

from __future__ import annotations

import errno
import itertools
import socket
from collections.abc import Sequence

from zmqagents.cli.checks.findings import Finding, fail, ok, warn
from zmqagents.cli.checks.multicast import echo_error
from zmqagents.config import RuntimeConfig
from zmqagents.discovery.addresses import this_host, to_bind
from zmqagents.discovery.endpoints import format_endpoint, ip_or_none
from zmqagents.discovery.interfaces import VIRTUAL_PREFIXES, Adapter, Choice, LocalAddress
from zmqagents.errors import ConfigError
from zmqagents.runtime.cluster import PeerInfo

INTERFACES, MULTICAST, PORTS = "interfaces", "multicast", "ports"

_SEEDS = "name processes to ask instead: --seed tcp://host:port, seeds=[...] or ZMQAGENTS_SEEDS"


def check_interfaces(config: RuntimeConfig, adapters: Sequence[Adapter], choice: Choice) -> Finding:
    """What interfaces there are, and which of them mDNS uses."""
    used = {local.interface for local in choice.addresses}
    there = "; ".join(
        _describe(adapter, used=adapter.name in used and config.discovery == "mdns") for adapter in adapters
    )
    if config.discovery != "mdns":
        return ok(INTERFACES, there)
    if choice.broken:
        broken = ", ".join(f"{name} ({error.strerror or error})" for name, error in choice.broken)
        return fail(INTERFACES, f"{there}. No multicast on {broken}", f"bring it up, choose others, or {_SEEDS}")
    if not used:
        return fail(INTERFACES, f"{there}. None of them carries multicast", _SEEDS)
    if _listens_beyond(config) and all(local.is_loopback for local in choice.addresses):
        return warn(
            INTERFACES,
            f"{there}. Listening on {', '.join(config.listen)}, but mDNS asks on loopback only",
            "add --interface all (interfaces='all'), or name the interface, so that other hosts are found",
        )
    if choice.over_cap:
        return warn(
            INTERFACES, f"{there}. Too many for mDNS: left out {', '.join(choice.over_cap)}", "name those to use"
        )
    return ok(INTERFACES, there)


def _describe(adapter: Adapter, *, used: bool) -> str:
    words = ["used by mDNS"] if used else []
    if adapter.name.startswith(VIRTUAL_PREFIXES):
        words.append("of containers, virtual machines or a tunnel")
    return f"{adapter.name} {' '.join(adapter.addresses)}" + (f" ({', '.join(words)})" if words else "")


def check_multicast(config: RuntimeConfig, addresses: Sequence[LocalAddress]) -> Finding:
    """Whether an mDNS packet that is sent from each address comes back to this host."""
    if config.discovery != "mdns":
        return ok(MULTICAST, f"not used: discovery={config.discovery!r}")
    outcomes = {f"{local.interface} ({local.address})": echo_error(local) for local in addresses}
    failed = [f"{name}: {error}" for name, error in outcomes.items() if error]
    if not failed:
        return ok(MULTICAST, f"packets to ourselves came back on {', '.join(outcomes) or 'no interface'}")
    seen = "a packet to ourselves did not come back on " + "; ".join(failed)
    advice = f"let UDP port 5353 through the firewall of this host, or {_SEEDS}"
    return (
        warn(MULTICAST, seen, advice) if config.seeds or len(failed) < len(outcomes) else fail(MULTICAST, seen, advice)
    )


def check_ports(config: RuntimeConfig, adapters: Sequence[Adapter], peers: Sequence[PeerInfo]) -> Finding:
    """Whether the two sockets of a process can be bound where ``listen`` says.

    A port that a process of the cluster has is no fault: it is its own port that the settings name.
    """
    try:
        addresses = to_bind(config.listen, this_host(adapters))
    except ConfigError as error:
        return fail(PORTS, str(error), "correct --listen (listen=, ZMQAGENTS_LISTEN)")
    problems: list[str] = []
    for port, address in itertools.product(dict.fromkeys((config.port, config.gossip_port)), addresses):
        refused = bind_error(address, port)
        if refused is None:
            continue
        if refused.errno == errno.EADDRINUSE:
            holder = _holder(peers, adapters, port)
            if holder:
                return ok(PORTS, f"port {port} is that of {holder}, which is in the cluster")
            problems.append(f"port {port} of {address} is taken by another program")
        elif refused.errno == errno.EACCES:
            problems.append(f"port {port} of {address} needs privileges")
        else:
            problems.append(f"can't listen on {address}: {refused.strerror or refused}")
    if problems:
        advice = (
            "choose another port (ZMQAGENTS_PORT, port=; 0 takes a free one), or an address of this host to listen on"
        )
        return fail(PORTS, "; ".join(dict.fromkeys(problems)), advice)
    fixed = [str(port) for port in (config.port, config.gossip_port) if port]
    ports = f"port{'s' if len(fixed) > 1 else ''} {' and '.join(fixed)}" if fixed else "free ports"
    return ok(PORTS, f"{ports} can be bound on {', '.join(addresses)}")


def _listens_beyond(config: RuntimeConfig) -> bool:
    """Whether other hosts are to connect."""
    addresses = [ip_or_none(one) for one in config.listen if one != "loopback"]
    return any(address is None or not address.is_loopback for address in addresses)


def bind_error(address: str, port: int) -> OSError | None:
    """Why nothing can listen there; None if it can. Bound as ZeroMQ binds, and closed at once."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if ":" in address:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind((address, port))
            probe.listen()
    except OSError as error:
        return error
    return None


def _holder(peers: Sequence[PeerInfo], adapters: Sequence[Adapter], port: int) -> str:
    """The process of the cluster that says it listens on that port of this host; "" if none does."""
    own = {format_endpoint(address, port) for adapter in adapters for address in adapter.addresses}
    for peer in peers:
        if own.intersection(peer.endpoints) or own.intersection(peer.gossip_endpoints):
            return peer.instance_id or peer.node_id[:8]
    return ""
