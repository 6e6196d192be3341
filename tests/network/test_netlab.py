"""tools/netlab as a person uses it: what it makes works, and nothing is left of it."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.namespaces import Lab, lab, namespaces
from tests.requirements import require_network_namespaces
from tools.netlab_program.lab import PREFIX
from tools.netlab_program.shell import NetlabError
from tools.netlab_program.topologies import Node, Port, Topology, nat, one_nat

pytestmark = pytest.mark.network

NETLAB = str(Path(__file__).parents[2] / "tools" / "netlab")
LOCK = Path("/tmp/zmqagents-netlab-tests.lock")
ANSWER_S = 2.0

# Dials a port where nobody listens: refused if packets arrive both ways, and otherwise nothing is heard.
DIAL = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9), timeout=0.5)
except ConnectionRefusedError:
    print("refused")
except OSError:
    print("silence")
"""


def netlab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, NETLAB, *arguments], capture_output=True, text=True, check=False, timeout=30)


def mine(name: str) -> list[str]:
    return [one for one in namespaces() if one.startswith(f"zmqa-lab-{name}-")]


@pytest.fixture(autouse=True)
def alone() -> Iterator[None]:
    """A person's lab has a fixed name: one test run at a time, and none while somebody has one."""
    require_network_namespaces()
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if mine("cut") or mine("one-nat"):
            pytest.skip("a lab of somebody's own is there")
        try:
            yield
        finally:
            for name in ("cut", "one-nat"):
                netlab("down", name)


def dial(name: str, host: str, address: str) -> str:
    return netlab("exec", name, host, sys.executable, "-c", DIAL, address).stdout.strip()


def test_lab_is_made_cut_healed_and_removed() -> None:
    made = netlab("up", "cut")
    assert made.returncode == 0, made.stderr
    assert "10.99.0.1" in made.stdout
    assert dial("cut", "a", "10.99.0.2") == "silence"
    assert dial("cut", "a", "10.99.0.3") == "refused"
    assert netlab("heal", "cut", "a", "b").returncode == 0
    assert dial("cut", "a", "10.99.0.2") == dial("cut", "a", "fd00:99::2") == "refused"
    assert netlab("cut", "cut", "c", "a").returncode == 0
    assert dial("cut", "a", "10.99.0.3") == dial("cut", "a", "fd00:99::3") == "silence"
    assert "zmqa-lab-cut: a, b, c, switch" in netlab("list").stdout
    again = netlab("up", "cut")
    assert (again.returncode, "is there already" in again.stderr) == (1, True)
    command = [sys.executable, NETLAB, "exec", "cut", "a", "sh", "-c", "echo ready; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as sleeping:
        assert sleeping.stdout is not None
        assert sleeping.stdout.readline() == "ready\n"
        assert netlab("down", "cut").returncode == 0
        assert sleeping.wait(10) == -signal.SIGTERM
    assert mine("cut") == []
    assert netlab("down", "cut").returncode == 1
    assert "tools/netlab up cut" in netlab("exec", "cut", "a", "true").stderr


def test_run_removes_the_lab_and_passes_the_status_on() -> None:
    done = netlab("run", "cut", "--", "sh", "-c", "echo $NETLAB; ip netns list; exit 7")
    assert done.returncode == 7
    assert done.stdout.startswith("cut\n")
    assert "zmqa-lab-cut-a" in done.stdout
    assert mine("cut") == []
    missing = netlab("run", "cut", "--", "no-such-command")
    assert (missing.returncode, "can't be run" in missing.stderr) == (1, True)
    assert mine("cut") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_run_leaves_nothing(number: signal.Signals) -> None:
    command = [sys.executable, NETLAB, "run", "cut", "--", "sh", "-c", "echo ready; exec sleep 60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, text=True) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "ready\n"
        if number == signal.SIGINT:
            os.killpg(running.pid, number)  # as the terminal does
        else:
            running.send_signal(number)
        assert running.wait(10) == 130
    assert mine("cut") == []


def test_failure_while_it_is_made_leaves_nothing() -> None:
    good, lost = Port("lan", ("10.99.0.1/24",)), Port("lan", ("10.99.0.2/24",))
    broken = Topology("broken", "", (Node("a", (good,)), Node("b", (lost,), gateway="192.0.2.1")))
    made = Lab(f"{PREFIX}{os.getpid()}-0", broken)
    with pytest.raises(NetlabError, match=r"unreachable|invalid gateway"):
        made.make()
    assert [name for name in namespaces() if name.startswith(made.label)] == []


def test_nat_lets_connections_out_and_none_in() -> None:
    with lab(one_nat()) as net:

        def dialled(host: str, to: str) -> str:
            command = [*net.inside(host), sys.executable, "-c", DIAL, net.address(to)]
            return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

        assert dialled("in1", "out1") == dialled("in1", "in2") == dialled("out1", "out2") == "refused"
        began_s = time.monotonic()
        assert dialled("out1", "in1") == "silence"
        assert time.monotonic() - began_s < ANSWER_S


def test_hosts_behind_two_routers_do_not_reach_each_other() -> None:
    with lab(nat()) as net:
        for host, to, heard in (
            ("left1", "left2", "refused"),
            ("left1", "out2", "refused"),
            ("right2", "out1", "refused"),
            ("left1", "right1", "silence"),
            ("out1", "right1", "silence"),
        ):
            command = [*net.inside(host), sys.executable, "-c", DIAL, net.address(to)]
            shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
            assert shown == heard, (host, to)
