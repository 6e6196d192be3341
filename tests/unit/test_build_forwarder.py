"""tools/build_forwarder, as far as it gets without a package index. That its file works: tests/integration."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2] / "tools" / "build_forwarder"


def run(*arguments: str, cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(TOOL), *arguments]
    return subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=50, check=False)


def test_help_explains_the_tool_when_called_from_anywhere(tmp_path: Path) -> None:
    shown = run("--help", cwd=tmp_path)
    assert shown.returncode == 0
    assert "tools/build_forwarder --output /usr/local/bin/zmqagents-forwarder" in shown.stdout


def test_tool_says_which_program_is_missing_and_how_to_get_it(tmp_path: Path) -> None:
    ran = run("--work", "work", cwd=tmp_path, PATH=str(tmp_path))
    assert ran.returncode == 1
    assert "needs the program" in ran.stderr
    assert "apt-get install" in ran.stderr
    assert not list(tmp_path.iterdir())


def test_tool_shows_what_failed(tmp_path: Path) -> None:
    for name in ("ldd", "objdump", "objcopy"):
        (tmp_path / name).write_text("#!/bin/sh\n", encoding="ascii")
        (tmp_path / name).chmod(0o755)
    ran = run("--work", str(tmp_path / "work"), cwd=tmp_path, PATH=str(tmp_path), PYTHON="/bin/false")
    assert ran.returncode == 1
    assert "venv failed with 1" in ran.stderr
