"""A local network of a test's own: hosts that are network namespaces, on a bridge, whose cables can be cut.

Nothing of this machine's own network is touched: the bridge has a namespace too. A cut drops packets where they arrive,
so neither side is told anything, as with a pulled cable; it may be one-way. A broken connection is reset instead, as by
a router that has forgotten it, while new ones are let through. Whatever is made here is gone when the block is left;
what a killed test run has left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.requirements import require_network_namespaces

# nftables rules of each host: packets of senders in `cut` vanish; those of TCP connections with a sender in `broken`
# are answered with a reset, except for the packet that opens a new one.
_RULES = """
table inet cable {
    set cut { type ipv4_addr; }
    set broken { type ipv4_addr; }
    chain input {
        type filter hook input priority -300; policy accept;
        ip saddr @cut drop
        ip saddr @broken tcp flags & syn == 0 reject with tcp reset
    }
}
"""

_NUMBERS = itertools.count(1)


class Lan:
    """Hosts on one bridge. ``hosts`` are their names; each has one address."""

    def __init__(self, label: str, names: Sequence[str]) -> None:
        self._label = label
        self._addresses = {name: f"10.99.0.{number}" for number, name in enumerate(names, start=1)}

    def address(self, name: str) -> str:
        """The host's address on the bridge."""
        return self._addresses[name]

    def inside(self, name: str) -> list[str]:
        """The command before a command that runs it on that host; the process id stays that of the command."""
        return ["ip", "netns", "exec", f"{self._label}-{name}"]

    def cut(self, sender: str, receiver: str) -> None:
        """From now on nothing of ``sender`` arrives at ``receiver``; both ways need two calls."""
        self._change("add", "cut", sender, receiver)

    def heal(self, sender: str, receiver: str) -> None:
        """The end of ``cut``."""
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

    def _change(self, verb: str, of: str, sender: str, receiver: str) -> None:
        _run(*self.inside(receiver), "nft", verb, "element", "inet", "cable", of, f"{{ {self._addresses[sender]} }}")


@contextlib.contextmanager
def lan(*hosts: str) -> Iterator[Lan]:
    """A network of those hosts. The test is skipped, or fails, where namespaces can't be made."""
    require_network_namespaces()
    _remove_those_of_the_dead()
    label = f"zmqa-{os.getpid()}-{next(_NUMBERS)}"
    made = Lan(label, hosts)
    with contextlib.ExitStack() as stack:
        switch = f"{label}-switch"
        _add(stack, switch)
        _in(switch, "ip", "link", "add", "bridge", "type", "bridge")
        _in(switch, "ip", "link", "set", "bridge", "up")
        for number, host in enumerate(hosts):
            name, port = f"{label}-{host}", f"port{number}"
            _add(stack, name)
            _in(switch, "ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", name)
            _in(switch, "ip", "link", "set", port, "master", "bridge", "up")
            _in(name, "ip", "address", "add", f"{made.address(host)}/24", "dev", "eth0")
            _in(name, "ip", "link", "set", "lo", "up")
            _in(name, "ip", "link", "set", "eth0", "up")
            _in(name, "nft", "-f", "-", text=_RULES)
        yield made


def _add(stack: contextlib.ExitStack, name: str) -> None:
    _run("ip", "netns", "add", name)
    stack.callback(_run, "ip", "netns", "del", name)


def _in(name: str, *command: str, text: str = "") -> None:
    _run("ip", "netns", "exec", name, *command, text=text)


def _run(*command: str, text: str = "") -> None:
    """AssertionError with what the command said if it fails."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=10)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr or done.stdout}"


def _remove_those_of_the_dead() -> None:
    for name in namespaces():
        found = re.match(r"zmqa-(\d+)-", name)
        if found is not None and not Path(f"/proc/{found[1]}").exists():
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False, timeout=10)


def namespaces() -> list[str]:
    """The names of all network namespaces that are there."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True, timeout=10)
    return [line.split()[0] for line in listed.stdout.splitlines() if line]
