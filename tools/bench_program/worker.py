"""One process of the bench: ``python -m tools.bench_program.worker CONTENDER ROLE INDEX``.

Imports its adapter, says so, and then answers commands until its standard input ends. Whatever a library prints goes to
standard error, so that standard output has answers only.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import Any

from .contenders import CONTENDERS, adapter_of
from .peers.base import Side
from .wire import MAX_LINE_BYTES, BenchError, Json, line, parse

# A side that can't leave within this is ended by its conductor; it should say so itself before.
STOP_TIMEOUT_S = 6.0


def make_side(contender_name: str, role: str, index: int) -> Side:
    """The side that this process is. Raises BenchError if the contender has no such side."""
    contender = CONTENDERS[contender_name]
    adapter = adapter_of(contender)
    kinds: dict[str, type[Side] | None] = {"caller": adapter.caller, "server": adapter.server, "host": adapter.host}
    kind = kinds[role]
    if kind is None:
        raise BenchError(f"{contender_name} has no {role}")
    return kind(contender.options, index)


async def serve(side: Side, answers: int) -> None:
    """Answer commands until there are no more."""
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    loop = asyncio.get_running_loop()
    pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    commands = side.commands()
    begun = False
    os.write(answers, line({"value": "ready"}))
    try:
        while text := await reader.readline():
            command = parse(text)
            name = command.pop("do")
            begun = begun or name == "start"
            os.write(answers, line(await _answer(commands, name, command)))
    finally:
        pipe.close()
        if begun:
            await asyncio.wait_for(side.stop(), STOP_TIMEOUT_S)


async def _answer(commands: dict[str, Any], name: str, arguments: Json) -> Json:
    if name not in commands:
        return {"error": f"no such command; there are {', '.join(sorted(commands))}"}
    try:
        return {"value": await commands[name](**arguments)}
    except Exception as error:  # noqa: BLE001 - whatever the peer raises is told to the conductor, which ends
        return {"error": f"{type(error).__name__}: {error}"}


def run(main: Coroutine[Any, Any, None], *, uvloop: bool) -> None:
    """Run ``main`` on the event loop that the contender asks for."""
    if not uvloop:
        asyncio.run(main)
        return
    import uvloop as loops  # noqa: PLC0415 - an extra, for the contenders that ask for it

    loops.run(main)


def start() -> None:
    """Be the side that the arguments name."""
    _, contender_name, role, index = sys.argv
    answers = os.dup(1)
    os.dup2(2, 1)
    side = make_side(contender_name, role, int(index))
    run(serve(side, answers), uvloop=bool(CONTENDERS[contender_name].options.get("uvloop")))


if __name__ == "__main__":
    start()
