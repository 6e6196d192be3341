"""Runs a command in an event loop, and turns how it ended into an exit status.

0 done; 1 it failed, and the standard error says with what; 2 a setting or an argument is wrong; 130 interrupted
(143 by SIGTERM), after the cluster was left in order.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import typer

from zmqagents.cli.output import print_json, print_note
from zmqagents.errors import ConfigError, RemoteCallError
from zmqagents.runtime.failures import RemoteTraceback
from zmqagents.runtime.runtime import EXIT_SIGNALS
from zmqagents.runtime.signals import signals_handled

FAILED, WRONG_USE = 1, 2
SIGNALLED = 128  # and the number of the signal, as shells have it


class CommandError(Exception):
    """The command could not do what was asked; the text says why."""


class Hinted(Exception):  # noqa: N818 - no error of its own: carries one, which is its cause
    """Another exception, which is the ``cause``, and what may help."""

    def __init__(self, cause: BaseException, hint: str) -> None:
        super().__init__(hint)
        self.cause = cause
        self.hint = hint


def run(work: Callable[[], Coroutine[Any, Any, None]], *, as_json: bool, verbose: bool) -> None:
    """Run ``work`` to its end. Raises typer.Exit if that is not a good one."""
    if verbose:
        logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
        logging.getLogger("zmqagents").setLevel(logging.INFO)
    caught: list[signal.Signals] = []
    try:
        asyncio.run(_ended_by_signals(work, caught))
    except typer.Exit:
        raise
    except (Exception, asyncio.CancelledError, KeyboardInterrupt) as error:  # noqa: BLE001 - remote handlers raise anything
        if not caught and not isinstance(error, KeyboardInterrupt):
            raise typer.Exit(report(error, as_json=as_json, verbose=verbose)) from None
        print_note("interrupted")
        raise typer.Exit(SIGNALLED + (caught[0] if caught else signal.SIGINT)) from None


async def _ended_by_signals(work: Callable[[], Coroutine[Any, Any, None]], caught: list[signal.Signals]) -> None:
    """``work``, cancelled by the first signal, and by that alone: what it started goes on until it has left."""
    task = asyncio.current_task()

    def stop(number: signal.Signals) -> None:
        caught.append(number)
        if task is not None:
            task.cancel()

    async with signals_handled(EXIT_SIGNALS, stop):
        await work()


def report(error: BaseException, *, as_json: bool, verbose: bool) -> int:
    """Tell what went wrong; the exit status that stands for it."""
    hint = error.hint if isinstance(error, Hinted) else ""
    cause = error.cause if isinstance(error, Hinted) else error
    trace = _remote_traceback(cause)
    text = str(cause)
    name = type(cause).__name__
    print_note((f"{name}: {text}" if text else name) if not isinstance(cause, CommandError) else text)
    if hint:
        print_note(hint)
    if trace and verbose:
        print_note(trace)
    elif trace:
        print_note("(the remote traceback: --verbose)")
    if as_json:
        told = {"class": name, "text": text, "remote_traceback": trace}
        print_json({"error": {**told, "hint": hint} if hint else told})
    return WRONG_USE if isinstance(cause, ConfigError) else FAILED


def _remote_traceback(error: BaseException) -> str | None:
    if isinstance(error, RemoteCallError):
        return error.remote_traceback
    return str(error.__cause__).strip() if isinstance(error.__cause__, RemoteTraceback) else None
