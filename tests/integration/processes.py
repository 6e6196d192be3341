"""Python programs that a test starts as processes of their own, and that are gone when it ends, however it ends.

A program is a module of ``tests.integration.programs``. It reports by lines of JSON on its standard output, takes
commands the same way on its standard input, and ends when that is closed, so nothing outlives even a killed pytest.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

ROOT = Path(__file__).resolve().parents[2]

# Far beyond what any step takes on a busy machine: reaching it is a failure, not a measurement.
DEADLINE_S = 15.0

Report: TypeAlias = dict[str, Any]


class Program:
    """One process and what it has reported."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._reports: list[Report] = []
        self._stderr: deque[str] = deque(maxlen=100)
        self._changed = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def report(self, what: str, deadline_s: float = DEADLINE_S) -> Report:
        """The oldest report of that kind which was not asked for yet. AssertionError if none comes."""
        return (await self.all_reports(what, 1, deadline_s))[0]

    async def all_reports(self, what: str, count: int, deadline_s: float = DEADLINE_S) -> list[Report]:
        """The ``count`` oldest reports of that kind which were not asked for yet. AssertionError if fewer come."""

        async def collected() -> list[Report]:
            while True:
                found = [report for report in self._reports if report["what"] == what][:count]
                if len(found) == count:
                    self._reports = [report for report in self._reports if report not in found]
                    return found
                if self._reader.done():
                    raise AssertionError(f"{self} ended before it reported {what!r}{self._so_far()}")
                self._changed.clear()
                await self._changed.wait()

        try:
            return await asyncio.wait_for(collected(), deadline_s)
        except asyncio.TimeoutError:
            raise AssertionError(f"{self} did not report {what!r} within {deadline_s:g} s{self._so_far()}") from None

    async def tell(self, command: str, **arguments: Any) -> None:
        """Send a command."""
        stdin = self._process.stdin
        assert stdin is not None
        stdin.write(json.dumps({"do": command, **arguments}).encode() + b"\n")
        await stdin.drain()

    async def ask(self, command: str, **arguments: Any) -> Any:
        """Send a command, and return the ``value`` of the report that has its name."""
        await self.tell(command, **arguments)
        return (await self.report(command))["value"]

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def exit_code(self, deadline_s: float = DEADLINE_S) -> int:
        """How it ended. AssertionError if it goes on."""
        try:
            await asyncio.wait_for(asyncio.shield(self._reader), deadline_s)
        except asyncio.TimeoutError:
            raise AssertionError(f"{self} still runs after {deadline_s:g} s{self._so_far()}") from None
        return await self._process.wait()

    async def stop(self) -> None:
        """SIGTERM, after which it has to end with 0."""
        self.signal(signal.SIGTERM)
        code = await self.exit_code()
        assert code == 0, f"{self} ended with {code}{self._so_far()}"

    async def log(self, text: str, deadline_s: float = DEADLINE_S) -> None:
        """Return once that text stands on its standard error. AssertionError if it doesn't come."""
        loop = asyncio.get_running_loop()
        until = loop.time() + deadline_s
        while text not in self.stderr:
            assert loop.time() < until, f"{self} did not write {text!r}{self._so_far()}"
            await asyncio.sleep(0.005)

    @property
    def stderr(self) -> str:
        """What it has written to its standard error, the end of it."""
        return "".join(self._stderr)

    def __str__(self) -> str:
        return f"program {self.name} ({self.pid})"

    def _so_far(self) -> str:
        return f"\nreports: {self._reports}\nstderr:\n{self.stderr}"

    async def end(self) -> None:
        """Kill it if it runs, and wait until nothing of it is left."""
        self.kill()
        await self._reader
        await self._process.wait()
        if self._process.stdin is not None:
            self._process.stdin.close()

    async def _read(self) -> None:
        await asyncio.gather(self._read_reports(), self._read_stderr())
        await self._process.wait()
        self._changed.set()

    async def _read_reports(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self._reports.append(json.loads(line))
            self._changed.set()

    async def _read_stderr(self) -> None:
        assert self._process.stderr is not None
        async for line in self._process.stderr:
            self._stderr.append(line.decode(errors="replace"))


Launch: TypeAlias = Callable[..., Awaitable[Program]]
"""Starts ``tests.integration.programs.NAME`` with a JSON object of settings, given as keywords.

``prefix`` is a command, such as ``ip netns exec``, that runs the program in its own place.
"""


@contextlib.asynccontextmanager
async def programs() -> AsyncIterator[Launch]:
    """A ``Launch``, whose programs have all ended when the block is left."""
    started: list[Program] = []

    async def launch(name: str, /, *, prefix: Sequence[str] = (), **settings: Any) -> Program:
        process = await asyncio.create_subprocess_exec(
            *prefix,
            sys.executable,
            "-m",
            f"tests.integration.programs.{name}",
            json.dumps(settings),
            cwd=ROOT,
            env={key: value for key, value in os.environ.items() if not key.startswith(("ZMQAGENTS_", "COVERAGE_"))},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            limit=1 << 22,
        )
        started.append(Program(name, process))
        return started[-1]

    try:
        yield launch
    finally:
        await asyncio.gather(*(program.end() for program in started))
