"""The work that every contender does, and how it is timed: the same loops for all, in the process that calls."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

from .wire import BenchError, Json

Call = Callable[[Any], Awaitable[Any]]

# A call that takes this long hangs: the slowest contender needs a millisecond, a 1 MiB echo some 30.
CALL_TIMEOUT_S = 30.0


def payload(size: int) -> str:
    """Text of that many characters; letters and digits, so that no encoding has anything to escape."""
    return ("0123456789abcdefghijklmnopqrstuvwxyz" * (size // 36 + 1))[:size]


async def concurrent(call: Call, prepared: Any, in_flight: int, seconds: float) -> Json:
    """Make calls, ``in_flight`` at a time, until ``seconds`` have passed; each one that began is counted."""
    clock = time.perf_counter
    begun_s = clock()
    until_s = begun_s + seconds
    calls = 0

    async def caller() -> None:
        nonlocal calls
        while clock() < until_s:
            await call(prepared)
            calls += 1

    try:
        await asyncio.wait_for(asyncio.gather(*(caller() for _ in range(in_flight))), seconds + CALL_TIMEOUT_S)
    except asyncio.TimeoutError:
        raise BenchError(f"calls hang: {calls} were answered, and then none for {CALL_TIMEOUT_S:g} s") from None
    return {"calls": calls, "seconds": clock() - begun_s}


async def sequential(call: Call, prepared: Any, seconds: float) -> Json:
    """Make one call after the other; the times of all of them, as quantiles in microseconds."""
    clock = time.perf_counter_ns
    until_ns = clock() + int(seconds * 1e9)
    took_ns: list[int] = []
    while True:
        begun_ns = clock()
        if begun_ns >= until_ns and took_ns:
            break
        await asyncio.wait_for(call(prepared), CALL_TIMEOUT_S) if not took_ns else await call(prepared)
        took_ns.append(clock() - begun_ns)
    took_ns.sort()
    return {"calls": len(took_ns), "p50_us": quantile(took_ns, 0.5) / 1e3, "p99_us": quantile(took_ns, 0.99) / 1e3}


def quantile(ordered: list[int], share: float) -> int:
    """The smallest of the values that at least this share of them doesn't exceed (nearest rank)."""
    return ordered[max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)]


class Inbox:
    """The events that one process has received, by their ids."""

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._last_s = 0.0

    def add(self, message_id: str) -> None:
        """An event has been received."""
        self._ids.append(message_id)
        self._last_s = time.monotonic()

    async def received(self, first: int, count: int, within_s: float) -> Json:
        """Wait for the events ``first`` to ``first + count - 1``: what is missing or came twice, when the last came.

        The clock is the monotonic one, which all processes of a Linux machine share. It looks now and then, because
        being woken for each message would be measured, too.
        """
        until_s = time.monotonic() + within_s
        while len(self._ids) < count and time.monotonic() < until_s:  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.002)
        ids, self._ids = self._ids, []
        expected = {str(number) for number in range(first, first + count)}
        distinct = set(ids) & expected
        return {
            "received": len(distinct),
            "lost": count - len(distinct),
            "repeated": len(ids) - len(set(ids)),
            "strange": len(set(ids) - expected),
            "last_s": self._last_s,
        }


async def publish(send: Callable[[str], Awaitable[None]], first: int, count: int, in_flight: int) -> Json:
    """Publish the events ``first`` to ``first + count - 1`` by so many tasks; when it began, by the monotonic clock."""
    numbers = iter(range(first, first + count))
    begun_s = time.monotonic()

    async def publisher() -> None:
        for number in numbers:
            await send(str(number))

    await asyncio.gather(*(publisher() for _ in range(in_flight)))
    return {"begun_s": begun_s}
