"""The command line of the forwarder, without starting one."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest

from zmqagents.forwarder import main as program
from zmqagents.forwarder.settings import ForwarderSettings
from zmqagents.keys import make_key

KEY = make_key()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("zmqagents")
    handlers, level, our_level = root.handlers[:], root.level, ours.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    ours.setLevel(our_level)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[ForwarderSettings]:
    """The settings with which forwarders would have been started."""
    found: list[ForwarderSettings] = []

    async def serve(settings: ForwarderSettings) -> None:
        found.append(settings)

    monkeypatch.setattr(program, "_serve", serve)
    return found


def test_command_without_arguments_listens_on_loopback(served: list[ForwarderSettings]) -> None:
    assert program.main([], {}) == 0
    assert served == [ForwarderSettings()]


def test_environment_fills_in_what_the_arguments_leave_open(served: list[ForwarderSettings]) -> None:
    environment = {
        "ZMQAGENTS_CLUSTER_KEY": KEY,
        "ZMQAGENTS_CLUSTER": "from the environment",
        "ZMQAGENTS_FORWARDER_BIND": "tcp://0.0.0.0:1, tcp://[::]:1",
        "ZMQAGENTS_FORWARDER_MAX_PEERS": "9",
        "ZMQAGENTS_FORWARDER_HEALTH": "0.0.0.0:8080",
        "ZMQAGENTS_FORWARDER_DRAIN": "0.5",
        "ZMQAGENTS_FORWARDER_LOG_FORMAT": "json",
        "ZMQAGENTS_INSECURE_LAN": "1",
    }
    assert program.main(["--cluster", "given"], environment) == 0
    assert served == [
        ForwarderSettings(
            bind=("tcp://0.0.0.0:1", "tcp://[::]:1"),
            cluster="given",
            cluster_key=KEY,
            insecure_lan=True,
            max_peers=9,
            health="0.0.0.0:8080",
            drain_s=0.5,
        )
    ]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ZMQAGENTS_FORWARDER_MAX_PEERS", "many"),
        ("ZMQAGENTS_FORWARDER_DRAIN", "soon"),
        ("ZMQAGENTS_FORWARDER_LOG_LEVEL", "loud"),
        ("ZMQAGENTS_INSECURE_LAN", "yes"),
        ("ZMQAGENTS_CLUSTER_KEY", "short"),
    ],
)
def test_variable_that_is_wrong_ends_it_with_2(
    served: list[ForwarderSettings], capsys: pytest.CaptureFixture[str], variable: str, value: str
) -> None:
    assert program.main([], {variable: value}) == 2
    said = capsys.readouterr().err
    assert said.startswith("zmqagents-forwarder: ")
    assert variable in said or "cluster key" in said
    assert not served


def test_help_shows_how_to_start_it_and_never_a_key_as_an_argument() -> None:
    command = [sys.executable, "-m", "zmqagents.forwarder", "--help"]
    text = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True).stdout
    assert "zmqagents-forwarder --bind tcp://0.0.0.0:50051 --key-file cluster.key" in text
    assert "exit status" in text
    assert "--key " not in text
