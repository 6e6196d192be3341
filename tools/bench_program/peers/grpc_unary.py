"""grpc.aio, one unary call each: bytes in, bytes out, nothing encoded."""

from __future__ import annotations

from typing import Any

import grpc

from .base import LOCALHOST, Adapter, Address, Caller, Server

_SERVICE, _METHOD = "bench.Echo", "Echo"
_ANY_SIZE = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


async def _echo(request: bytes, _context: Any) -> bytes:
    return request


class GrpcServer(Server):
    """Echoes."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._server = grpc.aio.server(options=_ANY_SIZE)
        handlers = {_METHOD: grpc.unary_unary_rpc_method_handler(_echo)}
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE, handlers),))
        port = self._server.add_insecure_port(f"{LOCALHOST}:0")
        await self._server.start()
        return {**address, "server": f"{LOCALHOST}:{port}"}

    async def stop(self) -> None:
        """See Side."""
        await self._server.stop(grace=None)


class GrpcCaller(Caller):
    """Calls."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._channel = grpc.aio.insecure_channel(address["server"], options=_ANY_SIZE)
        self._echo = self._channel.unary_unary(f"/{_SERVICE}/{_METHOD}")
        return address

    async def stop(self) -> None:
        """See Side."""
        await self._channel.close()

    def prepare(self, text: str) -> bytes:
        """See Caller."""
        return text.encode()

    async def call(self, prepared: bytes) -> Any:
        """See Caller."""
        return await self._echo(prepared)

    def text_of(self, answer: bytes) -> str:
        """See Caller."""
        return answer.decode()


ADAPTER = Adapter(GrpcCaller, GrpcServer)
