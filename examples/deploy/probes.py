"""Answers the HTTP probes of whatever runs the container, from the same event loop as the agents.

That is what makes the answers worth something: a thread of its own would go on saying "ok" while the loop hangs.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType

from typing_extensions import Self

REQUEST_S = 2.0  # a probe sends its request at once
REQUEST_BYTES = 4096

# What others do than to ask: they hang up, say nothing, or too much. There is nobody to answer then.
NOT_ASKING = (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError)


class Probes:
    """``GET /healthz`` is 200 while the event loop turns; ``GET /readyz`` is 200 while ``ready``, and 503 otherwise."""

    def __init__(self, address: str) -> None:
        """``address`` is ``HOST:PORT``."""
        self.ready = False
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, self._host, self._port, limit=REQUEST_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(*NOT_ASKING):
            asked = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_S)
            good = asked.startswith(b"GET /healthz ") or (asked.startswith(b"GET /readyz ") and self.ready)
            status = b"200 OK" if good else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
