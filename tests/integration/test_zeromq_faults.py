"""The ZeroMQ transport against peers that die, stop, are busy, fork, or talk nonsense. Real processes and sockets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio
import zmq

from tests.contract.transports import FAST, Node, at_ports_of, eventually, port_of
from tests.integration.zeromq_peer import NODE_ID as PEER_ID
from zmqagents.transport.base import Bound, TransportOptions
from zmqagents.transport.zeromq import ZeroMqTransport

pytestmark = pytest.mark.integration

MakeNode: TypeAlias = Callable[..., Node]

ROOT = Path(__file__).resolve().parents[2]
QUICK = replace(FAST, zmtp_heartbeat_ms=200, zmtp_timeout_ms=800)
PEER_OPTIONS = {"zmtp_heartbeat_ms": 200, "zmtp_timeout_ms": 800}


class PeerProcess:
    def __init__(self, **options: object) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.integration.zeromq_peer", json.dumps(PEER_OPTIONS | options)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        endpoints, gossip_endpoints = json.loads(self.process.stdout.readline())
        self.bound = Bound(tuple(endpoints), tuple(gossip_endpoints))

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


@pytest.fixture
def peer() -> Iterator[PeerProcess]:
    peer = PeerProcess()
    yield peer
    peer.end()


@pytest_asyncio.fixture
async def node() -> AsyncIterator[MakeNode]:
    made: list[Node] = []

    def make(name: str, options: TransportOptions = QUICK) -> Node:
        made.append(Node(ZeroMqTransport, name, options))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest_asyncio.fixture
async def a(node: MakeNode) -> Node:
    return node("a")


async def meet(a: Node, peer: PeerProcess) -> None:
    """A path and a subscription to the peer, both up."""
    await a.dial(1, peer.bound.endpoints[0])
    a.transport.subscribe(peer.bound.gossip_endpoints[0])
    await a.seen.saw("gossip up", peer.bound.gossip_endpoints[0])


async def dialled_nobody(a: Node, times: int) -> None:
    """Wait until another path was refused that often, some 100 ms each: a clock for what must not happen."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound but not listening: refuses, and nobody else gets the port
        a.transport.open_path(999, f"tcp://127.0.0.1:{nobody.getsockname()[1]}")
        await a.seen.saw("refused", 999, times=times)
        a.transport.close_path(999)


async def test_killed_peer_is_down_and_refused_within_a_second(a: Node, peer: PeerProcess) -> None:
    await meet(a, peer)
    killed = time.monotonic()
    peer.signal(signal.SIGKILL)
    await a.seen.saw("refused", 1)
    await a.seen.saw("gossip refused", peer.bound.gossip_endpoints[0])
    assert time.monotonic() - killed < 1
    assert [event[0] for event in a.seen.events if event[1] == 1][:3] == ["up", "down", "refused"]
    assert ("gossip down", peer.bound.gossip_endpoints[0]) in a.seen.events


async def test_stopped_peer_is_down_but_never_refused_and_up_when_it_continues(a: Node, peer: PeerProcess) -> None:
    await meet(a, peer)
    stopped = time.monotonic()
    peer.signal(signal.SIGSTOP)
    await a.seen.saw("down", 1)
    await a.seen.saw("gossip down", peer.bound.gossip_endpoints[0])
    assert time.monotonic() - stopped < 2
    assert not a.send(1, b"x")
    await dialled_nobody(a, 30)  # longer than a handshake may take
    assert not [event for event in a.seen.events if event[0].endswith("refused") and event[1] != 999]
    assert not a.seen.strays
    assert len(a.seen.named("up")) == 1
    peer.signal(signal.SIGCONT)
    await a.seen.saw("up", 1, times=2)
    await a.seen.saw("gossip up", peer.bound.gossip_endpoints[0], times=2)
    assert a.send(1, b"hello")
    await a.seen.saw("message", 1, [b"hello"])


async def test_peer_that_is_stopped_right_after_a_message_is_missed_on_its_own_connection(
    a: Node, peer: PeerProcess
) -> None:
    await meet(a, peer)
    assert a.send(1, b"dial " + a.endpoint.encode())
    await a.seen.saw("message", 1, [b"dial " + a.endpoint.encode()])
    answer = ("message", PEER_ID, [b"x"])
    await eventually(lambda: a.send(PEER_ID, b"x") and answer in a.seen.events, "connection of the peer's own")
    stopped = time.monotonic()
    peer.signal(signal.SIGSTOP)
    await a.seen.saw("down", 1)
    await eventually(lambda: not a.send(PEER_ID, b"y"), "loss of the peer's own connection")
    assert time.monotonic() - stopped < 2


async def test_peer_that_holds_the_gil_is_not_down(a: Node, peer: PeerProcess) -> None:
    await meet(a, peer)
    assert a.send(1, b"busy 3")  # nearly four heartbeat timeouts
    assert a.send(1, b"next")
    await a.seen.saw("message", 1, [b"next"])
    assert [event[0] for event in a.seen.events] == ["up", "gossip up", "message", "message"]


async def test_transport_used_in_a_forked_child_refuses_and_works_on_in_the_parent(a: Node, peer: PeerProcess) -> None:
    await meet(a, peer)
    assert a.send(1, b"fork")
    await a.seen.saw("message", 1, [b"child", b"9 of 9 refused, exit code 0"])
    assert a.send(1, b"still here")
    await a.seen.saw("message", 1, [b"still here"])
    assert [event[0] for event in a.seen.events] == ["up", "gossip up", "message", "message"]


def test_forked_child_ends_without_hanging() -> None:
    command = [sys.executable, "-m", "tests.integration.zeromq_peer", json.dumps(PEER_OPTIONS), "fork and exit"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20, check=True)
    assert result.stdout == "child exited with 7\n"


# What isn't a peer

ZMTP_GREETING = b"\xff\0\0\0\0\0\0\0\1\x7f\3\0NULL".ljust(64, b"\0")
NONSENSE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\0" * 4_096,
    b"\xff" * 4_096,
    os.urandom(4_096),
    ZMTP_GREETING,
    ZMTP_GREETING + b"\xff" * 4_096,
    ZMTP_GREETING + b"\4\x29\5READY\x0bSocket-Type\0\0\0\6DEALER" + b"\x02" + b"\x7f" * 8 + b"x" * 100,
    ZMTP_GREETING + b"\4\x26\5READY\x0bSocket-Type\0\0\0\3PUB" + b"\0\1x",
]


def connect_to(endpoint: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port_of(endpoint)), timeout=5)


@pytest.mark.parametrize("which", ["router", "publisher"])
async def test_nonsense_disturbs_nobody(a: Node, which: str, node: MakeNode) -> None:
    b = node("b")
    await b.dial(1, a.endpoint)
    await b.follow(a)
    before = len(b.seen.events)
    endpoint = a.endpoint if which == "router" else a.gossip_endpoint
    with contextlib.ExitStack() as stack:
        for nonsense in NONSENSE * 5:
            client = stack.enter_context(connect_to(endpoint))
            with contextlib.suppress(ConnectionError):
                client.sendall(nonsense)
        b.send(1, b"through")
        await a.seen.saw("message", b.id, [b"through"])
        a.transport.publish([b"zmqagents/1", b"through"])
        await b.seen.saw("gossip", [b"zmqagents/1", b"through"])
    b.send(1, b"afterwards")
    await a.seen.saw("message", b.id, [b"afterwards"])
    assert {event[0] for event in b.seen.events[before:]} == {"gossip"}
    assert [event for event in a.seen.named("message") if event[1] != b.id] == []


async def test_two_hundred_clients_that_stall_in_the_handshake_disturb_nobody(a: Node, node: MakeNode) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(200):
            client = stack.enter_context(connect_to(a.endpoint))
            client.sendall(ZMTP_GREETING[: number % 64])
        b = node("b")
        await b.dial(1, a.endpoint)
        b.send(1, b"through")
        await a.seen.saw("message", b.id, [b"through"])
    assert not a.seen.strays


@pytest.mark.parametrize("routing_id", [None, b"short", b"x" * 17])
async def test_message_of_a_client_without_a_node_id_is_stray(a: Node, routing_id: bytes | None) -> None:
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.linger = 0
        if routing_id is not None:
            client.routing_id = routing_id
        client.connect(a.endpoint)
        client.send_multipart([b"hello", b"there"])
        await a.seen.until(lambda: bool(a.seen.strays), "stray")
    assert "routing id is not a node id" in a.seen.strays[0]
    assert not a.seen.messages


async def test_part_over_the_limit_from_a_client_disturbs_nobody(a: Node, node: MakeNode) -> None:
    b = node("b", replace(QUICK, max_part_bytes=1_000))
    await a.dial(1, b.endpoint)
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.linger = 0
        client.routing_id = b"c" * 16
        monitor = client.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        client.connect(b.endpoint)
        client.send_multipart([b"header", bytes(1_001)])
        await eventually(lambda: bool(monitor.poll(0)), "the end of the client's connection")
        client.disable_monitor()
        monitor.close()
    a.send(1, b"x")
    assert await b.seen.got(1) == [[b"x"]]
    assert a.seen.events == [("up", 1)]


# Dialling what isn't a peer


async def test_port_that_breaks_zmtp_is_reported_and_dialled_again_until_a_peer_has_it(a: Node, node: MakeNode) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as wrong:
        wrong.linger = 0
        endpoint = f"tcp://127.0.0.1:{wrong.bind_to_random_port('tcp://127.0.0.1')}"
        a.transport.open_path(1, endpoint)
        await a.seen.until(lambda: bool(a.seen.strays), "stray")
        await dialled_nobody(a, 10)
    node("b", replace(QUICK, port=port_of(endpoint)))
    await a.seen.saw("up", 1)
    assert len(set(a.seen.strays)) == len(a.seen.strays) <= 2
    assert all(stray.startswith(endpoint) for stray in a.seen.strays)


async def test_gossip_port_that_breaks_zmtp_is_dialled_again_until_a_peer_has_it(a: Node, node: MakeNode) -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as wrong:
        wrong.linger = 0
        endpoint = f"tcp://127.0.0.1:{wrong.bind_to_random_port('tcp://127.0.0.1')}"
        a.transport.subscribe(endpoint)
        await a.seen.until(lambda: bool(a.seen.strays), "stray")
    b = node("b", replace(QUICK, gossip_port=port_of(endpoint)))
    await a.seen.saw("gossip up", endpoint)
    await a.follow(b)


async def test_program_that_ends_every_connection_is_reported_then_left_alone_and_not_refused(a: Node) -> None:
    ended = 0

    def end_it(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ended
        ended += 1
        writer.transport.abort()

    server = await asyncio.start_server(end_it, "127.0.0.1", 0)
    a.transport.open_path(1, f"tcp://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await a.seen.until(lambda: bool(a.seen.named("turned away")), "report")
    await dialled_nobody(a, 5)
    assert ended == 5
    assert [event[0] for event in a.seen.events if event[1] != 999] == ["turned away"]
    assert not a.send(1, b"x")
    a.transport.close_path(1)
    server.close()
    await server.wait_closed()


async def test_host_that_drops_packets_is_not_refused(a: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zmqagents.transport.zeromq.options._CONNECT_MS", 200)
    with contextlib.ExitStack() as stack:
        full = stack.enter_context(socket.socket())
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # fill its queue: the kernel drops further attempts
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        a.transport.open_path(1, f"tcp://127.0.0.1:{full.getsockname()[1]}")
        await dialled_nobody(a, 15)
        assert not [event for event in a.seen.events if event[1] == 1]
        a.transport.close_path(1)


@pytest.fixture
def flapping_port() -> Iterator[str]:
    with subprocess.Popen([sys.executable, "-c", _ACCEPT_AND_CLOSE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield f"tcp://127.0.0.1:{int(process.stdout.readline())}"
        process.kill()


async def test_busy_peer_is_not_down_while_a_port_that_it_dials_flaps(a: Node, flapping_port: str) -> None:
    # libzmq's I/O thread waits for room in a monitor that nobody reads, so the monitor must have room for everything.
    peer = PeerProcess(reconnect_ms=1, reconnect_max_ms=0)
    try:
        await meet(a, peer)
        assert a.send(1, b"dial " + flapping_port.encode())
        assert a.send(1, b"busy 3")  # some 10,000 events
        assert a.send(1, b"next")
        await a.seen.saw("message", 1, [b"next"])
        assert not a.seen.named("down")
    finally:
        peer.end()


_ACCEPT_AND_CLOSE = """
import socket
listener = socket.socket()
listener.bind(("127.0.0.1", 0))
listener.listen(50)
print(listener.getsockname()[1], flush=True)
while True:
    listener.accept()[0].close()
"""


async def test_many_restarts_of_a_peer_leave_one_working_path(a: Node, node: MakeNode) -> None:
    b = node("b")
    bound = b.bound
    a.transport.open_path(1, bound.endpoints[0])
    for life in range(1, 6):
        await a.seen.saw("up", 1, times=life)
        assert a.send(1, b"life %d" % life)
        assert await b.seen.got(1) == [[b"life %d" % life]]
        await b.close()
        b = node("b", at_ports_of(bound, QUICK))
    await b.close()
