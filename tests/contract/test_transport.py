"""What every transport does. Each test runs over ZeroMQ, with and without a key, and over the in-memory twin."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
import pytest_asyncio

from tests.contract.transports import (
    FAST,
    Event,
    LockedTransport,
    MakeTransport,
    Node,
    at_ports_of,
    eventually,
    port_of,
)
from zmqagents.errors import ConfigError
from zmqagents.transport.base import MAX_PARTS, TransportOptions
from zmqagents.transport.memory import MemoryHub
from zmqagents.transport.zeromq import ZeroMqTransport

MakeNode: TypeAlias = Callable[..., Node]


@pytest.fixture(params=["zeromq", "zeromq with a key", "memory"])
def make_transport(request: pytest.FixtureRequest) -> MakeTransport:
    if request.param == "memory":
        return MemoryHub().transport
    return ZeroMqTransport if request.param == "zeromq" else LockedTransport


@pytest_asyncio.fixture
async def node(make_transport: MakeTransport) -> AsyncIterator[MakeNode]:
    made: list[Node] = []

    def make(name: str, options: TransportOptions = FAST) -> Node:
        made.append(Node(make_transport, name, options))
        return made[-1]

    yield make
    for each in made:
        await each.close()


@pytest_asyncio.fixture
async def a(node: MakeNode) -> Node:
    return node("a")


@pytest_asyncio.fixture
async def b(node: MakeNode) -> Node:
    return node("b")


# Messages


async def test_message_passes_over_a_dialled_path_and_the_answer_over_the_accepted_one(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    assert a.send(1, b"header", b"payload")
    await b.seen.saw("message", a.id, [b"header", b"payload"])
    assert b.send(a.id, b"answer")
    await a.seen.saw("message", 1, [b"answer"])


async def test_dialled_path_takes_a_message_as_soon_as_it_is_reported_up(a: Node, b: Node) -> None:
    taken: list[bool] = []
    a.seen.then = lambda event: taken.append(a.send(event[1], b"at once"))
    a.transport.open_path(1, b.endpoint)
    await b.seen.saw("message", a.id, [b"at once"])
    assert taken == [True]


async def test_messages_keep_their_order(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    sent = [[b"%d" % number] for number in range(3_000)]
    for parts in sent:
        assert a.send(1, *parts)
    assert await b.seen.got(len(sent)) == sent


async def test_answers_keep_their_order(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    a.send(1, b"hello")
    await b.seen.got(1)
    sent = [[b"%d" % number] for number in range(3_000)]
    for parts in sent:
        assert b.send(a.id, *parts)
    assert await a.seen.got(len(sent)) == sent


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param([b""], id="one empty part"),
        pytest.param([b"", b"a", b"", b"", b"b", b""], id="empty parts between others"),
        pytest.param([b"%d" % number for number in range(1_025)], id="a header and 1,024 payloads"),
        pytest.param([b"x" * 65_535, b"y" * 65_536, b"z" * 65_537], id="parts about 64 KiB"),
    ],
)
async def test_parts_arrive_as_they_were_sent(a: Node, b: Node, parts: list[bytes]) -> None:
    await a.dial(1, b.endpoint)
    assert a.send(1, *parts)
    assert await b.seen.got(1) == [parts]
    assert b.send(a.id, *parts)
    assert await a.seen.got(1) == [parts]


async def test_large_parts_stay_as_they_are_while_more_come_and_after_the_end(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    larges = [bytes([number]) * (65_536 << number % 3) for number in range(24)]
    for large in larges:
        assert a.send(1, b"header", large)
    arrived = [large for _, large in await b.seen.got(len(larges))]
    for large in arrived:
        assert b.send(a.id, b"header", large)
    assert [large for _, large in await a.seen.got(len(larges))] == larges
    await a.transport.close()
    await b.transport.close()
    assert arrived == larges


async def test_part_of_64_mib_arrives(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    large = bytes(range(256)) * (64 << 12)
    assert a.send(1, b"header", large)
    [[header, arrived]] = await b.seen.got(1, deadline_s=30)
    assert header == b"header"
    assert bytes(arrived) == large


async def test_messages_that_cross_each_other_all_arrive(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    a.send(1, b"hello")
    await b.seen.got(1)
    loop = asyncio.get_running_loop()

    def send_both(left: int) -> None:
        assert a.send(1, b"%d" % left)
        assert b.send(a.id, b"%d" % left)
        if left:
            loop.call_soon(send_both, left - 1)

    send_both(999)
    await asyncio.gather(a.seen.got(1_000), b.seen.got(1_001))
    assert a.seen.messages == b.seen.messages[1:] == [[b"%d" % left] for left in reversed(range(1_000))]


async def test_two_peers_are_told_apart(a: Node, b: Node, node: MakeNode) -> None:
    c = node("c")
    await a.dial(1, b.endpoint)
    await a.dial(2, c.endpoint)
    assert a.send(1, b"to b")
    assert a.send(2, b"to c")
    await b.seen.saw("message", a.id, [b"to b"])
    await c.seen.saw("message", a.id, [b"to c"])
    assert c.send(a.id, b"from c")
    assert b.send(a.id, b"from b")
    await a.seen.saw("message", 1, [b"from b"])
    await a.seen.saw("message", 2, [b"from c"])


async def test_two_nodes_that_dial_each_other_have_a_path_each(a: Node, b: Node) -> None:
    await a.dial(7, b.endpoint)
    await b.dial(8, a.endpoint)
    assert a.send(7, b"from a")
    assert b.send(8, b"from b")
    await b.seen.saw("message", a.id, [b"from a"])
    await a.seen.saw("message", b.id, [b"from b"])


async def test_a_callback_that_raises_loses_no_further_message(a: Node, b: Node) -> None:
    raised: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context["exception"]))
    await a.dial(1, b.endpoint)

    def refuse_the_first(event: Event) -> None:
        if event == ("message", a.id, [b"1"]):
            raise ValueError("not this one")

    b.seen.then = refuse_the_first
    for text in (b"1", b"2", b"3"):
        a.send(1, text)
    assert await b.seen.got(3) == [[b"1"], [b"2"], [b"3"]]
    assert [str(error) for error in raised] == ["not this one"]


# Paths that take nothing


async def test_send_is_refused_by_an_unknown_path(a: Node) -> None:
    assert not a.send(99, b"x")


async def test_send_is_refused_by_an_unknown_node(a: Node) -> None:
    assert not a.send(b"nobody".ljust(16), b"x")


@pytest.mark.parametrize("text", [b"", b"short", bytes(16), b"x" * 300])
async def test_send_is_refused_by_what_is_no_node_id(a: Node, text: bytes) -> None:
    assert not a.send(text, b"x")


async def test_send_is_refused_before_the_path_is_up(a: Node, b: Node) -> None:
    a.transport.open_path(1, b.endpoint)
    assert not a.send(1, b"x")


async def test_send_is_refused_after_close_path(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    a.transport.close_path(1)
    assert not a.send(1, b"x")


async def test_send_is_refused_while_nobody_listens(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    await b.close()
    await a.seen.saw("down", 1)
    assert not a.send(1, b"x")


async def test_send_is_refused_when_the_queue_is_full(node: MakeNode) -> None:
    options = replace(FAST, queue_messages=10)
    a, b = node("a", options), node("b", options)
    await a.dial(1, b.endpoint)
    payload = bytes(1 << 20)  # more than the buffers of the kernel take
    taken = 0
    while a.send(1, payload):  # the receiving node has no turn of the loop in between
        taken += 1
        assert taken < 1_000
    assert taken >= options.queue_messages
    await b.seen.got(taken)
    await eventually(lambda: a.send(1, b"again"), "room in the queue")


# Coming and going


async def test_dial_is_refused_when_nobody_listens_there(a: Node, b: Node) -> None:
    await b.close()
    a.transport.open_path(1, b.endpoint)
    await a.seen.saw("refused", 1, times=2)
    assert not a.seen.named("up")


async def test_path_goes_down_and_is_refused_when_the_peer_goes(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    await b.close()
    await a.seen.saw("refused", 1)
    assert a.seen.events[:3] == [("up", 1), ("down", 1), ("refused", 1)]


async def test_path_comes_up_when_the_peer_starts_later(a: Node, b: Node, node: MakeNode) -> None:
    await b.close()
    a.transport.open_path(1, b.endpoint)
    await a.seen.saw("refused", 1)
    node("b", at_ports_of(b.bound))
    await a.seen.saw("up", 1)


async def test_path_comes_up_again_when_another_node_takes_the_port(a: Node, b: Node, node: MakeNode) -> None:
    await a.dial(1, b.endpoint)
    await b.close()
    await a.seen.saw("down", 1)
    heir = node("heir", at_ports_of(b.bound))
    await a.seen.saw("up", 1, times=2)
    assert a.send(1, b"x")
    await heir.seen.saw("message", a.id, [b"x"])


async def test_node_that_dials_again_with_its_id_is_answered_on_the_new_connection(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    a.send(1, b"first")
    await b.seen.got(1)
    a.transport.close_path(1)
    await a.dial(2, b.endpoint)
    a.send(2, b"second")
    await b.seen.got(2)
    assert b.send(a.id, b"answer")
    await a.seen.saw("message", 2, [b"answer"])


async def test_closed_path_reports_nothing_more(a: Node, b: Node, node: MakeNode) -> None:
    witness = node("witness")
    await a.dial(1, b.endpoint)
    await witness.dial(1, b.endpoint)
    a.transport.close_path(1)
    before = list(a.seen.events)
    await b.close()
    await witness.seen.saw("refused", 1)
    assert a.seen.events == before


async def test_path_can_be_closed_from_its_own_callback(a: Node, b: Node) -> None:
    def close_it(event: Event) -> None:
        if event[0] == "message":
            a.transport.close_path(1)

    a.seen.then = close_it
    await a.dial(1, b.endpoint)
    a.send(1, b"hello")
    await b.seen.got(1)
    for text in (b"1", b"2", b"3"):
        b.send(a.id, text)
    await a.seen.got(1)
    await a.dial(2, b.endpoint)
    assert a.seen.messages == [[b"1"]]


async def test_unknown_path_can_be_closed(a: Node) -> None:
    a.transport.close_path(99)


async def test_path_number_in_use_is_an_error(a: Node, b: Node) -> None:
    a.transport.open_path(1, b.endpoint)
    with pytest.raises(ValueError, match="path 1 is open already"):
        a.transport.open_path(1, b.endpoint)


@pytest.mark.parametrize(
    "endpoint",
    ["", "nonsense", "tcp://", "tcp://127.0.0.1", "tcp://127.0.0.1:0", "tcp://127.0.0.1:99999", "tcp://somewhere:5555",
     "tcp://0.0.0.0:5555", "tcp://::1:5555", "tcp://[127.0.0.1]:5555", "tcp://[fe80::1%;]:5", "ipc:///tmp/x", "inproc://x",
     "tcp://127.0.0.1:5555;tcp://127.0.0.1:1", "tcp://" + "9" * 100_000],
)  # fmt: skip
async def test_endpoint_that_cannot_be_dialled_is_reported_and_disturbs_nothing(
    a: Node, b: Node, endpoint: str
) -> None:
    a.transport.open_path(1, endpoint)
    a.transport.subscribe(endpoint)
    assert not a.seen.events
    assert not a.send(1, b"x")
    await a.seen.until(lambda: len(a.seen.strays) == 2, "two reports")
    assert max(len(reason) for reason in a.seen.strays) < 300
    a.transport.close_path(1)
    a.transport.unsubscribe(endpoint)
    await a.dial(1, b.endpoint)


# Gossip


async def test_gossip_reaches_all_subscribers_and_nobody_else(node: MakeNode) -> None:
    publisher, first, second, deaf = (node(name) for name in ("publisher", "first", "second", "deaf"))
    await first.follow(publisher)
    await second.follow(publisher)
    await deaf.dial(1, publisher.endpoint)
    news = [b"zmqagents/1", b"news", b"payload"]
    publisher.transport.publish(news)
    await first.seen.saw("gossip", news)
    await second.seen.saw("gossip", news)
    deaf.send(1, b"x")
    await publisher.seen.got(1)
    publisher.send(deaf.id, b"y")
    await deaf.seen.got(1)
    assert not deaf.seen.named("gossip")
    assert not publisher.seen.named("gossip")


async def test_gossip_keeps_its_order(a: Node, b: Node) -> None:
    await a.follow(b)
    sent = [[b"zmqagents/1", b"%d" % number] for number in range(2_000)]
    for parts in sent:
        b.transport.publish(parts)
    await a.seen.saw("gossip", sent[-1])
    assert [event[1] for event in a.seen.named("gossip") if not event[1][1].startswith(b"hello")] == sent


async def test_gossip_with_another_prefix_is_not_delivered(a: Node, b: Node) -> None:
    await a.follow(b)
    b.transport.publish([b"something else", b"1"])
    b.transport.publish([b"zmqagents/1", b"2"])
    await a.seen.saw("gossip", [b"zmqagents/1", b"2"])
    assert ("gossip", [b"something else", b"1"]) not in a.seen.events


async def test_publishing_without_subscribers_is_no_error(a: Node) -> None:
    for _ in range(10):
        a.transport.publish([b"zmqagents/1", b"x"])
    assert not a.seen.events


async def test_subscribing_twice_delivers_once(a: Node, b: Node) -> None:
    await a.follow(b)
    a.transport.subscribe(b.gossip_endpoint)
    b.transport.publish([b"zmqagents/1", b"one"])
    b.transport.publish([b"zmqagents/1", b"two"])
    await a.seen.saw("gossip", [b"zmqagents/1", b"two"])
    assert a.seen.events.count(("gossip", [b"zmqagents/1", b"one"])) == 1
    assert len(a.seen.named("gossip up")) == 1


async def test_gossip_ends_with_unsubscribe(node: MakeNode) -> None:
    publisher, follower, witness = (node(name) for name in ("publisher", "follower", "witness"))
    await follower.follow(publisher)
    await witness.follow(publisher)
    follower.transport.unsubscribe(publisher.gossip_endpoint)
    before = len(follower.seen.events)
    for number in range(100):
        publisher.transport.publish([b"zmqagents/1", b"%d" % number])
    await witness.seen.saw("gossip", [b"zmqagents/1", b"99"])
    await publisher.close()
    await witness.seen.saw("gossip refused", publisher.gossip_endpoint)
    assert len(follower.seen.events) == before


async def test_gossip_can_be_subscribed_again(a: Node, b: Node) -> None:
    await a.follow(b)
    a.transport.unsubscribe(b.gossip_endpoint)
    a.transport.subscribe(b.gossip_endpoint)
    await a.seen.saw("gossip up", b.gossip_endpoint, times=2)

    def heard() -> bool:
        b.transport.publish([b"zmqagents/1", b"again"])
        return ("gossip", [b"zmqagents/1", b"again"]) in a.seen.events

    await eventually(heard, "gossip after the second subscription")
    assert not a.seen.named("gossip down")


async def test_unknown_endpoint_can_be_unsubscribed(a: Node) -> None:
    a.transport.unsubscribe("tcp://127.0.0.1:9")
    a.transport.unsubscribe("nonsense")


async def test_gossip_endpoint_goes_down_is_refused_and_comes_back(a: Node, b: Node, node: MakeNode) -> None:
    await a.follow(b)
    await b.close()
    await a.seen.saw("gossip down", b.gossip_endpoint)
    await a.seen.saw("gossip refused", b.gossip_endpoint)
    heir = node("heir", at_ports_of(b.bound))
    await a.seen.saw("gossip up", b.gossip_endpoint, times=2)

    def heard() -> bool:
        heir.transport.publish([b"zmqagents/1", b"back"])
        return ("gossip", [b"zmqagents/1", b"back"]) in a.seen.events

    await eventually(heard, "gossip of the heir")


async def test_two_publishers_are_told_apart(a: Node, b: Node, node: MakeNode) -> None:
    c = node("c")
    await a.follow(b)
    await a.follow(c)
    await b.close()
    await a.seen.saw("gossip refused", b.gossip_endpoint)
    assert not [event for event in a.seen.events if event[0] in {"gossip down", "gossip refused"} and event[1] != b.gossip_endpoint]  # fmt: skip # noqa: E501
    c.transport.publish([b"zmqagents/1", b"still here"])
    await a.seen.saw("gossip", [b"zmqagents/1", b"still here"])


# Listening


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_node_is_reached_where_it_listens(node: MakeNode, address: str) -> None:
    a, b = node("a"), node("b", replace(FAST, listen=(address,)))
    await a.dial(1, b.endpoint)
    await a.follow(b)
    assert a.send(1, b"x")
    await b.seen.saw("message", a.id, [b"x"])


async def test_node_listens_on_several_addresses_with_one_port(node: MakeNode) -> None:
    b = node("b", replace(FAST, listen=("127.0.0.1", "::1", "127.0.0.2")))
    assert [text.rpartition(":")[0] for text in b.bound.endpoints] == [
        "tcp://127.0.0.1",
        "tcp://[::1]",
        "tcp://127.0.0.2",
    ]
    assert len({port_of(endpoint) for endpoint in b.bound.endpoints}) == 1
    assert len({port_of(endpoint) for endpoint in b.bound.gossip_endpoints}) == 1
    for endpoint, gossip_endpoint in zip(b.bound.endpoints, b.bound.gossip_endpoints, strict=True):
        a = node("a" + endpoint[6:12])
        await a.dial(1, endpoint)
        assert a.send(1, b"x")
        a.transport.subscribe(gossip_endpoint)
        await a.seen.saw("gossip up", gossip_endpoint)
    assert await b.seen.got(3) == [[b"x"]] * 3


async def test_path_to_an_ipv6_address_comes_up_again(a: Node, node: MakeNode) -> None:
    options = replace(FAST, listen=("::1",))
    b = node("b", options)
    await a.dial(1, b.endpoint)
    await a.follow(b)
    await b.close()
    await a.seen.saw("gossip refused", b.gossip_endpoint)
    node("b", at_ports_of(b.bound, options))
    await a.seen.saw("up", 1, times=2)
    await a.seen.saw("gossip up", b.gossip_endpoint, times=2)


async def test_port_in_use_is_a_config_error_that_says_what_to_change(b: Node, node: MakeNode) -> None:
    with pytest.raises(ConfigError, match=rf"{port_of(b.endpoint)}.* is taken; give port another value"):
        node("a", replace(FAST, port=port_of(b.endpoint)))
    with pytest.raises(ConfigError, match=r"is taken; give gossip_port another value"):
        node("a", replace(FAST, gossip_port=port_of(b.gossip_endpoint)))


async def test_failed_bind_keeps_no_port(b: Node, node: MakeNode) -> None:
    gone = node("gone")
    await gone.close()
    free = port_of(gone.endpoint)
    with pytest.raises(ConfigError):
        node("a", replace(FAST, port=free, gossip_port=port_of(b.gossip_endpoint)))
    assert port_of(node("a", replace(FAST, port=free)).endpoint) == free


@pytest.mark.parametrize(("wildcard", "dialled"), [("0.0.0.0", ["127.0.0.1"]), ("[::]", ["127.0.0.1", "[::1]"])])
async def test_node_that_listens_on_a_wildcard_is_reached_at_every_address(
    node: MakeNode, wildcard: str, dialled: list[str]
) -> None:
    b = node("b", replace(FAST, listen=(wildcard.strip("[]"),)))
    port, gossip_port = port_of(b.endpoint), port_of(b.gossip_endpoint)
    assert b.bound.endpoints == (f"tcp://{wildcard}:{port}",)
    for number, host in enumerate(dialled):
        a = node(f"a{number}")
        await a.dial(1, f"tcp://{host}:{port}")
        assert a.send(1, b"x")
        a.transport.subscribe(f"tcp://{host}:{gossip_port}")
        await a.seen.saw("gossip up", f"tcp://{host}:{gossip_port}")
    assert await b.seen.got(len(dialled)) == [[b"x"]] * len(dialled)


@pytest.mark.parametrize("listen", [(), ("localhost",), ("224.0.0.251",), ("127.0.0.1", "")])
async def test_address_that_nobody_could_dial_is_a_config_error(node: MakeNode, listen: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="listen"):
        node("a", replace(FAST, listen=listen))


async def test_second_bind_is_an_error(a: Node) -> None:
    with pytest.raises(RuntimeError, match="bound before"):
        a.transport.bind(a.id, FAST, a.seen)


# Bounds


async def test_part_over_the_limit_drops_its_connection_and_nothing_else(node: MakeNode) -> None:
    options = replace(FAST, max_part_bytes=100_000)
    a, b, c = node("a", options), node("b", options), node("c", options)
    await a.dial(1, b.endpoint)
    await c.dial(1, b.endpoint)
    assert a.send(1, b"header", bytes(100_001))
    await a.seen.saw("up", 1, times=2)
    assert a.seen.events[:3] == [("up", 1), ("down", 1), ("up", 1)]
    assert c.send(1, b"x")
    assert a.send(1, bytes(100_000))
    await b.seen.saw("message", c.id, [b"x"])
    await b.seen.saw("message", a.id, [bytes(100_000)])
    assert c.seen.events == [("up", 1)]


async def test_answer_over_the_limit_drops_its_connection_which_comes_back(node: MakeNode) -> None:
    options = replace(FAST, max_part_bytes=100_000)
    a, b = node("a", options), node("b", options)
    await a.dial(1, b.endpoint)
    a.send(1, b"x")
    await b.seen.got(1)
    assert b.send(a.id, bytes(100_001))
    await a.seen.saw("up", 1, times=2)
    assert a.send(1, b"y")
    await b.seen.got(2)


async def test_message_of_too_many_parts_is_stray(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    a.send(1, *[b""] * (MAX_PARTS + 1))
    a.send(1, *[b""] * MAX_PARTS)
    await b.seen.got(1)
    assert b.seen.messages == [[b""] * MAX_PARTS]
    assert b.seen.strays == [f"a message of {MAX_PARTS + 1:,} parts; the limit is {MAX_PARTS:,}"]
    b.send(a.id, *[b""] * (MAX_PARTS + 1))
    await a.seen.until(lambda: bool(a.seen.strays), "stray")
    assert a.seen.strays == b.seen.strays


# Closing


async def test_close_is_idempotent(a: Node) -> None:
    await a.close()
    await a.close()
    await asyncio.gather(a.close(), a.close())


async def test_transport_that_was_never_bound_can_be_closed(make_transport: MakeTransport) -> None:
    await make_transport().close()


async def test_what_is_queued_goes_out_before_the_end(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    for number in range(100):
        assert a.send(1, b"%d" % number, bytes(10_000))
    await a.close()
    assert [parts[0] for parts in await b.seen.got(100)] == [b"%d" % number for number in range(100)]


async def test_last_answers_of_a_peer_that_goes_arrive(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    a.send(1, b"hello")
    await b.seen.got(1)
    for number in range(100):
        assert b.send(a.id, b"%d" % number, bytes(10_000))
    await b.close()
    await a.seen.saw("down", 1)
    assert [parts[0] for parts in await a.seen.got(100)] == [b"%d" % number for number in range(100)]


async def test_gossip_goes_out_before_the_end(a: Node, b: Node) -> None:
    await a.follow(b)
    b.transport.publish([b"zmqagents/1", b"left"])
    await b.close()
    await a.seen.saw("gossip", [b"zmqagents/1", b"left"])


async def test_no_callback_follows_close(node: MakeNode) -> None:
    a, b, witness = node("a"), node("b"), node("witness")
    await a.dial(1, b.endpoint)
    await a.follow(b)
    await b.dial(1, a.endpoint)
    await witness.dial(1, b.endpoint)
    for _ in range(100):
        b.send(1, b"x")
        b.transport.publish([b"zmqagents/1", b"x"])
    closing = asyncio.ensure_future(a.close())
    await asyncio.sleep(0)
    before = list(a.seen.events)
    await closing
    await b.close()
    await witness.seen.saw("refused", 1)
    assert a.seen.events == before


async def test_closed_transport_takes_nothing_and_raises_nothing(a: Node, b: Node) -> None:
    await a.dial(1, b.endpoint)
    await a.close()
    assert not a.send(1, b"x")
    assert not a.send(b.id, b"x")
    a.transport.open_path(2, b.endpoint)
    a.transport.close_path(1)
    a.transport.subscribe(b.gossip_endpoint)
    a.transport.unsubscribe(b.gossip_endpoint)
    a.transport.publish([b"zmqagents/1", b"x"])


async def test_transport_can_be_closed_from_a_callback(a: Node, b: Node) -> None:
    closing: list[asyncio.Future[None]] = []
    await a.dial(1, b.endpoint)
    a.seen.then = lambda event: closing.append(asyncio.ensure_future(a.close()))
    await b.close()
    await eventually(lambda: bool(closing) and closing[0].done(), "the end")
    await closing[0]


async def test_nothing_is_left_after_close(make_transport: MakeTransport) -> None:
    first = Node(make_transport, "first")  # whatever the process starts once is there from now on
    await first.close()
    descriptors, tasks, threads = _descriptors(), asyncio.all_tasks(), set(threading.enumerate())
    a, b, c = (Node(make_transport, name) for name in "abc")
    await a.dial(1, b.endpoint)
    await a.follow(b)
    await b.dial(1, a.endpoint)
    a.transport.open_path(2, c.endpoint)
    a.send(1, bytes(1 << 21))
    await b.seen.got(1)
    await c.close()
    await a.seen.saw("refused", 2)
    a.transport.open_path(3, b.endpoint.replace("127.0.0.1", "127.0.0.9"))
    await a.close()
    await b.close()
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) == threads
    assert _descriptors() == descriptors


def _descriptors() -> set[str]:
    return {each.name for each in Path("/proc/self/fd").iterdir()} if Path("/proc/self/fd").exists() else set()
