"""Agents that tell what has happened to them: how often, where, and in which order. Their processes get hurt."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from autogen_core import MessageContext, RoutedAgent, message_handler

from tests.integration.fault_messages import Add, Added
from tests.integration.messages import Number, Text
from tests.integration.programs.reporting import report
from zmqagents import idempotent


class Tally(RoutedAgent):
    """Counts the calls that it gets, and takes its count along when it moves."""

    executed: ClassVar[list[tuple[str, int]]] = []
    """Key and number of every call, of all tallies of this process."""

    def __init__(self) -> None:
        super().__init__("a tally")
        self.total = 0

    @message_handler
    async def on_add(self, message: Add, ctx: MessageContext) -> Added:
        self.total += 1
        self.executed.append((self.id.key, message.number))
        return Added(os.getpid(), self.total)

    async def save_state(self) -> Mapping[str, Any]:
        return {"total": self.total}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.total = state["total"]


class Spinner(RoutedAgent):
    """Holds the event loop of its process, in pure Python, for as many milliseconds as it is told."""

    def __init__(self) -> None:
        super().__init__("a spinner")

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Number:
        report("spinning")
        until = time.monotonic() + message.value / 1_000
        turns = 0
        while time.monotonic() < until:
            turns += 1
        return Number(os.getpid())


class Sleeper(RoutedAgent):
    """Sleeps as many milliseconds as it is told; reports how its handler begins and ends, and its token."""

    def __init__(self) -> None:
        super().__init__("a sleeper")

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Number:
        ctx.cancellation_token.add_callback(lambda: report("told to stop"))
        report("handling")
        try:
            await asyncio.sleep(message.value / 1_000)
        except asyncio.CancelledError:
            report("cancelled")
            raise
        return Number(os.getpid())


class Repeatable(RoutedAgent):
    """Sleeps as many milliseconds as it is told; the call may be made again elsewhere if this process is lost."""

    def __init__(self) -> None:
        super().__init__("does no harm twice")

    @idempotent
    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Number:
        report("handling", key=self.id.key)
        await asyncio.sleep(message.value / 1_000)
        return Number(os.getpid())


class Listener(RoutedAgent):
    """Keeps the events that reach it; ``heard`` is what all of its process have kept, as agent and text."""

    heard: ClassVar[list[tuple[str, str]]] = []

    def __init__(self) -> None:
        super().__init__("a listener")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        self.keep(message.content)

    def keep(self, text: str) -> None:
        self.heard.append((str(self.id), text))


class Reporter(Listener):
    """The same, and tells the test at once, so that it is known even of a process that is killed."""

    def keep(self, text: str) -> None:
        report("event", agent=str(self.id), text=text)


class Counter(Listener):
    """Keeps no more of an event than its first 8 characters, so that events may be large and many."""

    def keep(self, text: str) -> None:
        super().keep(text[:8])


KINDS: dict[str, type[RoutedAgent]] = {
    cls.__name__.lower(): cls for cls in (Tally, Spinner, Sleeper, Repeatable, Listener, Reporter, Counter)
}
