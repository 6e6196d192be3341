"""Keys at the ZeroMQ transport: who is let in, who is told, and how often strangers try. Real sockets."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import TypeAlias

import pytest
import pytest_asyncio
import zmq
from zmq.utils import z85

from tests.contract.transports import FAST, Node, at_ports_of, eventually
from zmqagents.transport.base import TransportOptions
from zmqagents.transport.zeromq import ZeroMqTransport

pytestmark = pytest.mark.integration

MakeNode: TypeAlias = Callable[..., Node]

OLD, NEW, OTHER = b"o" * 32, b"n" * 32, b"x" * 32


def with_keys(*secrets: bytes, options: TransportOptions = FAST) -> TransportOptions:
    return replace(options, curve_secrets=secrets)


@pytest_asyncio.fixture
async def node() -> AsyncIterator[MakeNode]:
    made: list[Node] = []

    def make(name: str, *secrets: bytes, options: TransportOptions = FAST) -> Node:
        made.append(Node(ZeroMqTransport, name, with_keys(*secrets, options=options)))
        return made[-1]

    yield make
    for each in made:
        await each.close()


def turned_away(node: Node) -> list[tuple[str, str]]:
    return [(event[1], event[2]) for event in node.seen.named("turned away")]


STRANGERS = [
    ((OTHER,), (NEW,), "it has another cluster key", "ended the handshake: it has another cluster key, or none"),
    ((), (NEW,), "it has no cluster key, and this process has one", "has a cluster key"),
    ((NEW,), (), "it has a cluster key, and this process has none", "cluster key"),
]


@pytest.mark.parametrize(("dialling", "bound", "told_there", "told_here"), STRANGERS)
@pytest.mark.parametrize("what", ["path", "gossip"])
async def test_both_sides_are_told_of_keys_that_differ_and_nothing_passes(
    node: MakeNode,
    what: str,
    dialling: tuple[bytes, ...],
    bound: tuple[bytes, ...],
    told_there: str,
    told_here: str,
) -> None:
    a, b = node("a", *dialling), node("b", *bound)
    endpoint = b.endpoint if what == "path" else b.gossip_endpoint
    if what == "path":
        a.transport.open_path(1, endpoint)
    else:
        a.transport.subscribe(endpoint)
    await a.seen.until(lambda: bool(turned_away(a)), "word here")
    await b.seen.until(lambda: any(told_there in reason for _, reason in turned_away(b)), "word there")
    [(host, reason)] = turned_away(a)
    assert host == "127.0.0.1"
    assert reason.startswith(f"{endpoint} ")
    assert told_here in reason
    assert reason.endswith("It is dialled again in 10 s")
    assert {host for host, _ in turned_away(b)} <= {"127.0.0.1", "an address that was gone before it could be seen"}
    b.transport.publish([b"zmqagents/1", b"secret"])
    assert not a.send(1, b"x")
    assert {event[0] for event in a.seen.events + b.seen.events} == {"turned away"}


async def test_stranger_dials_a_few_times_and_not_again(node: MakeNode, caplog: pytest.LogCaptureFixture) -> None:
    a, b, c = node("a", OTHER), node("b", NEW), node("c", NEW)
    a.transport.open_path(1, b.endpoint)
    await a.seen.until(lambda: bool(turned_away(a)), "word")
    await c.dial(2, b.endpoint)  # what b has to say of a's dials, which came before, it has said
    said = len(turned_away(b))
    for path in range(3, 12):  # a clock for what must not happen: libzmq alone would dial 20 times a second
        await c.dial(path, b.endpoint)
        c.transport.close_path(path)
        await asyncio.sleep(0.05)
    assert len(turned_away(b)) == said <= 5
    assert len(turned_away(a)) == 1


async def test_client_that_knows_the_servers_key_but_has_another_is_not_let_in(node: MakeNode) -> None:
    b = node("b", NEW)
    public, secret = zmq.curve_keypair()
    with zmq.Context() as context, context.socket(zmq.DEALER) as client:
        client.linger = 0
        client.routing_id = b"c" * 16
        client.curve_serverkey = zmq.curve_public(z85.encode(NEW))
        client.curve_publickey, client.curve_secretkey = public, secret
        monitor = client.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH)
        client.connect(b.endpoint)
        client.send(b"let me in")
        await eventually(lambda: bool(monitor.poll(0)), "the refusal")
        client.disable_monitor()
        monitor.close()
    await b.seen.until(lambda: bool(turned_away(b)), "word")
    assert not b.seen.messages


async def test_nobody_is_let_in_when_nobody_answers_at_the_door(
    node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmqagents.transport.zeromq.door._ZAP_ENDPOINT", "inproc://nobody-asks-here")
    a, b = node("a", NEW), node("b", NEW)
    a.transport.open_path(1, b.endpoint)
    await a.seen.until(lambda: bool(turned_away(a)), "word")
    assert not a.seen.named("up")


async def test_process_whose_event_loop_is_busy_lets_peers_in(node: MakeNode) -> None:
    b = node("b", NEW)
    let_in: list[bool] = []

    def knock() -> None:
        with zmq.Context() as context, context.socket(zmq.DEALER) as client:
            client.linger = 0
            client.routing_id = b"c" * 16
            public = zmq.curve_public(z85.encode(NEW))
            client.curve_serverkey = client.curve_publickey = public
            client.curve_secretkey = z85.encode(NEW)
            monitor = client.get_monitor_socket(zmq.EVENT_HANDSHAKE_SUCCEEDED)
            client.connect(b.endpoint)
            let_in.append(bool(monitor.poll(5_000)))
            client.disable_monitor()
            monitor.close()

    thread = threading.Thread(target=knock)
    thread.start()
    until = time.monotonic() + 10
    while thread.is_alive() and time.monotonic() < until:
        sum(range(10_000))  # the event loop gets no turn
    thread.join()
    assert let_in == [True]


CHANGES = [
    ((OLD,), (OLD, NEW)),
    ((OLD, NEW), (OLD, NEW)),
    ((OLD, NEW), (NEW, OLD)),
    ((NEW, OLD), (NEW, OLD)),
    ((NEW, OLD), (NEW,)),
]


@pytest.mark.parametrize(("one", "other"), CHANGES)
async def test_neighbouring_steps_of_a_change_of_keys_talk_both_ways_and_say_nothing(
    node: MakeNode, one: tuple[bytes, ...], other: tuple[bytes, ...]
) -> None:
    a, b = node("a", *one), node("b", *other)
    await a.dial(1, b.endpoint)
    await b.dial(1, a.endpoint)
    await a.follow(b)
    await b.follow(a)
    assert a.send(1, b"x")
    assert b.send(1, b"y")
    await b.seen.saw("message", a.id, [b"x"])
    await a.seen.saw("message", b.id, [b"y"])
    await a.close()
    await b.close()
    assert turned_away(a) == turned_away(b) == []


async def test_path_follows_a_peer_that_comes_back_with_the_next_key(node: MakeNode) -> None:
    a, b = node("a", OLD, NEW), node("b", OLD, NEW)
    await a.dial(1, b.endpoint)
    await a.follow(b)
    await b.close()
    await a.seen.saw("refused", 1)
    again = node("b", NEW, OLD, options=at_ports_of(b.bound))
    await a.seen.saw("up", 1, times=2)
    await a.seen.saw("gossip up", again.gossip_endpoint, times=2)
    assert turned_away(a) == []


async def test_keys_are_not_in_what_is_shown_or_logged(node: MakeNode, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    options = with_keys(NEW)
    a, b = node("a", NEW), node("b", OTHER)
    a.transport.open_path(1, b.endpoint)
    await a.seen.until(lambda: bool(turned_away(a)), "word")
    await b.seen.until(lambda: bool(turned_away(b)), "word")
    shown = f"{options!r} {a.transport!r} {vars(a.transport)!r} {a.seen.events!r} {b.seen.events!r} {caplog.text}"
    for secret in (NEW, OTHER):
        for text in (
            repr(secret),
            secret.hex(),
            z85.encode(secret).decode(),
            zmq.curve_public(z85.encode(secret)).decode(),
        ):
            assert text not in shown
