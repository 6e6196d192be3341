"""Starting, asking and ending the bench's processes; whatever happens, none is left.

A process ends when its standard input does. That covers every way in which the conductor can end, SIGKILL included.
What a process starts itself it ends itself; if it fails to, its session is killed as a whole.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from .wire import MAX_LINE_BYTES, BenchError, Json, line, parse

ROOT = Path(__file__).resolve().parents[2]

# Leaving a cluster takes milliseconds; AutoGen's gRPC host gives its connections a few seconds.
LEAVE_TIMEOUT_S = 8.0

# Imports of forty processes that start together on two cores take half a minute.
ANSWER_TIMEOUT_S = 120.0

# As much of the error output as helps to see why a process ended.
STDERR_LINES = 30


class Worker:
    """One process of the bench."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.pid = process.pid
        self._process = process
        self._stderr: deque[str] = deque(maxlen=STDERR_LINES)
        self._answers: asyncio.Queue[Json | None] = asyncio.Queue()
        self._reader = asyncio.create_task(self._read())
        self._turn = asyncio.Lock()

    async def ask(self, command: str, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: Any) -> Any:
        """The answer to a command. Raises BenchError if there is none or it is an error."""
        async with self._turn:
            self._write(line({"do": command, **arguments}))
            return await self.answer(command, timeout_s)

    async def ready(self) -> Worker:
        """Return once its imports are done."""
        async with self._turn:
            await self.answer("imports")
        return self

    async def answer(self, command: str, timeout_s: float = ANSWER_TIMEOUT_S) -> Any:
        """The next thing that it says, which is the answer to ``command``. Raises BenchError as ``ask`` does."""
        coming = asyncio.ensure_future(self._answers.get())
        try:  # before Python 3.12, asyncio.wait_for loses a cancellation that comes together with the answer
            await asyncio.wait({coming}, timeout=timeout_s)
            if not coming.done():
                raise BenchError(f"{self.name} did not answer {command!r} within {timeout_s:g} s{self._said()}")
            answer = coming.result()
        finally:
            coming.cancel()
        if answer is None:
            self._answers.put_nowait(None)
            await asyncio.wait({self._reader}, timeout=1.0)  # its last words and its status follow
            raise BenchError(f"{self.name} ended with status {self.status} during {command!r}{self._said()}")
        if "error" in answer:
            raise BenchError(f"{self.name} failed in {command!r}: {answer['error']}{self._said()}")
        return answer.get("value")

    def _write(self, text: bytes) -> None:
        if self._process.stdin is not None and not self._process.stdin.is_closing():
            self._process.stdin.write(text)

    def _said(self) -> str:
        said = "".join(f"\n    {text}" for text in self._stderr)
        return f"; its last words:{said}" if said else ""

    async def end(self) -> None:
        """Ask it to leave, kill it if it doesn't, and return when nothing of its session is left. Idempotent."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        await asyncio.wait({self._reader}, timeout=LEAVE_TIMEOUT_S)
        self.kill()
        await self._reader

    def kill(self) -> None:
        """Kill what is left of it and of what it started: whatever still holds its output."""
        if not self._reader.done():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)

    @property
    def status(self) -> int | None:
        """How it ended; None while it runs."""
        return self._process.returncode

    async def _read(self) -> None:
        await asyncio.gather(self._read_answers(), self._read_stderr())
        await self._process.wait()

    async def _read_answers(self) -> None:
        """Until the process itself has ended: nothing that it starts gets its standard output."""
        if self._process.stdout is not None:
            async for text in self._process.stdout:
                try:
                    self._answers.put_nowait(parse(text))
                except BenchError as error:
                    self._answers.put_nowait({"error": str(error)})
        self._answers.put_nowait(None)

    async def _read_stderr(self) -> None:
        if self._process.stderr is not None:
            async for text in self._process.stderr:
                self._stderr.append(text.decode(errors="replace").rstrip())


class Workers:
    """Starts processes, and ends those that still run when its block is left. Use ``running`` to make it."""

    def __init__(self) -> None:
        self._workers: list[Worker] = []
        self.left_badly: list[str] = []
        """Those that had to be killed or failed while they left."""

    async def start(self, name: str, arguments: Sequence[str]) -> Worker:
        """Start Python with ``arguments``; its imports go on when this returns (``Worker.ready``).

        In a session of its own: Ctrl-C comes to the conductor alone, which then ends the others in order.
        """
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith(("ZMQAGENTS_", "COVERAGE_"))
        }
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            cwd=ROOT,
            env=environment,
            limit=MAX_LINE_BYTES,
            start_new_session=True,
        )
        worker = Worker(name, process)
        self._workers.append(worker)
        return worker

    async def end(self, workers: Sequence[Worker]) -> None:
        """End these, at once."""
        await asyncio.gather(*(worker.end() for worker in workers))
        self.left_badly += [f"{worker.name} left with status {worker.status}" for worker in workers if worker.status]
        self._workers = [worker for worker in self._workers if worker not in workers]

    def kill(self) -> None:
        """Kill all of them."""
        for worker in self._workers:
            worker.kill()


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Workers]:
    """Workers that have all ended when the block is left, however it is left."""
    workers = Workers()
    try:
        yield workers
    finally:
        await workers.end(list(workers._workers))  # noqa: SLF001 - its own maker
