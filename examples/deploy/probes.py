"""Answers the HTTP probes of whatever runs the container, from the same event loop as the agents.

That is what makes the answers worth something: a thread of its own would go on saying "ok" while the loop hangs.
"""

from __future__ import annotations

import asyncio
from types import TracebackType

REQUEST_S = 2.0  # a probe sends its request at once
REQUEST_BYTES = 4096


class Probes:
    """``GET /healthz`` is 200 while the event loop turns; ``GET /readyz`` is 200 while ``ready``, and 503 otherwise."""

    def __init__(self, address: str) -> None:
        """``address`` is ``HOST:PORT``."""
        self.ready = False
        self._host, _, port = address.rpartition(":")
        self._port = int(port)
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Probes:
        self._server = await asyncio.start_server(self._answer, self._host, self._port, limit=REQUEST_BYTES)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), REQUEST_S)
            path = head.split(b" ", 2)[1]
            good = path == b"/healthz" or (path == b"/readyz" and self.ready)
            status = b"200 OK" if good else b"503 Service Unavailable"
            writer.write(b"HTTP/1.1 " + status + b"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            await writer.drain()
        except (OSError, EOFError, IndexError, asyncio.TimeoutError, asyncio.LimitOverrunError):
            pass  # no probe, or one that has hung up: there is nobody to answer
        finally:
            writer.close()
