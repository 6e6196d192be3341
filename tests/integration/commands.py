"""Runs ``zmqagents`` as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from tests.integration.processes import DEADLINE_S, ROOT


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    status: int
    stdout: str
    stderr: str

    @property
    def document(self) -> Any:
        """The JSON document that is all of the standard output."""
        return json.loads(self.stdout)


@contextlib.asynccontextmanager
async def command(*arguments: str, **environment: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """The command while it runs; killed if it still does when the block is left."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ZMQAGENTS_")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "zmqagents.cli",
        *arguments,
        cwd=ROOT,
        env={**inherited, "COLUMNS": "200", **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def ended(process: asyncio.subprocess.Process, text: str = "") -> Ended:
    """How it ends, given a text on its standard input. TimeoutError if it goes on."""
    stdout, stderr = await asyncio.wait_for(process.communicate(text.encode()), DEADLINE_S)
    assert process.returncode is not None
    return Ended(process.returncode, stdout.decode(), stderr.decode())


async def run(*arguments: str, text: str = "", **environment: str) -> Ended:
    """Run the command to its end."""
    async with command(*arguments, **environment) as process:
        return await ended(process, text)
