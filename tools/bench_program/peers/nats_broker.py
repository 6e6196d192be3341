"""NATS: request and reply, and publishing, through a nats-server process; bytes in, bytes out, nothing encoded."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from pathlib import Path

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from .base import LOCALHOST, Adapter, Address, Caller, Server, Side, free_port

_ECHO, _NEWS = "echo", "news"
_EVENT_SIZE = 64  # of which the first are the id: a header would cost nats-py more than the message
_CALL_TIMEOUT_S = 30.0
_START_TIMEOUT_S = 10.0


class NatsHost(Side):
    """The broker: Debian's nats-server, with room for a message of 1 MiB."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="bench-nats-"))
        settings = self._folder / "nats.conf"
        settings.write_text(f"listen: {LOCALHOST}:{port}\nmax_payload: 8MB\n")
        self._process = await asyncio.create_subprocess_exec("nats-server", "-c", str(settings), "-l", "/dev/null")
        until_s = asyncio.get_running_loop().time() + _START_TIMEOUT_S
        while True:
            try:
                _, writer = await asyncio.open_connection(LOCALHOST, port)
            except OSError:
                if asyncio.get_running_loop().time() > until_s or self._process.returncode is not None:
                    raise
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return {**address, "broker": f"nats://{LOCALHOST}:{port}"}

    async def stop(self) -> None:
        """See Side."""
        if self._process.returncode is None:
            self._process.terminate()
        await self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


async def _connect(address: Address) -> Client:
    return await nats.connect(address["broker"], allow_reconnect=False)


class NatsServer(Server):
    """Echoes, and receives events."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._client = await _connect(address)
        if self.index == 0:
            await self._client.subscribe(_ECHO, cb=self._on_ask)
        await self._client.subscribe(_NEWS, cb=self._on_news)
        await self._client.flush()
        return address

    @staticmethod
    async def _on_ask(message: Msg) -> None:
        await message.respond(message.data)

    async def _on_news(self, message: Msg) -> None:
        self.inbox.add(message.data.decode().rstrip())

    async def stop(self) -> None:
        """See Side."""
        await self._client.close()


class NatsCaller(Caller):
    """Calls, and publishes."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._client = await _connect(address)
        return address

    async def stop(self) -> None:
        """See Side."""
        await self._client.close()

    def prepare(self, text: str) -> bytes:
        """See Caller."""
        return text.encode()

    async def call(self, prepared: bytes) -> Msg:
        """See Caller."""
        return await self._client.request(_ECHO, prepared, timeout=_CALL_TIMEOUT_S)

    def text_of(self, answer: Msg) -> str:
        """See Caller."""
        return str(answer.data, "utf-8")

    async def publish(self, message_id: str) -> None:
        """See Caller."""
        await self._client.publish(_NEWS, message_id.ljust(_EVENT_SIZE).encode())


ADAPTER = Adapter(NatsCaller, NatsServer, NatsHost)
