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
from .serving import serve
from .wire import BenchError


def make_side(contender_name: str, role: str, index: int) -> Side:
    """The side that this process is. Raises BenchError if the contender has no such side."""
    contender = CONTENDERS[contender_name]
    adapter = adapter_of(contender)
    kinds: dict[str, type[Side] | None] = {"caller": adapter.caller, "server": adapter.server, "host": adapter.host}
    kind = kinds[role]
    if kind is None:
        raise BenchError(f"{contender_name} has no {role}")
    return kind(contender.options, index)


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
    run(serve(side.commands(), side.stop, answers), uvloop=bool(CONTENDERS[contender_name].options.get("uvloop")))


if __name__ == "__main__":
    start()
