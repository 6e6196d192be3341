"""Lines between two processes of one machine that can be slow, and break."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

CHUNK_BYTES = 16_384


class Line:
    """Passes on what comes for ``port`` on 127.0.0.1 to ``target``, and back; at a pace, if there is one."""

    def __init__(self, bytes_per_s: float | None = None) -> None:
        self.target = 0
        self.port = 0
        self._bytes_per_s = bytes_per_s
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self.cut()
            await self._server.wait_closed()

    def cut(self) -> int:
        """Break the connections that there are, and return how many; new ones can be made."""
        writers, self._writers = self._writers, set()
        for writer in writers:
            writer.transport.abort()
        return len(writers) // 2

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        both = {writer, back}
        self._writers |= both
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        self._writers -= both

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
                if self._bytes_per_s is not None:
                    await asyncio.sleep(len(data) / self._bytes_per_s)  # the pace of the line
        except ConnectionError:
            pass  # an end has closed it: so does the line
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def new_line(bytes_per_s: float | None = None) -> AsyncIterator[Line]:
    """A line that ends with the block."""
    line = Line(bytes_per_s)
    await line.open()
    try:
        yield line
    finally:
        await line.close()
