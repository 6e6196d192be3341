"""The networks that a lab can be: who is on which cable, and what a router lets through.

Each network has an IPv4 prefix of 24 bits, and an IPv6 prefix of 64 bits unless it lies behind or before NAT, which is
IPv4's affair. A node is a host or, if it ``hides`` a network, a router that masquerades it: connections from inside get
out under the router's own address, and nothing that was not asked for gets in. Packets from outside to an address
inside vanish without an answer, as on the Internet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

LAN = "lan"
OUTSIDE = "outside"
_ROUTER = 254
"""The last byte of a router's address on the network that it hides."""


@dataclass(frozen=True, slots=True)
class Port:
    """A cable of a node."""

    network: str
    addresses: tuple[str, ...]
    """With prefix length, IPv4 first."""


@dataclass(frozen=True, slots=True)
class Node:
    """A host, or a router."""

    name: str
    ports: tuple[Port, ...]
    gateway: str | None = None
    hides: str | None = None
    """The network that it masquerades."""


@dataclass(frozen=True, slots=True)
class Topology:
    """A named network."""

    name: str
    about: str
    nodes: tuple[Node, ...]
    cuts: tuple[tuple[str, str], ...] = ()
    """Pairs of sender and receiver between which nothing passes from the start."""

    @property
    def networks(self) -> tuple[str, ...]:
        """Their names, each once."""
        return tuple(dict.fromkeys(port.network for node in self.nodes for port in node.ports))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the nodes."""
        return tuple(node.name for node in self.nodes)

    def node(self, name: str) -> Node | None:
        """The node of that name."""
        return next((node for node in self.nodes if node.name == name), None)


def flat(names: Sequence[str] = ("a", "b", "c")) -> Topology:
    """Hosts on one bridge."""
    return Topology("flat", "hosts on one LAN", tuple(_lan_host(name, at) for at, name in enumerate(names, start=1)))


def cut() -> Topology:
    """Three hosts on one bridge, of which one can't be heard by another."""
    hosts = flat(("a", "b", "c")).nodes
    return Topology("cut", "three hosts on one LAN; nothing of a arrives at b, all else passes", hosts, (("a", "b"),))


def one_nat() -> Topology:
    """Two hosts behind a router with NAT, and two outside."""
    nodes = (
        _inner_host("in1", 1, 1),
        _inner_host("in2", 1, 2),
        _router("router", 1),
        _outer_host("out1", 1),
        _outer_host("out2", 2),
    )
    return Topology("one-nat", "two hosts behind a NAT router, two outside", nodes)


def nat() -> Topology:
    """Two LANs, each behind a router of its own, and two hosts outside."""
    nodes = (
        _inner_host("left1", 1, 1),
        _inner_host("left2", 1, 2),
        _router("left-router", 1),
        _inner_host("right1", 2, 1),
        _inner_host("right2", 2, 2),
        _router("right-router", 2),
        _outer_host("out1", 1),
        _outer_host("out2", 2),
    )
    return Topology("nat", "two LANs behind a NAT router each, and two hosts outside", nodes)


def named(name: str, hosts: int = 3) -> Topology:
    """The topology of that name; ``hosts`` is how many ``flat`` has. KeyError if there is none."""
    if name == "flat":
        return flat([_letter(number) for number in range(hosts)])
    return {"cut": cut, "one-nat": one_nat, "nat": nat}[name]()


NAMES = ("flat", "nat", "one-nat", "cut")
MAX_HOSTS = 100


def _letter(number: int) -> str:
    return chr(ord("a") + number % 26) + (str(number // 26) if number >= 26 else "")


def _lan_host(name: str, number: int) -> Node:
    return Node(name, (Port(LAN, (f"10.99.0.{number}/24", f"fd00:99::{number:x}/64")),))


def _inner_host(name: str, side: int, number: int) -> Node:
    """A host behind router ``side``."""
    return Node(name, (Port(f"inside{side}", (f"10.{side}.0.{number}/24",)),), gateway=f"10.{side}.0.{_ROUTER}")


def _outer_host(name: str, number: int) -> Node:
    """A host in the open. What it sends to private addresses goes to a router, which drops it."""
    return Node(name, (Port(OUTSIDE, (f"203.0.113.{number}/24",)),), gateway=f"203.0.113.{_outer_address(1)}")


def _router(name: str, side: int) -> Node:
    inner = Port(f"inside{side}", (f"10.{side}.0.{_ROUTER}/24",))
    return Node(name, (inner, Port(OUTSIDE, (f"203.0.113.{_outer_address(side)}/24",))), hides=inner.network)


def _outer_address(side: int) -> int:
    return 10 + side
