"""Arguments and help of the commands: what needs no cluster."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.testing import CliRunner

from zmqagents.cli.main import app

COMMANDS = ("peers", "call", "publish", "doctor")


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples_and_the_settings_of_the_cluster(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert f"zmqagents {command} " in result.stdout.partition("Examples:")[2]
    for option in ("--cluster", "--seed", "--discovery", "--interface", "--key-file", "--json"):
        assert option in result.stdout
    assert "--key " not in result.stdout


def test_help_names_all_commands_and_the_exit_statuses() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"})
    assert all(command in result.stdout for command in COMMANDS)
    assert "130 interrupted" in result.stdout


def test_help_loads_neither_autogen_nor_zeromq() -> None:
    program = (
        "import sys\nfrom typer.testing import CliRunner\nfrom zmqagents.cli.main import app\n"
        "assert CliRunner().invoke(app, ['call', '--help']).exit_code == 0\n"
        "print([name for name in ('autogen_core', 'zmq', 'zeroconf', 'msgspec') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
    assert run.stdout == "[]\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["call", "worker/a", '{"text": ', "--message-type", "Ask"], "not JSON"),
        (["call", "worker/a", "NaN", "--message-type", "Ask"], "NaN is not JSON"),
        (["call", "worker/a", "[" * 100_000, "--message-type", "Ask"], "not JSON"),
        (["call", "worker/a", "{}", "--message-type", "A" * 2_000], "over the limit"),
        (["call", "not an agent/a", "{}", "--message-type", "Ask"], "TYPE/KEY"),
        (["call", "worker/a", "{}"], "--message-type"),
        (["call", "worker/a", "{}", "--message-type", "Ask", "--timeout", "0"], "--timeout"),
        (["publish", "no topic/a", "{}", "--message-type", "Ask"], "TOPIC/SOURCE"),
        (["publish", "topic/a", "{", "--message-type", "Ask"], "not JSON"),
        (["peers", "--wait", "-1"], "--wait"),
        (["peers", "--key", "secret"], "--key"),
    ],
)
def test_wrong_argument_is_told_and_ends_with_2(arguments: list[str], said: str) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    "environment",
    [{"ZMQAGENTS_DISCOVERY": "carrier pigeon"}, {"ZMQAGENTS_WEIGHT": "heavy"}, {"ZMQAGENTS_CLUSTER_KEY": "short"}],
)
def test_wrong_setting_is_told_and_ends_with_2(environment: dict[str, str]) -> None:
    result = CliRunner().invoke(app, ["peers"], env=environment)
    assert result.exit_code == 2
    assert result.stderr.startswith("ConfigError: ")
