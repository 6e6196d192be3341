"""Peers that break the rules, at every socket: what they send is dropped and counted, and nobody else is disturbed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import zmq
from autogen_core import TopicId, TypeSubscription

from tests.integration.agents import Echo, agent
from tests.integration.clusters import (
    Cluster,
    endpoint_of,
    eventually,
    gossip_endpoint_of,
    node_of,
    strays_of,
    within,
)
from tests.integration.mallory import INSTANCE_ID, Mallory, bad_gossip, nested, oversized, random_bytes, truncated
from tests.integration.messages import Text
from zmqagents import ZmqAgentRuntime
from zmqagents.protocol import frames as f

pytestmark = pytest.mark.integration


@pytest.fixture
async def pair(cluster: Cluster) -> tuple[ZmqAgentRuntime, ZmqAgentRuntime]:
    """A host of an echo, which is attacked, and a caller, which must not notice."""
    return await cluster.pair(Echo)


@pytest.fixture
async def host(pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime]) -> AsyncIterator[ZmqAgentRuntime]:
    """The host, while a bystander's calls go on, all of which must be answered."""
    host, caller = pair
    answered = 0
    ending = False

    async def keep_calling() -> None:
        nonlocal answered
        while not ending:
            text = Text(str(answered))
            assert await within(caller.send_message(text, agent("echo"))) == text
            answered += 1

    link = node_of(caller).state.peers[node_of(host).node_id].link
    session = link.session
    bystander = asyncio.ensure_future(keep_calling())
    yield host
    before = answered
    await eventually(lambda: bystander.done() or answered > before + 10)
    ending = True
    await within(bystander)
    assert (link.session, link.counters.resends) == (session, 0)


@pytest.fixture
def mallory(host: ZmqAgentRuntime) -> Iterator[Mallory]:
    """Somebody whose DEALER has a legal routing id."""
    made = Mallory(host)
    yield made
    made.close()


def dropped(caplog: pytest.LogCaptureFixture) -> list[str]:
    """The log lines about input that was dropped."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == logging.WARNING and record.getMessage().startswith("dropped a message of")
    ]


@pytest.mark.parametrize("kind", ["truncated", "random", "nested", "oversized"])
async def test_illegal_input_of_a_stranger_is_dropped_and_counted_and_logged_once(
    host: ZmqAgentRuntime, mallory: Mallory, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    inputs = {
        "truncated": truncated(mallory.hello()),
        "random": random_bytes(300),
        "nested": nested(),
        "oversized": oversized(mallory.hello()),
    }
    for parts in inputs[kind]:
        mallory.send(parts)
    await eventually(lambda: strays_of(host) >= mallory.sent)
    assert strays_of(host) == mallory.sent
    assert len(dropped(caplog)) == 1
    assert len(host.peers()) == 1


async def test_stranger_is_named_by_its_node_id(
    host: ZmqAgentRuntime, mallory: Mallory, caplog: pytest.LogCaptureFixture
) -> None:
    mallory.send([b"garbage"])
    await eventually(lambda: strays_of(host) == 1)
    [line] = dropped(caplog)
    assert mallory.node_id[:4].hex() in line


async def test_message_of_thousands_of_parts_is_dropped_and_counted(host: ZmqAgentRuntime, mallory: Mallory) -> None:
    mallory.send([mallory.hello()[0], *[b"x"] * 5_000])
    await eventually(lambda: strays_of(host) == 1)


@pytest.mark.parametrize("routing_id", [b"", b"short", b"x" * 17], ids=["none", "too short", "too long"])
async def test_message_from_a_connection_without_a_node_id_is_dropped(host: ZmqAgentRuntime, routing_id: bytes) -> None:
    with contextlib.closing(Mallory(host, routing_id=routing_id)) as mallory:
        for parts in (mallory.hello(), [b"garbage"], [b""]):
            mallory.send(parts)
        await eventually(lambda: strays_of(host) == 3)
    assert len(host.peers()) == 1


async def test_message_under_another_name_than_the_connections_is_dropped(
    host: ZmqAgentRuntime, pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime], mallory: Mallory
) -> None:
    victim = node_of(pair[1]).node_id
    mallory.send([part.replace(mallory.node_id, victim) for part in mallory.hello()])
    mallory.send([mallory.envelope(f.Bye(1, "go away"))[0].replace(mallory.node_id, victim)])
    await eventually(lambda: strays_of(host) == 2)


@pytest.mark.parametrize("kind", ["truncated", "random", "nested", "oversized"])
async def test_illegal_input_of_a_member_is_dropped_and_counted_and_the_member_named(
    host: ZmqAgentRuntime, mallory: Mallory, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    await mallory.greet()
    inputs = {
        "truncated": truncated(mallory.envelope(f.Cancel(1), first=1)),
        "random": random_bytes(100),
        "nested": nested(),
        "oversized": oversized(mallory.hello()),
    }
    for parts in inputs[kind]:
        mallory.send(parts)
    await eventually(lambda: strays_of(host) >= mallory.sent)
    assert strays_of(host) == mallory.sent
    [line] = dropped(caplog)
    assert INSTANCE_ID in line


SENSELESS: tuple[f.Frame, ...] = (
    f.Reply(1, "Text", "application/json", b'{"content":"forged"}'),
    f.Error(2, 1, "builtins.SystemExit", "forged", b"{}"),
    f.Error(3, 99, "no.such.Error", "forged", b"no json"),
    f.Cancel(4),
    f.EventDone([1, 2, 3]),
    f.Request(5, "echo/k", "m", "no agent id at all//", "Text", "application/json", None, 0, None, b"{"),
    f.Request(6, "echo/k", "m", "not valid!/k", "Text", "application/json", None, 0, None, b'{"content":""}'),
    f.Request(7, "not valid!/k", "m", None, "Text", "application/json", None, 0, None, b"{}"),
    f.Event("not valid!", "k", "m", None, ["echo/k", "nobody/k"], "Text", "application/json", 9, None, b"{}"),
    f.Event("news", "k", "m", None, ["echo/k"], "Text", "application/json", 0, {"traceparent": "x"}, b"{"),
    f.Agent(8, 99, "echo/k", None, b""),
    f.Agent(9, 3, "echo/k", None, b"no json"),
    f.Agent(10, 5, "", None, b'{"no": "list"}'),
    f.Agent(11, 5, "", None, b'["not valid!", "x"]'),
)


async def test_frames_of_a_member_that_are_legal_but_senseless_disturb_nobody(
    host: ZmqAgentRuntime, mallory: Mallory
) -> None:
    await mallory.greet()
    for number, frame in enumerate(SENSELESS, start=1):
        mallory.send(mallory.envelope(frame, first=number))
    peer = node_of(host).state.peers[mallory.node_id]
    await eventually(lambda: peer.link._delivered == mallory.sent)
    await eventually(lambda: not any(key[0] == mallory.node_id for key in node_of(host).served.calls))
    assert strays_of(host) == 0


async def test_illegal_gossip_of_a_member_is_dropped_and_counted(
    host: ZmqAgentRuntime, mallory: Mallory, caplog: pytest.LogCaptureFixture
) -> None:
    await mallory.greet()
    for parts in bad_gossip(mallory):
        mallory.publish(parts)
    await eventually(lambda: strays_of(host) >= mallory.sent)
    assert strays_of(host) == mallory.sent
    lines = dropped(caplog)  # of two nodes; of some of it nobody can say who sent it
    assert len(lines) <= 4
    assert any(INSTANCE_ID in line for line in lines)
    assert any("unknown sender: gossip" in line for line in lines)


async def test_part_over_the_limit_costs_its_sender_the_connection_and_nobody_else_anything(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Echo, max_message_bytes=100_000)
    with contextlib.closing(Mallory(host)) as mallory:
        await mallory.greet()
        monitor = mallory._dealer.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        mallory.send([*mallory.envelope(f.Cancel(1), first=1), b"x" * 1_000_000])
        await eventually(lambda: monitor.poll(0))
        assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")


GARBAGE = (
    b"",
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    os.urandom(5_000),
    b"\xff" + b"\0" * 8 + b"\x7f",  # the beginning of a ZMTP greeting
    b"\xff" + b"\0" * 8 + b"\x7f\x03\x01" + b"BOGUS".ljust(20, b"\0") + b"\0" * 32,
    b"\xff" * 64,
)


@pytest.mark.parametrize("port", ["data", "gossip"])
async def test_bytes_that_are_no_zeromq_disturb_nobody(host: ZmqAgentRuntime, port: str) -> None:
    endpoint = endpoint_of(host) if port == "data" else gossip_endpoint_of(host)
    address = ("127.0.0.1", int(endpoint.rpartition(":")[2]))
    with contextlib.ExitStack() as stack:
        for garbage in GARBAGE * 5:
            connection = stack.enter_context(socket.create_connection(address, timeout=5))
            with contextlib.suppress(ConnectionError):
                connection.sendall(garbage)
    assert len(host.peers()) == 1


async def test_connections_that_say_nothing_disturb_nobody(host: ZmqAgentRuntime, cluster: Cluster) -> None:
    address = ("127.0.0.1", int(endpoint_of(host).rpartition(":")[2]))
    with contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(socket.create_connection(address, timeout=5))
        newcomer = await cluster.host()
        assert await within(newcomer.send_message(Text("hi"), agent("echo"))) == Text("hi")


async def test_events_go_on_while_a_member_floods(
    cluster: Cluster, host: ZmqAgentRuntime, mallory: Mallory, caplog: pytest.LogCaptureFixture
) -> None:
    await mallory.greet()
    for parts in random_bytes(2_000):
        mallory.send(parts)
        mallory.publish([b"zmqagents/1", *parts])
    publisher = await cluster.host()
    await host.add_subscription(TypeSubscription("news", "echo"))
    await eventually(lambda: node_of(publisher).directory.agent_types("news"))
    for number in range(100):
        await within(publisher.publish_message(Text(str(number)), TopicId("news", "k")))
    await within(publisher.stop_when_idle())
    await eventually(lambda: strays_of(host) == mallory.sent)
    assert len(dropped(caplog)) <= 4
