"""The faults of the memory hub; what the transport does without them is in tests/contract/test_transport.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from tests.contract.transports import FAST, Node, at_ports_of
from zmqagents.transport.memory import MemoryHub

QUICK = replace(FAST, zmtp_timeout_ms=100)


class Net:
    """A hub with three nodes, of which the first has dialled the second."""

    def __init__(self) -> None:
        self.hub = MemoryHub()
        self.a, self.b, self.c = (Node(self.hub.transport, name, QUICK) for name in "abc")


@pytest_asyncio.fixture
async def net() -> AsyncIterator[Net]:
    net = Net()
    await net.a.dial(1, net.b.endpoint)
    yield net
    for node in (net.a, net.b, net.c):
        await node.close()


async def test_cut_holds_messages_back_until_it_is_healed(net: Net) -> None:
    net.hub.cut(net.a.id, net.b.id)
    for number in range(3):
        assert net.a.send(1, b"%d" % number)
    await _turns()
    assert not net.b.seen.messages
    net.hub.heal(net.a.id, net.b.id)
    assert await net.b.seen.got(3) == [[b"0"], [b"1"], [b"2"]]
    assert net.a.seen.events == [("up", 1)]


async def test_cut_leaves_other_pairs_alone(net: Net) -> None:
    net.hub.cut(net.a.id, net.b.id)
    await net.c.dial(1, net.b.endpoint)
    net.c.send(1, b"x")
    await net.b.seen.saw("message", net.c.id, [b"x"])


async def test_path_goes_down_but_is_not_refused_when_a_cut_outlasts_the_heartbeats(net: Net) -> None:
    net.hub.cut(net.a.id, net.b.id)
    net.a.send(1, b"lost")
    await net.a.seen.saw("down", 1)
    assert not net.a.send(1, b"x")
    net.hub.heal(net.a.id, net.b.id)
    await net.a.seen.saw("up", 1, times=2)
    net.a.send(1, b"after")
    assert await net.b.seen.got(1) == [[b"after"]]
    assert not net.a.seen.named("refused")


async def test_one_way_cut_lets_answers_pass(net: Net) -> None:
    net.a.send(1, b"hello")
    await net.b.seen.got(1)
    net.hub.cut(net.a.id, net.b.id, one_way=True)
    net.a.send(1, b"held")
    net.b.send(net.a.id, b"answer")
    await net.a.seen.saw("message", 1, [b"answer"])
    assert net.b.seen.messages == [[b"hello"]]
    await net.a.seen.saw("down", 1)


async def test_dial_across_a_cut_is_not_answered_until_it_is_healed(net: Net) -> None:
    net.hub.cut(net.c.id, net.b.id)
    net.c.transport.open_path(1, net.b.endpoint)
    net.c.transport.open_path(2, net.a.endpoint)
    await net.c.seen.saw("up", 2)
    assert net.c.seen.events == [("up", 2)]
    net.hub.heal(net.b.id, net.c.id)
    await net.c.seen.saw("up", 1)


async def test_dropped_messages_are_lost_and_later_ones_arrive(net: Net) -> None:
    net.hub.drop_next(net.a.id, net.b.id, 2)
    for number in range(4):
        assert net.a.send(1, b"%d" % number)
    assert await net.b.seen.got(2) == [[b"2"], [b"3"]]


async def test_dropped_gossip_is_lost(net: Net) -> None:
    await net.c.follow(net.b)
    net.hub.drop_next(net.b.id, net.c.id)
    net.b.transport.publish([b"zmqagents/1", b"1"])
    net.b.transport.publish([b"zmqagents/1", b"2"])
    await net.c.seen.saw("gossip", [b"zmqagents/1", b"2"])
    assert ("gossip", [b"zmqagents/1", b"1"]) not in net.c.seen.events


async def test_frozen_node_is_down_but_not_refused_and_up_when_it_is_thawed(net: Net) -> None:
    net.hub.freeze(net.b.id)
    net.a.send(1, b"x")
    await net.a.seen.saw("down", 1)
    net.c.transport.open_path(1, net.b.endpoint)
    net.c.transport.open_path(2, net.a.endpoint)
    await net.c.seen.saw("up", 2)
    assert not net.b.seen.messages
    net.hub.thaw(net.b.id)
    await net.a.seen.saw("up", 1, times=2)
    await net.c.seen.saw("up", 1)
    assert not net.a.seen.named("refused")


async def test_short_freeze_loses_nothing(net: Net) -> None:
    net.hub.freeze(net.b.id)
    net.a.send(1, b"x")
    await _turns()
    net.hub.thaw(net.b.id)
    assert await net.b.seen.got(1) == [[b"x"]]
    assert net.a.seen.events == [("up", 1)]


async def test_killed_node_is_down_then_refused_and_tells_nothing(net: Net) -> None:
    await net.b.dial(1, net.c.endpoint)
    net.a.send(1, b"never read")
    before = list(net.b.seen.events)
    net.hub.kill(net.b.id)
    await net.a.seen.saw("refused", 1)
    assert net.a.seen.events[:3] == [("up", 1), ("down", 1), ("refused", 1)]
    assert not net.b.send(1, b"x")
    net.c.send(net.b.id, b"x")
    await _turns()
    assert net.b.seen.events == before


async def test_place_of_a_killed_node_can_be_taken(net: Net) -> None:
    net.hub.kill(net.b.id)
    await net.a.seen.saw("refused", 1)
    heir = Node(net.hub.transport, "heir", at_ports_of(net.b.bound, QUICK))
    await net.a.seen.saw("up", 1, times=2)
    await heir.close()


async def test_refused_dials_back_off_to_the_longest_wait(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    net.hub.kill(net.b.id)
    waits: list[float] = []
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def note(delay: float, *rest: object) -> asyncio.TimerHandle:
        waits.append(delay)
        return call_later(delay, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_later", note)
    await net.a.seen.saw("refused", 1, times=6)
    own = [delay for delay in waits if delay < 1]
    assert own[:6] == [0.02, 0.02, 0.04, 0.08, 0.1, 0.1]


async def test_nothing_is_reported_from_within_a_call(net: Net) -> None:
    net.c.transport.open_path(1, net.b.endpoint)
    net.c.transport.subscribe(net.b.gossip_endpoint)
    net.a.send(1, b"x")
    net.hub.kill(net.c.id)
    assert not net.c.seen.events
    assert not net.b.seen.events


async def _turns() -> None:
    """Long enough for everything that is due at once."""
    for _ in range(20):
        await asyncio.sleep(0)
