"""Throws random bytes at some ports, over many connections at a time, of which each is made anew when it is ended."""

from __future__ import annotations

import asyncio
import contextlib
import random
import resource

from tests.integration.programs.reporting import SETTINGS, Commands, report

_GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0"
"""As ZMTP 3.0 begins; the mechanism follows."""
_STAYS_S = 3.0
_PAUSE_S = 0.05
_SIZE_BYTES = 2_000


class Flood:
    """Connections to these ports until the time is up."""

    def __init__(self, ports: list[int], mechanism: str, until_s: float) -> None:
        self._ports = ports
        self._greeting = (_GREETING + mechanism.encode()).ljust(64, b"\0")
        self._until_s = until_s
        self._loop = asyncio.get_running_loop()
        self.opened = 0
        self.most = 0
        """How many were open at a time."""
        self._open = 0

    async def keep_throwing(self, number: int) -> None:
        """One connection after the other, each with a part of a greeting, or none, and random bytes."""
        source = random.Random(number)
        while self._loop.time() < self._until_s:
            garbage = self._greeting[: source.choice([0, 0, 10, 64])] + source.randbytes(_SIZE_BYTES)
            with contextlib.suppress(OSError):  # it was turned away
                await self._throw(self._ports[number % len(self._ports)], garbage)
            await asyncio.sleep(_PAUSE_S)

    async def _throw(self, port: int, garbage: bytes) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.opened += 1
        self._open += 1
        self.most = max(self.most, self._open)
        try:
            writer.write(garbage)
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(reader.read(), max(0.0, min(_STAYS_S, self._until_s - self._loop.time())))
        finally:
            self._open -= 1
            writer.close()


async def main() -> None:
    commands = Commands()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    until_s = asyncio.get_running_loop().time() + SETTINGS["seconds"]
    flood = Flood(SETTINGS["ports"], SETTINGS["mechanism"], until_s)
    await asyncio.gather(*(flood.keep_throwing(number) for number in range(SETTINGS["connections"])))
    report("thrown", opened=flood.opened, most=flood.most)
    await commands.next()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
