"""The demo as a user runs it, and that nothing of it is left however it ends."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [sys.executable, "-m", "tools.demo_program.main"]

# What a child that lost its conductor may take to say goodbye to the others and exit.
LEAVE_DEADLINE_S = 15.0

pytestmark = pytest.mark.integration


@pytest.fixture
def demo() -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        COMMAND, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as conductor:
        yield conductor
        conductor.kill()


def children_once_said(demo: subprocess.Popen[str], said: str) -> list[psutil.Process]:
    """The processes of the demo, once its output holds ``said``. The last, the coordinator, is suspended.

    Else a demo, which is soon done, might end before a busy machine lets the test go on.
    """
    assert demo.stdout is not None
    output = ""
    children: list[psutil.Process] = []
    for line in demo.stdout:
        output += line
        if started := re.search(r"started +([\w-]+) as process (\d+)", line):
            children.append(psutil.Process(int(started[2])))
            if started[1] == "coordinator":
                children[-1].suspend()
        if said in line and len(children) == 3:
            return children
    raise AssertionError(output)


def test_demo_shows_discovery_calls_and_an_event_and_ends_well(demo: subprocess.Popen[str]) -> None:
    output, _ = demo.communicate(timeout=50)

    assert demo.returncode == 0, output
    for name, others in {"worker-1": "worker-2", "worker-2": "coordinator", "coordinator": "worker-1"}.items():
        assert f"{name} found {others} by mdns" in output
    assert "8 calls, all answered" in " ".join(output.split())
    assert "1 event to 2 processes" in " ".join(output.split())


@pytest.mark.parametrize("said", ["started   coordinator", "joined"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_demo_leaves_no_process_behind_when_it_is_asked_to_end(
    demo: subprocess.Popen[str], number: signal.Signals, said: str
) -> None:
    children = children_once_said(demo, said)

    demo.send_signal(number)
    children[-1].resume()

    output, _ = demo.communicate(timeout=30)
    assert demo.returncode == 128 + number, output
    assert not [child for child in children if child.is_running()]


def test_demo_leaves_no_process_behind_when_it_is_killed(demo: subprocess.Popen[str]) -> None:
    children = children_once_said(demo, "joined")

    demo.kill()
    children[-1].resume()

    _, left = psutil.wait_procs(children, timeout=LEAVE_DEADLINE_S)
    assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]
