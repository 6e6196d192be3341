"""A large message over a slow line: it takes long, and arrives."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, within
from tests.integration.messages import Text
from tests.integration.test_seeds import free_port

pytestmark = pytest.mark.integration

BYTES_PER_S = 2_000_000
CHUNK_BYTES = 16_384
SIZE = 6_000_000  # three seconds on the line: far longer than the timeout of ZMTP heartbeats


class SlowLine:
    """Passes on what comes for a local port, in both directions, at the pace of a slow line."""

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", 0, limit=CHUNK_BYTES)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)
        there, back = await asyncio.open_connection("127.0.0.1", self.target)
        await asyncio.gather(self._pass(reader, back), self._pass(there, writer))

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(CHUNK_BYTES):
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(len(data) / BYTES_PER_S)  # the pace of the line
        except ConnectionError:
            pass  # an end has closed it: so does the line
        finally:
            writer.close()


@pytest_asyncio.fixture
async def line() -> AsyncIterator[SlowLine]:
    line = SlowLine()
    await line.open()
    yield line
    await line.close()


async def test_message_that_takes_seconds_on_its_line_arrives(cluster: Cluster, line: SlowLine) -> None:
    line.target = free_port()
    await cluster.host(Echo, port=line.target, advertise=f"127.0.0.1:{line.port}")
    caller = await cluster.host()
    answer = await within(caller.send_message(Text("x" * SIZE), agent("echo")), 30)
    assert len(answer.content) == SIZE
