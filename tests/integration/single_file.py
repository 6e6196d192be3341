"""The forwarder as one executable file, built at most once in a run of the tests."""

from __future__ import annotations

import atexit
import functools
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.integration.processes import ROOT
from tests.requirements import require, require_tool

BUILD_S = 240  # pip fetches some 10 MB, and PyInstaller works for 10 s to 60 s


@functools.cache
def single_file() -> Path:
    """The file. Skips the test, or fails it where nothing may be skipped, if no package index can be reached."""
    require_tool("objdump")
    folder = Path(tempfile.mkdtemp(prefix="zmqagents-forwarder-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    file = folder / "zmqagents-forwarder"
    command: list[str | Path] = [
        sys.executable,
        ROOT / "tools" / "build_forwarder",
        "--work",
        folder / "work",
        "--output",
        file,
    ]
    built = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S, check=False)
    require("pip failed" not in built.stderr, f"needs a package index: {built.stderr[-300:]}")
    assert built.returncode == 0, built.stderr
    return file
