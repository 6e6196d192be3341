"""What is particular to the ZeroMQ transport; what every transport does is in tests/contract/test_transport.py."""

from __future__ import annotations

import asyncio
import resource
import socket
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import pytest
import pytest_asyncio
import zmq

from tests.contract.transports import FAST, Node, port_of
from zmqagents.errors import ConfigError
from zmqagents.protocol.codec import GOSSIP_PREFIX
from zmqagents.transport.base import TransportOptions
from zmqagents.transport.zeromq import ZeroMqTransport
from zmqagents.transport.zeromq.listening import _bind
from zmqagents.transport.zeromq.options import make_context, make_monitor, prepare

MakeNode: TypeAlias = Callable[..., Node]
MakeSocket: TypeAlias = Callable[[int], "zmq.Socket[bytes]"]

NODE_ID = b"node".ljust(16, b".")


@pytest_asyncio.fixture
async def node() -> AsyncIterator[MakeNode]:
    made: list[Node] = []

    def make(name: str, options: TransportOptions = FAST) -> Node:
        made.append(Node(ZeroMqTransport, name, options))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest.fixture
def make_socket() -> Iterator[MakeSocket]:
    context = make_context()
    made: list[zmq.Socket[bytes]] = []

    def make(kind: int) -> zmq.Socket[bytes]:
        made.append(context.socket(kind))
        prepare(made[-1], NODE_ID, TransportOptions())
        return made[-1]

    yield make
    for each in made:
        each.close(0)
    context.term()


@pytest.mark.parametrize("kind", [zmq.ROUTER, zmq.DEALER, zmq.PUB, zmq.SUB])
def test_every_socket_has_its_options_set(make_socket: MakeSocket, kind: int) -> None:
    made = make_socket(kind)
    queue = 4_096 if kind in {zmq.ROUTER, zmq.DEALER} else 16_384
    wanted = {
        zmq.SNDHWM: queue,
        zmq.RCVHWM: queue,
        zmq.LINGER: 0 if kind == zmq.SUB else 500,
        zmq.IMMEDIATE: 0,
        zmq.MAXMSGSIZE: 4_096 if kind == zmq.PUB else 128 << 20,
        zmq.HEARTBEAT_IVL: 0 if kind == zmq.PUB else 750,
        zmq.HEARTBEAT_TIMEOUT: 750,
        zmq.HEARTBEAT_TTL: 1_500,
        zmq.RECONNECT_IVL: 50,
        zmq.RECONNECT_IVL_MAX: 1_000,
        zmq.CONNECT_TIMEOUT: 2_000,
        zmq.HANDSHAKE_IVL: 2_000,
        zmq.TCP_KEEPALIVE: 1,
        zmq.TCP_KEEPALIVE_IDLE: 10,
        zmq.TCP_KEEPALIVE_INTVL: 5,
        zmq.TCP_KEEPALIVE_CNT: 3,
        zmq.BACKLOG: 1_024,
    }
    assert {option: made.get(option) for option in wanted} == wanted


@pytest.mark.parametrize(("heartbeat_ms", "ttl_ms"), [(20, 100), (60, 200), (200, 400)])
def test_ttl_is_rounded_up_to_tenths_of_a_second_for_less_is_none(
    make_socket: MakeSocket, heartbeat_ms: int, ttl_ms: int
) -> None:
    dealer = make_socket(zmq.DEALER)
    prepare(dealer, NODE_ID, TransportOptions(zmtp_heartbeat_ms=heartbeat_ms, zmtp_timeout_ms=heartbeat_ms))
    assert dealer.get(zmq.HEARTBEAT_TTL) == ttl_ms


def test_dealer_has_the_node_id_as_its_routing_id(make_socket: MakeSocket) -> None:
    assert make_socket(zmq.DEALER).get(zmq.ROUTING_ID) == NODE_ID


def test_context_has_one_io_thread_and_room_for_a_whole_cluster(make_socket: MakeSocket) -> None:
    context = make_socket(zmq.DEALER).context
    assert context.get(zmq.IO_THREADS) == 1
    assert context.get(zmq.MAX_SOCKETS) == 32_768


def test_monitor_never_makes_libzmq_wait(make_socket: MakeSocket) -> None:
    pair = make_monitor(make_socket(zmq.DEALER), zmq.EVENT_ALL)
    assert pair.get(zmq.RCVHWM) == 0
    pair.close()


async def test_gossip_is_whole_when_an_endpoint_is_left_after_a_slow_message(node: MakeNode) -> None:
    a, others = node("a"), {b"b": node("b"), b"c": node("c")}

    def publish(times: int = 1) -> None:
        for _ in range(times):
            for name, other in others.items():
                other.transport.publish([GOSSIP_PREFIX, name])

    for other in others.values():
        a.transport.subscribe(other.gossip_endpoint)
    while not all(("gossip", [GOSSIP_PREFIX, name]) in a.seen.events for name in others):
        publish()
        await asyncio.sleep(0.01)

    def slow_once(event: tuple[Any, ...]) -> None:
        """The reader runs out of time, and the other endpoint is left before its next turn."""
        a.seen.then = None
        time.sleep(0.02)
        [left] = [other for name, other in others.items() if name != event[1][1]]
        asyncio.get_running_loop().call_soon(a.transport.unsubscribe, left.gossip_endpoint)

    a.seen.then = slow_once
    publish(times=5)
    time.sleep(0.1)  # noqa: ASYNC251 - all of it is to be there before the first is read
    before = len(a.seen.events)
    await a.seen.until(lambda: len(a.seen.events) >= before + 5, "gossip of who is still listened to")
    assert all(len(parts) == 2 and parts[1] in others for _, parts in a.seen.named("gossip"))


async def test_flood_leaves_other_work_its_turns(node: MakeNode) -> None:
    a, b = node("a"), node("b")
    await a.dial(1, b.endpoint)
    for _ in range(4_000):
        a.send(1, b"x")
    loop = asyncio.get_running_loop()
    counts: set[int] = set()

    def work(_: object) -> None:
        sum(range(500))  # 4,000 messages take some 40 ms

    def look() -> None:
        counts.add(len(b.seen.events))
        if len(b.seen.events) < 4_000:
            loop.call_soon(look)

    b.seen.then = work
    look()
    await b.seen.until(lambda: len(b.seen.events) == 4_000, "4,000 messages")
    assert len(counts) > 3


@pytest.mark.parametrize(
    ("listen", "reason"),
    [
        (("198.51.100.7",), "198.51.100.7 is not an address of this machine; put one of its own into listen"),
        (("127.0.0.1", "2001:db8::7"), "2001:db8::7 is not an address of this machine"),
    ],
)
async def test_address_of_another_machine_is_a_config_error(
    node: MakeNode, listen: tuple[str, ...], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason):
        node("a", replace(FAST, listen=listen))


@pytest.mark.parametrize("port", [-1, 65_536])
async def test_port_out_of_range_is_a_config_error(node: MakeNode, port: int) -> None:
    with pytest.raises(ConfigError, match=rf"^port is {port}; write a port up to 65,535"):
        node("a", replace(FAST, port=port))
    with pytest.raises(ConfigError, match=rf"^gossip_port is {port}; write a port up to 65,535"):
        node("a", replace(FAST, gossip_port=port))


def test_free_port_that_is_taken_on_a_further_address_is_replaced_there(make_socket: MakeSocket) -> None:
    with socket.socket(socket.AF_INET6) as taken:
        taken.bind(("::1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port_of(_bind(make_socket(zmq.ROUTER), "::1", port, "port", or_free=True)) not in {0, port}
        with pytest.raises(ConfigError, match=f"port {port} of ::1 is taken"):
            _bind(make_socket(zmq.ROUTER), "::1", port, "port", or_free=False)


async def test_path_is_dialled_as_soon_as_there_are_descriptors(node: MakeNode) -> None:
    a, b = node("a"), node("b")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard))  # poll(2) takes no more sockets than that
    try:
        a.transport.open_path(1, b.endpoint)
        assert not a.send(1, b"x")
        await a.seen.until(lambda: bool(a.seen.strays), "stray")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert "no file descriptors are left for path 1" in a.seen.strays[0]
    await a.seen.saw("up", 1)


async def test_path_that_waits_for_descriptors_can_be_closed(node: MakeNode) -> None:
    a, b = node("a"), node("b")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (8, hard))  # poll(2) takes no more sockets than that
    try:
        a.transport.open_path(1, b.endpoint)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    a.transport.close_path(1)
    await a.dial(2, b.endpoint)
    assert a.seen.events == [("up", 2)]


async def test_close_does_not_block_the_event_loop_while_it_lingers(node: MakeNode) -> None:
    options = replace(FAST, linger_ms=300, queue_messages=50)
    a, b = node("a", options), node("b", options)
    await a.dial(1, b.endpoint)
    assert isinstance(b.transport, ZeroMqTransport)
    assert b.transport._sockets is not None
    b.transport._sockets.router_reader.close()
    refused = 0
    while refused < 20:  # until all queues are full, those of the I/O threads too: nobody reads them
        refused = 0 if a.send(1, bytes(1 << 20)) else refused + 1
        await asyncio.sleep(0.002)
    closing = asyncio.ensure_future(a.close())
    turns = 0
    while not closing.done():
        turns += 1
        await asyncio.sleep(0.001)
    assert turns > 50
