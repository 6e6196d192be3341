"""Starting, hearing and ending the demo's processes; whatever happens, none is left."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import PIPE, Process
from collections import deque
from collections.abc import AsyncIterator, Sequence

import msgspec

from . import reports

# A child leaves its cluster in milliseconds and gives up after five seconds (child.py); after this one it is killed.
LEAVE_TIMEOUT_S = 8.0

# As much of a child's error output as helps to see why it ended.
STDERR_LINES = 30


class DemoError(Exception):
    """The demo did not go as it should. The text says what happened, for a reader who has no other clue."""


class Child:
    """One process of the demo."""

    def __init__(self, name: str, process: Process) -> None:
        self.name = name
        self.process = process
        self.stderr: deque[str] = deque(maxlen=STDERR_LINES)


class Children:
    """The processes of one demo. Use ``running`` to make it."""

    def __init__(self) -> None:
        self._children: list[Child] = []
        self._readers: list[asyncio.Task[None]] = []
        self._heard: asyncio.Queue[tuple[str, reports.AnyReport] | DemoError] = asyncio.Queue()
        self._ending = False

    async def start(self, name: str, command: Sequence[str]) -> int:
        """Start ``command``, which must end when its standard input does, and return its process id.

        In a session of its own: Ctrl-C comes to the conductor alone, which then ends the children in order.
        """
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=PIPE, start_new_session=True
        )
        child = Child(name, process)
        self._children.append(child)
        self._readers.append(asyncio.create_task(self._read(child)))
        return process.pid

    async def next_report(self) -> tuple[str, reports.AnyReport]:
        """The next report and the name of its process. Raises DemoError if a process ended before it was asked to."""
        heard = await self._heard.get()
        if isinstance(heard, DemoError):
            raise heard
        return heard

    async def end(self) -> None:
        """Ask all to leave by closing their input, and kill those that don't. Raises DemoError if one left badly."""
        self._ending = True
        for child in self._children:
            if child.process.stdin is not None:
                child.process.stdin.close()
        if self._readers:
            await asyncio.wait(self._readers, timeout=LEAVE_TIMEOUT_S)
        killed = self.kill()
        await asyncio.gather(*self._readers)
        if killed:
            raise DemoError(f"{', '.join(killed)} did not leave within {LEAVE_TIMEOUT_S:.0f} s and had to be killed")
        for child in self._children:
            if child.process.returncode:
                raise _ended_badly(child)

    def kill(self) -> list[str]:
        """Kill those that still run and return their names."""
        running = [child for child in self._children if child.process.returncode is None]
        for child in running:
            with contextlib.suppress(ProcessLookupError):  # it ended since
                child.process.kill()
        return [child.name for child in running]

    async def _read(self, child: Child) -> None:
        """Hear ``child`` until it has ended."""
        await asyncio.gather(self._read_reports(child), _read_stderr(child))
        await child.process.wait()
        if not self._ending:
            self._heard.put_nowait(_ended_badly(child))

    async def _read_reports(self, child: Child) -> None:
        async for line in _lines(child.process.stdout):
            try:
                report = reports.parse(line)
            except msgspec.DecodeError as error:
                self._heard.put_nowait(DemoError(f"{child.name} wrote something that is no report ({error}): {line!r}"))
            else:
                self._heard.put_nowait((child.name, report))


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Children]:
    """Children that have all ended when the block is left, however it is left."""
    children = Children()
    try:
        yield children
    except BaseException:
        # What ended the block matters more than how the children then left; they have ended in either case.
        with contextlib.suppress(DemoError):
            await children.end()
        raise
    await children.end()


async def _lines(stream: asyncio.StreamReader | None) -> AsyncIterator[bytes]:
    if stream is not None:
        async for line in stream:
            yield line


async def _read_stderr(child: Child) -> None:
    async for line in _lines(child.process.stderr):
        child.stderr.append(line.decode(errors="replace").rstrip())


def _ended_badly(child: Child) -> DemoError:
    said = "".join(f"\n    {line}" for line in child.stderr) or " nothing"
    return DemoError(f"{child.name} ended with status {child.process.returncode}; its last words:{said}")
