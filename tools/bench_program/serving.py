"""What every process of the bench does: answer the conductor's commands in turn, until its standard input ends.

Imports little, because the memory of processes that use it is measured.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

from .wire import MAX_LINE_BYTES, Json, line, parse

Command: TypeAlias = Callable[..., Awaitable[Any]]

# Who can't leave within this is ended by the conductor; the process should say so itself before.
STOP_TIMEOUT_S = 6.0


async def serve(commands: Mapping[str, Command], stop: Callable[[], Awaitable[None]], answers: int) -> None:
    """Answer on the file descriptor ``answers``; the end of the input ends the command that is under way, too.

    ``stop`` is awaited at the end if there was a command called ``start``.
    """
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    lines: asyncio.Queue[bytes] = asyncio.Queue()
    started = asyncio.Event()
    working = asyncio.create_task(_work(commands, lines, started, answers))
    reading = asyncio.create_task(_read(reader, lines))
    try:
        await asyncio.wait({working, reading}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        pipe.close()
        reading.cancel()
        while not working.done():  # before Python 3.12, asyncio.wait_for could lose a cancellation
            working.cancel()
            await asyncio.wait({working}, timeout=0.1)
        if started.is_set():
            await asyncio.wait_for(stop(), STOP_TIMEOUT_S)
    if not working.cancelled():
        working.result()


async def _read(reader: asyncio.StreamReader, lines: asyncio.Queue[bytes]) -> None:
    while text := await reader.readline():
        lines.put_nowait(text)


async def _work(
    commands: Mapping[str, Command], lines: asyncio.Queue[bytes], started: asyncio.Event, answers: int
) -> None:
    """Answer commands until cancelled."""
    os.write(answers, line({"value": "ready"}))
    while True:
        command = parse(await lines.get())
        name = command.pop("do")
        if name == "start":
            started.set()
        os.write(answers, line(await _answer(commands, name, command)))


async def _answer(commands: Mapping[str, Command], name: str, arguments: Json) -> Json:
    if name not in commands:
        return {"error": f"no such command; there are {', '.join(sorted(commands))}"}
    try:
        return {"value": await commands[name](**arguments)}
    except Exception as error:  # noqa: BLE001 - whatever the peer raises is told to the conductor, which ends
        return {"error": f"{type(error).__name__}: {error}"}
