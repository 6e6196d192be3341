"""The socket of a forwarder: whose connections ended, and what is done with parts."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import zmq

from tests.integration.clusters import eventually
from zmqagents.protocol.ids import NodeId
from zmqagents.transport.base import MAX_PARTS
from zmqagents.transport.zeromq.relay_socket import RelaySocket

pytestmark = pytest.mark.integration

NODE = b"n" * 16


class Recorder:
    """What the socket has told."""

    def __init__(self) -> None:
        self.messages: list[tuple[NodeId, list[Any]]] = []
        self.strays: list[str] = []
        self.unreachable: list[NodeId] = []
        self.disconnects = 0

    def on_message(self, node_id: NodeId, parts: list[Any]) -> None:
        self.messages.append((node_id, parts))

    def on_handled(self) -> None:
        pass

    def on_unreachable(self, node_id: NodeId, messages: int) -> None:
        self.unreachable.append(node_id)

    def on_overflow(self, node_id: NodeId) -> None:
        pass

    def on_disconnected(self) -> None:
        self.disconnects += 1

    def on_stray(self, reason: str) -> None:
        self.strays.append(reason)

    def on_turned_away(self, host: str, reason: str) -> None:
        pass


@pytest.fixture
async def relay() -> AsyncIterator[tuple[RelaySocket, Recorder]]:
    seen = Recorder()
    made = RelaySocket(["tcp://127.0.0.1:0"], seen)
    yield made, seen
    await made.close()
    await made.close()


@contextlib.contextmanager
def dealer(endpoint: str, routing_id: bytes = NODE) -> Iterator[zmq.Socket[bytes]]:
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        socket.linger = 0
        socket.routing_id = routing_id
        socket.connect(endpoint)
        yield socket


async def test_end_of_a_connection_is_told_and_that_of_one_that_never_was_is_not(
    relay: tuple[RelaySocket, Recorder],
) -> None:
    socket, seen = relay
    host, _, port = socket.endpoints[0].removeprefix("tcp://").rpartition(":")
    for garbage in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 200):
        reader, writer = await asyncio.open_connection(host, int(port))
        with contextlib.suppress(OSError):  # it may have hung up by now
            writer.write(garbage)
            writer.write_eof()
            await reader.read()
        writer.close()
    assert seen.disconnects == 0
    with dealer(socket.endpoints[0]) as node:
        node.send(b"hello")
        await eventually(lambda: seen.messages)
        assert seen.disconnects == 0
    await eventually(lambda: seen.disconnects == 1)


async def test_nobody_who_is_not_connected_is_sent_anything(relay: tuple[RelaySocket, Recorder]) -> None:
    socket, seen = relay
    socket.send(NODE, [b"x"])
    assert seen.unreachable == [NODE]


async def test_last_words_are_delivered_before_their_node_is_told_to_be_unreachable(
    relay: tuple[RelaySocket, Recorder], monkeypatch: pytest.MonkeyPatch
) -> None:
    socket, seen = relay
    heard: list[int] = []
    monkeypatch.setattr(seen, "on_unreachable", lambda node_id, messages: heard.append(len(seen.messages)))
    with dealer(socket.endpoints[0]) as node:
        node.send(b"hello")
        await eventually(lambda: seen.messages)
        node.linger = 5_000
        for _ in range(3):
            node.send(b"last words")
    # The connection has ended, and nothing was read: the event loop has had no turn.
    until_s = time.monotonic() + 10
    with pytest.raises(zmq.ZMQError, match="Host unreachable"):
        while time.monotonic() < until_s:
            socket._sent(NODE, [b"x"], is_new=True)
            time.sleep(0.001)  # noqa: ASYNC251 - it is to have none

    socket.send(NODE, [b"x"])

    await eventually(lambda: heard)
    assert heard == [4]


async def test_large_parts_stay_with_libzmq_and_small_ones_are_bytes(relay: tuple[RelaySocket, Recorder]) -> None:
    socket, seen = relay
    sent = [b"head", b"small", b"y" * 5_000, b"z" * 200_000]
    with dealer(socket.endpoints[0]) as node:
        node.send_multipart(sent)
        await eventually(lambda: seen.messages)
        [(node_id, parts)] = seen.messages
        assert node_id == NODE
        assert [type(part) for part in parts] == [bytes, bytes, zmq.Frame, zmq.Frame]
        socket.send(NODE, parts)
        assert node.poll(5_000)
        assert node.recv_multipart() == sent


async def test_header_over_its_bound_is_not_copied(relay: tuple[RelaySocket, Recorder]) -> None:
    socket, seen = relay
    with dealer(socket.endpoints[0]) as node:
        node.send_multipart([b"x" * (2 << 20), b"y"])
        await eventually(lambda: seen.messages)
    assert seen.messages == [(NODE, [b"", b"y"])]


async def test_message_of_too_many_parts_and_one_of_no_node_are_stray(relay: tuple[RelaySocket, Recorder]) -> None:
    socket, seen = relay
    with dealer(socket.endpoints[0]) as node, dealer(socket.endpoints[0], b"short") as other:
        node.send_multipart([b"x"] * (MAX_PARTS + 5))
        other.send(b"x")
        await eventually(lambda: len(seen.strays) == 2)
    assert sorted(seen.strays) == [
        "a message from a peer whose routing id is not a node id: " + b"short".hex(),
        f"a message of {MAX_PARTS + 5:,} parts; the limit is {MAX_PARTS:,}",
    ]
    assert not seen.messages
