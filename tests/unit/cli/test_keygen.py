"""``zmqagents keygen``."""

from __future__ import annotations

import configparser
import importlib
import re
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from zmqagents.cli.main import app
from zmqagents.keys import check_key

ROOT = Path(__file__).resolve().parents[3]


def test_keygen_prints_one_line_that_is_a_new_key() -> None:
    first, second = (CliRunner().invoke(app, ["keygen"]).stdout for _ in range(2))
    assert re.fullmatch(r"zak1-[A-Za-z0-9_-]{48}\n", first)
    assert check_key(first.strip(), "cluster_key") == first.strip()
    assert first != second


def test_help_of_keygen_shows_what_to_do_with_the_key() -> None:
    result = CliRunner().invoke(app, ["keygen", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "Examples" in result.stdout
    assert "ZMQAGENTS_CLUSTER_KEY_FILE" in result.stdout


def test_command_is_installed_as_zmqagents() -> None:
    metadata = configparser.ConfigParser()
    metadata.read(ROOT / "setup.cfg")
    scripts = metadata["options.entry_points"]["console_scripts"].strip().splitlines()
    installed = dict(script.split(" = ") for script in scripts)
    module, attribute = installed["zmqagents"].split(":")
    assert getattr(importlib.import_module(module), attribute) is app


def test_command_without_arguments_lists_the_commands() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "zmqagents.cli"], capture_output=True, text=True, check=False, timeout=30
    )
    assert "keygen" in run.stdout + run.stderr
