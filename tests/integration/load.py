"""Calls at a steady rate, from the test's own process, to agents that count them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from tests.integration.agents import agent
from tests.integration.fault_messages import Add, Added
from zmqagents import PeerLost, ZmqAgentRuntime

RETRIED_FOR_S = 5.0
BURSTS_A_SECOND = 50  # an event loop's sleep is no finer under load


class Load:
    """What was called while it was on, and what became of it."""

    def __init__(self, runtime: ZmqAgentRuntime, keys: Sequence[str], *, retrying: bool = False) -> None:
        self._runtime = runtime
        self._keys = keys
        self._retrying = retrying
        self._calls: set[asyncio.Task[None]] = set()
        self.sent = 0
        self.answered: Counter[str] = Counter()
        """Calls by key."""
        self.highest: dict[str, int] = {}
        """The greatest count that the tally of a key has answered with."""
        self.places: dict[str, set[int]] = {key: set() for key in keys}
        """The processes that have answered, by key."""
        self.failures: list[BaseException] = []
        self.slowest_s = 0.0

    @contextlib.asynccontextmanager
    async def on(self, calls_a_second: int, deadline_s: float = 10.0) -> AsyncIterator[Load]:
        """Calls go out while the block runs, answered or not; when it is left every call has ended."""
        calling = asyncio.create_task(self._keep_calling(calls_a_second))
        try:
            yield self
        finally:
            calling.cancel()
            if self._calls:
                _, unended = await asyncio.wait(self._calls, timeout=deadline_s)
                for call in unended:
                    call.cancel()
                self.failures += [TimeoutError(f"no outcome {deadline_s:g} s after the load") for _ in unended]

    async def _keep_calling(self, calls_a_second: int) -> None:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        while True:
            due = int((loop.time() - began_s) * calls_a_second)
            while self.sent < due:
                call = asyncio.create_task(self.call(self._keys[self.sent % len(self._keys)], self.sent))
                self._calls.add(call)
                call.add_done_callback(self._calls.discard)
                self.sent += 1
            await asyncio.sleep(1 / BURSTS_A_SECOND)

    async def call(self, key: str, number: int) -> None:
        """One call, which is made again while its target is lost if we are ``retrying``."""
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        added: Added | None = None
        while added is None:
            try:
                added = await self._runtime.send_message(Add(number), agent("tally", key))
            except Exception as error:  # noqa: BLE001 - the test asks which
                again = isinstance(error, PeerLost) and self._retrying and loop.time() - began_s < RETRIED_FOR_S
                if not again:
                    self.failures.append(error)
                    return
        self.slowest_s = max(self.slowest_s, loop.time() - began_s)
        self.answered[key] += 1
        self.highest[key] = max(self.highest.get(key, 0), added.total)
        self.places[key].add(added.pid)


async def places(runtime: ZmqAgentRuntime, keys: Sequence[str]) -> dict[str, int]:
    """The process in which the tally of each key is, by its own word."""
    answers = await asyncio.gather(*(runtime.send_message(Add(-1), agent("tally", key)) for key in keys))
    return {key: answer.pid for key, answer in zip(keys, answers, strict=True)}
