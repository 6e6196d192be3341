"""Bare pyzmq, ROUTER to DEALER, driven by file descriptor on asyncio: the ceiling of a design on these sockets.

**Included:** sockets, the event loop, one future for each call and the matching of answers to calls by a number.
**Not included:** acknowledgements, windows, dedup, membership, routing to agents, agents. Option ``json`` adds what a
typed message costs: a class encoded as JSON and decoded, on either side, both ways. Option ``curve`` encrypts.

As fast as one can write it plainly: a wake-up reads until nothing is left (the descriptor is edge-triggered, and any
other call on the socket may swallow its signal, so each of those is followed by a look at what is there); messages
leave at once, one by one, without batching; frames are copied where they are small, which is cheaper, and are not where
they are large, unless option ``copying`` is set.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import msgspec
import zmq

from .base import LOCALHOST, Adapter, Address, Caller, Server

_NOBLOCK = int(zmq.NOBLOCK)  # the enumeration's operators cost more than a small message
_NUMBER_BYTES = 8
_EVENT_TEXT = b"e" * 64
_LARGE_BYTES = 1 << 18  # from about here on, not to copy costs less than to copy
_QUEUE_MESSAGES = 100_000  # more than any measurement has on its way: nothing is dropped and nobody waits


class Ask(msgspec.Struct):
    """The message where option ``json`` is set: the same text as the agents' messages have."""

    text: str


_ASK = msgspec.json.Decoder(Ask)
_encode = msgspec.json.Encoder().encode


Part: TypeAlias = bytes | zmq.Frame
"""What comes in: small ones are copied."""


class Link:
    """One socket on the event loop; ``on_message`` gets the parts of each message that comes."""

    def __init__(
        self, socket: zmq.Socket[bytes], options: Mapping[str, Any], on_message: Callable[[list[Any]], None]
    ) -> None:
        self._socket = socket
        self._large_bytes = sys.maxsize if options.get("copying") else _LARGE_BYTES
        self._on_message = on_message
        self._loop = asyncio.get_running_loop()
        self._look_due = False
        self._loop.add_reader(socket.fileno(), self._read)
        self._loop.call_soon(self._read)

    def send(self, parts: list[Any]) -> None:
        """Of these the last may be large. Raises zmq.Again if the queue is full, which _QUEUE_MESSAGES prevents."""
        self._socket.send_multipart(parts, _NOBLOCK, copy=len(parts[-1]) < self._large_bytes)
        if not self._look_due:
            self._look_due = True
            self._loop.call_soon(self._look)

    def _look(self) -> None:
        self._look_due = False
        self._read()

    def _read(self) -> None:
        receive, large_bytes = self._socket.recv, self._large_bytes
        while True:
            try:
                frame = receive(_NOBLOCK, copy=False)
            except zmq.Again:
                return
            parts: list[Part] = [frame.bytes]
            while frame.more:
                frame = receive(_NOBLOCK, copy=False)
                parts.append(frame.bytes if len(frame) < large_bytes else frame)
            self._on_message(parts)

    def close(self) -> None:
        """End the socket."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close(linger=0)


def _view(part: Part) -> bytes | memoryview:
    return part.buffer if isinstance(part, zmq.Frame) else part


def _socket(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> zmq.Socket[bytes]:
    socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, _QUEUE_MESSAGES)
    socket.setsockopt(zmq.RCVHWM, _QUEUE_MESSAGES)
    return socket


class ZmqServer(Server):
    """Echoes on a ROUTER; receives events on a DEALER."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = _socket(self._context, zmq.ROUTER)
        address = dict(address)
        if self.options.get("curve"):
            public, secret = zmq.curve_keypair()
            socket.curve_server, socket.curve_publickey, socket.curve_secretkey = True, public, secret
            address["key"] = public.decode()
        port = socket.bind_to_random_port(f"tcp://{LOCALHOST}")
        self._link = Link(socket, self.options, self._on_json if self.options.get("json") else self._on_raw)
        return {**address, "servers": [*address.get("servers", []), f"tcp://{LOCALHOST}:{port}"]}

    def _on_raw(self, parts: list[Any]) -> None:
        if parts[1]:
            self._link.send(parts)
        else:
            self.inbox.add(parts[2].decode())

    def _on_json(self, parts: list[Any]) -> None:
        sender, number, body = parts
        self._link.send([sender, number, _encode(Ask(_ASK.decode(_view(body)).text))])

    async def stop(self) -> None:
        """See Side."""
        self._link.close()
        self._context.term()


class ZmqCaller(Caller):
    """Calls, and publishes by sending to each server."""

    def __init__(self, options: Mapping[str, Any], index: int = 0) -> None:
        super().__init__(options, index)
        self._links: list[Link] = []
        self._pending: dict[bytes, asyncio.Future[Part]] = {}
        self._numbers = itertools.count(1)
        self._json = bool(options.get("json"))

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._loop = asyncio.get_running_loop()
        await self.expect(address, 1)
        return address

    async def expect(self, address: Address, servers: int) -> None:
        """See Caller."""
        for endpoint in address["servers"][len(self._links) :]:
            socket = _socket(self._context, zmq.DEALER)
            if "key" in address:
                public, secret = zmq.curve_keypair()
                socket.curve_serverkey, socket.curve_publickey = address["key"].encode(), public
                socket.curve_secretkey = secret
            socket.connect(endpoint)
            self._links.append(Link(socket, self.options, self._on_message))

    def _on_message(self, parts: list[Any]) -> None:
        future = self._pending.pop(parts[0])
        if not future.done():
            future.set_result(parts[1])

    async def stop(self) -> None:
        """See Side."""
        for link in self._links:
            link.close()
        self._context.term()

    def prepare(self, text: str) -> Ask | bytes:
        """See Caller: the bytes themselves, unless messages are typed."""
        return Ask(text) if self._json else text.encode()

    async def call(self, prepared: Any) -> Any:
        """See Caller."""
        number = next(self._numbers).to_bytes(_NUMBER_BYTES, "big")
        future = self._pending[number] = self._loop.create_future()
        if self._json:
            self._links[0].send([number, _encode(prepared)])
            return _ASK.decode(_view(await future))
        self._links[0].send([number, prepared])
        return await future

    def text_of(self, answer: Any) -> str:
        """See Caller."""
        return str(answer.text) if self._json else str(_view(answer), "utf-8")

    async def publish(self, message_id: str) -> None:
        """See Caller."""
        parts = [b"", message_id.encode(), _EVENT_TEXT]
        for link in self._links:
            link.send(parts)


ADAPTER = Adapter(ZmqCaller, ZmqServer)
