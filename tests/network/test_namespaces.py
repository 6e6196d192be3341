"""The network that the other tests of this folder cut: that it carries packets, loses them, and is gone afterwards."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.network.namespaces import Lab, lan, namespaces

pytestmark = pytest.mark.network

# Dials a port where nobody listens: refused if packets arrive both ways, and otherwise nothing is heard.
DIAL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=0.3)
except ConnectionRefusedError:
    print("refused")
except TimeoutError:
    print("silence")
"""

# Sends a datagram to a socket of the other program, which tells what it has heard.
SEND = "import socket, sys; socket.socket(type=socket.SOCK_DGRAM).sendto(b'hello', (sys.argv[1], 7777))"
HEAR = """
import socket, sys
heard = socket.socket(type=socket.SOCK_DGRAM)
heard.bind((sys.argv[1], 7777))
print("listening", flush=True)
heard.settimeout(1)
try:
    print(heard.recv(9).decode())
except TimeoutError:
    print("silence")
"""


def dial(net: Lab, one: str, other: str) -> str:
    """What becomes of a connection between the two hosts."""
    command = [*net.inside(one), sys.executable, "-c", DIAL, net.address(other)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def hear(net: Lab, sender: str, receiver: str) -> str:
    """What becomes of a datagram."""
    command = [*net.inside(receiver), sys.executable, "-c", HEAR, net.address(receiver)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as hearing:
        assert hearing.stdout is not None
        assert hearing.stdout.readline() == "listening\n"
        sending = [*net.inside(sender), sys.executable, "-c", SEND, net.address(receiver)]
        subprocess.run(sending, check=True, timeout=10)
        return hearing.stdout.readline().strip()


def test_separated_hosts_hear_nothing_until_they_are_joined_again() -> None:
    with lan("a", "b", "c") as net:
        assert dial(net, "a", "b") == "refused"
        net.separate("a", "b")
        assert dial(net, "a", "b") == dial(net, "b", "a") == "silence"
        assert dial(net, "a", "c") == "refused"
        net.join("a", "b")
        assert dial(net, "b", "a") == "refused"


def test_cut_is_one_way() -> None:
    with lan("a", "b") as net:
        net.cut("a", "b")
        assert hear(net, "a", "b") == "silence"
        assert hear(net, "b", "a") == "hello"
        net.heal("a", "b")
        assert hear(net, "a", "b") == "hello"


def test_network_is_gone_after_a_failure() -> None:
    with pytest.raises(ZeroDivisionError), lan("a") as net:
        mine = net.inside("a")[-1]
        assert mine in namespaces()
        1 / 0  # noqa: B018
    assert mine not in namespaces()


def test_network_of_a_run_that_was_killed_is_removed_by_the_next_one() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait(10)
    left = f"zmqa-{ended.pid}-1-a"
    with lan():
        subprocess.run(["ip", "netns", "add", left], check=True, timeout=10)
        assert left in namespaces()
    with lan():
        assert left not in namespaces()
