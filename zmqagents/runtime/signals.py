"""Waiting for SIGTERM and SIGINT."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager


@asynccontextmanager
async def signals_handled(
    signals: Sequence[signal.Signals], handle: Callable[[signal.Signals], None]
) -> AsyncIterator[None]:
    """While inside, the first of ``signals`` calls ``handle`` once; a second one has its usual effect.

    Where the loop can't handle signals (another thread than the main one, or Windows) nothing is changed.
    """
    loop = asyncio.get_running_loop()
    handled: list[signal.Signals] = []

    def restore() -> None:
        while handled:
            loop.remove_signal_handler(handled.pop())

    def on_signal(number: signal.Signals) -> None:
        restore()
        handle(number)

    try:
        for number in signals:
            loop.add_signal_handler(number, on_signal, number)
            handled.append(number)
    except (NotImplementedError, RuntimeError, ValueError):
        restore()
    try:
        yield
    finally:
        restore()
