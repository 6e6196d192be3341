"""A topology made real: a namespace for each node, one for the bridges, cables between them, and rules in each node.

Nothing of this machine's own network is touched: the bridges have a namespace too. A cut drops packets where they
arrive, so neither side is told anything, as with a pulled cable; it may be one-way. A broken connection is reset
instead, as by a router that has forgotten it, while new ones are let through.

All names begin with ``zmqa-``, so whatever was left behind can be found, and removed by ``remove``. What a lab is can
be read from the namespaces alone: two commands that work on one lab share no file.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from tools.netlab_program.shell import NetlabError, namespaces, run
from tools.netlab_program.topologies import Node, Topology

PREFIX = "zmqa-"
_SWITCH = "switch"
_OF_A_TEST = re.compile(rf"{PREFIX}(\d+)-")
GRACE_S = 3.0  # between SIGTERM and SIGKILL for what still runs in a host that is removed

_LOOK_S = 0.02

# Of each node: packets of senders in `cut` vanish; those of TCP connections with a sender in `broken` are answered with
# a reset, except for the packet that opens a new one.
_CABLE = """
table inet cable {
    set cut { type ipv4_addr; }
    set cut6 { type ipv6_addr; }
    set broken { type ipv4_addr; }
    set broken6 { type ipv6_addr; }
    chain input {
        type filter hook input priority -300; policy accept;
        ip saddr @cut drop
        ip6 saddr @cut6 drop
        ip saddr @broken tcp flags & syn == 0 reject with tcp reset
        ip6 saddr @broken6 tcp flags & syn == 0 reject with tcp reset
    }
}
"""

# Of a router, whose cable to the network that it hides is eth0: what comes from there gets out under the router's
# address; from elsewhere only answers get in.
_NAT = """
table ip nat {
    chain postrouting {
        type nat hook postrouting priority 100; policy accept;
        iifname "eth0" masquerade
    }
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        iifname "eth0" accept
    }
}
"""


class Lab:
    """The nodes of one topology, under one label."""

    def __init__(self, label: str, topology: Topology) -> None:
        self.label = label
        self.topology = topology

    def node(self, name: str) -> Node:
        """The node of that name. Raises NetlabError, listing those there are."""
        found = self.topology.node(name)
        if found is None:
            there = ", ".join(node.name for node in self.topology.nodes)
            raise NetlabError(f"there is no host {name!r} in {self.topology.name}: write one of {there}")
        return found

    def address(self, name: str) -> str:
        """The node's first IPv4 address."""
        return _addresses(self.node(name))[0]

    def namespace(self, name: str) -> str:
        """Where the node is."""
        return f"{self.label}-{self.node(name).name}"

    def inside(self, name: str) -> list[str]:
        """The command before a command that runs it on that node; the process id stays that of the command."""
        return ["ip", "netns", "exec", self.namespace(name)]

    # -- making it -----------------------------------------------------------------------------------------------

    def make(self) -> None:
        """Make it all; whatever goes wrong, nothing is left. Raises NetlabError."""
        try:
            self._make()
        except BaseException:
            remove(self.label)
            raise

    def _make(self) -> None:
        switch = f"{self.label}-{_SWITCH}"
        run("ip", "netns", "add", switch)
        for network in self.topology.networks:
            run("ip", "-n", switch, "link", "add", network, "type", "bridge", "mcast_snooping", "0")
            run("ip", "-n", switch, "link", "set", network, "up")
        for number, node in enumerate(self.topology.nodes):
            self._add(switch, node, number)
        for sender, receiver in self.topology.cuts:
            self.cut(sender, receiver)

    def _add(self, switch: str, node: Node, number: int) -> None:
        name = self.namespace(node.name)
        run("ip", "netns", "add", name)
        steps = ["link set lo up"]
        for at, port in enumerate(node.ports):
            cable, interface = f"port{number}-{at}", f"eth{at}"
            run("ip", "-n", switch, "link", "add", cable, "type", "veth", "peer", "name", interface, "netns", name)
            run("ip", "-n", switch, "link", "set", cable, "master", port.network, "up")
            steps += [f"address add {address} dev {interface}{_at_once(address)}" for address in port.addresses]
            steps.append(f"link set {interface} up")
        if node.gateway is not None:
            steps.append(f"route add default via {node.gateway}")
        run("ip", "-n", name, "-batch", "-", text="\n".join(steps) + "\n")
        run("ip", "netns", "exec", name, "nft", "-f", "-", text=_CABLE + (_NAT if node.hides is not None else ""))
        if node.hides is not None:
            run("ip", "netns", "exec", name, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")

    def add_bridge(self, name: str, interface: str, address: str) -> None:
        """Give the node a bridge of its own, with nobody behind it, as Docker makes one on every host."""
        steps = [
            f"link add {interface} type bridge",
            f"address add {address} dev {interface}",
            f"link set {interface} up",
        ]
        run("ip", "-n", self.namespace(name), "-batch", "-", text="\n".join(steps) + "\n")

    # -- changing it ---------------------------------------------------------------------------------------------

    def cut(self, sender: str, receiver: str) -> None:
        """From now on nothing of ``sender`` arrives at ``receiver``; both ways need two calls."""
        self._change("add", "cut", sender, receiver)

    def heal(self, sender: str, receiver: str) -> None:
        """The end of ``cut``. Raises NetlabError if there is none."""
        self._change("delete", "cut", sender, receiver)

    def separate(self, one: str, other: str) -> None:
        """Cut both ways."""
        self.cut(one, other)
        self.cut(other, one)

    def join(self, one: str, other: str) -> None:
        """Heal both ways."""
        self.heal(one, other)
        self.heal(other, one)

    @contextlib.contextmanager
    def breaking(self, one: str, other: str) -> Iterator[None]:
        """While the block runs, packets of established connections between the two are answered with a reset."""
        self._change("add", "broken", one, other)
        self._change("add", "broken", other, one)
        try:
            yield
        finally:
            self._change("delete", "broken", one, other)
            self._change("delete", "broken", other, one)

    def forget_connections(self, router: str) -> None:
        """The router forgets all connections, as one does that is switched off and on: new ones have to be made."""
        run(*self.inside(router), "nft", "flush", "ruleset")
        run(*self.inside(router), "nft", "-f", "-", text=_CABLE + _NAT)

    def _change(self, verb: str, of: str, sender: str, receiver: str) -> None:
        shared = {port.network for port in self.node(receiver).ports}
        ports = [port for port in self.node(sender).ports if port.network in shared]
        if not ports:
            raise NetlabError(
                f"{sender} and {receiver} are on no common network: name the router between them instead"
                if sender != receiver
                else "a host can't be cut from itself"
            )
        for address in (address.partition("/")[0] for port in ports for address in port.addresses):
            name = f"{of}6" if ":" in address else of
            run(*self.inside(receiver), "nft", verb, "element", "inet", "cable", name, f"{{ {address} }}")


def remove(label: str, *, grace_s: float = GRACE_S) -> list[str]:
    """End what still runs in the namespaces of a lab, and remove them; returns their names. Safe to call twice."""
    names = [name for name in namespaces() if name.startswith(f"{label}-")]
    _end_processes(names, grace_s)
    for name in names:
        run("ip", "netns", "del", name)
    return names


def labs() -> dict[str, list[str]]:
    """The namespaces of each lab that is there, of tests and of people, by label."""
    found: dict[str, list[str]] = {}
    for name in namespaces():
        match = re.match(rf"({PREFIX}lab-(?:flat|nat|one-nat|cut)|{PREFIX}\d+-\d+)-(.+)", name)
        if match is not None:
            found.setdefault(match[1], []).append(match[2])
    return {label: sorted(names, key=lambda name: (name == _SWITCH, name)) for label, names in sorted(found.items())}


def label_of(topology: Topology) -> str:
    """The label of a person's lab: one of each topology at a time."""
    return f"{PREFIX}lab-{topology.name}"


def remove_those_of_the_dead() -> None:
    """Remove the labs of test runs that were killed."""
    for name in namespaces():
        found = _OF_A_TEST.match(name)
        if found is not None and not Path(f"/proc/{found[1]}").exists():
            with contextlib.suppress(NetlabError):  # another run removes it at the same time
                run("ip", "netns", "del", name)


def _end_processes(names: list[str], grace_s: float) -> None:
    """SIGTERM, and SIGKILL for who has not ended after a while; only what was started in these namespaces."""
    deadline_s = time.monotonic() + grace_s
    told: set[int] = set()
    while pids := {int(pid) for name in names for pid in run("ip", "netns", "pids", name).split()}:
        late = time.monotonic() >= deadline_s
        for pid in pids if late else pids - told:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if late else signal.SIGTERM)
        told |= pids
        time.sleep(_LOOK_S)


def _addresses(node: Node) -> list[str]:
    return [address.partition("/")[0] for port in node.ports for address in port.addresses]


def _at_once(address: str) -> str:
    """An IPv6 address is to be usable without the second that looking for another owner takes."""
    return " nodad" if ":" in address else ""
