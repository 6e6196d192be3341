"""What a peer's module gives the bench: its sides, each of which runs in a process of its own.

A side is made before the clock of any measurement starts, so that its imports are never part of one. It answers
commands by name, one at a time; ``Caller`` and ``Server`` have those that every peer has.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from tools.bench_program import load
from tools.bench_program.sampling import Sampler
from tools.bench_program.serving import Command
from tools.bench_program.wire import BenchError, Json

Address: TypeAlias = dict[str, Any]
"""What one side has to know to reach the other; JSON."""

LOCALHOST = "127.0.0.1"


class Side:
    """One process of a contender; ``options`` are the contender's own."""

    def __init__(self, options: Mapping[str, Any], index: int = 0) -> None:
        """``index`` is that of the server among the contender's servers: only the first answers calls."""
        self.options = options
        self.index = index

    def commands(self) -> dict[str, Command]:
        """What the conductor can ask for."""
        return {"start": self.start}

    async def start(self, address: Address) -> Address:
        """Begin; returns ``address`` completed by what the next sides have to know."""
        raise NotImplementedError

    async def stop(self) -> None:
        """End what ``start`` began. Called once, and only after it; what was never begun needs nothing."""


class Caller(Side):
    """The side that makes calls and publishes events."""

    def __init__(self, options: Mapping[str, Any], index: int = 0) -> None:
        super().__init__(options, index)
        self._sampler = Sampler()

    def commands(self) -> dict[str, Command]:
        """See Side."""
        own: dict[str, Command] = {
            "call_once": self.call_once,
            "concurrent": self.concurrent,
            "sequential": self.sequential,
            "publish": self.publish_events,
            "expect": self.expect,
        }
        return super().commands() | own | self._sampler.commands()

    def prepare(self, text: str) -> Any:
        """The message that carries ``text``, made once; encoding it is part of each call unless the peer has none."""
        return text

    async def call(self, prepared: Any) -> Any:
        """One call, answered with the same."""
        raise NotImplementedError

    def text_of(self, answer: Any) -> str:
        """What came back."""
        return str(answer)

    async def publish(self, message_id: str) -> None:
        """One event of the usual size to every server."""
        raise NotImplementedError

    async def expect(self, address: Address, servers: int) -> None:
        """Return once events reach that many servers, some of which have been started after this one."""

    async def call_once(self, size: int) -> None:
        """One call, whose answer is compared. Raises BenchError if it is another text."""
        text = load.payload(size)
        answer = self.text_of(await self.call(self.prepare(text)))
        if answer != text:
            raise BenchError(f"the echo of {text:.80} is {answer:.80}")

    async def concurrent(self, size: int, in_flight: int, seconds: float) -> Json:
        """See load.concurrent."""
        await self.call_once(size)
        return await load.concurrent(self.call, self.prepare(load.payload(size)), in_flight, seconds)

    async def sequential(self, size: int, seconds: float) -> Json:
        """See load.sequential."""
        await self.call_once(size)
        return await load.sequential(self.call, self.prepare(load.payload(size)), seconds)

    async def publish_events(self, first: int, count: int, in_flight: int) -> Json:
        """See load.publish."""
        return await load.publish(self.publish, first, count, in_flight)


class Server(Side):
    """The side that answers calls and receives events."""

    def __init__(self, options: Mapping[str, Any], index: int = 0) -> None:
        super().__init__(options, index)
        self.inbox = load.Inbox()
        self._sampler = Sampler()

    def commands(self) -> dict[str, Command]:
        """See Side."""
        return super().commands() | {"received": self.inbox.received} | self._sampler.commands()


class Adapter(NamedTuple):
    """A peer's sides; ``host`` is a broker's."""

    caller: type[Side]
    server: type[Server] | None = None
    host: type[Side] | None = None


def free_port() -> int:
    """A TCP port that is free now; for peers that can't tell which one they took."""
    with socket.socket() as probe:
        probe.bind((LOCALHOST, 0))
        port: int = probe.getsockname()[1]
        return port
