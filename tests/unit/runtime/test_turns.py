"""Publishers that wait for room, each in its turn."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, cast

import pytest

from tests.unit.protocol.builders import event, node_id
from zmqagents.errors import BackpressureError, RuntimeNotStartedError
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import NodeId
from zmqagents.runtime.turns import Turns
from zmqagents.transport.driver import Driver

ONE, TWO = node_id(1), node_id(2)
DEADLINE_S = 10.0


class Link:
    """Stands for driver and node: nodes take as many events as they have been given room for."""

    def __init__(self) -> None:
        self.node = self
        self.room: Counter[NodeId] = Counter()
        self.closed = False
        self.on_change: Callable[[], None] | None = None

    def can_publish(self, peer: NodeId) -> bool:
        return self.room[peer] > 0

    def no_room(self, peer: NodeId, timeout_s: float) -> BackpressureError:
        return BackpressureError(f"{peer!r} for {timeout_s:g} s", peer=repr(peer))

    def give(self, peer: NodeId, count: int) -> None:
        self.room[peer] += count
        if self.on_change is not None:
            self.on_change()


class Publishers:
    """What is sent, by whom, through one ``Turns``."""

    def __init__(self, timeout_s: float = DEADLINE_S) -> None:
        self.link = Link()
        self.turns = Turns(cast("Driver", self.link), timeout_s, self._send)
        self.sent: list[str] = []
        self.of: dict[int, NodeId] = {}

    def _send(self, sent: f.Event) -> None:
        self.link.room[self.of[id(sent)]] -= 1
        self.sent.append(sent.message_id)

    async def wait(self, name: str, *peers: NodeId) -> asyncio.Task[None]:
        """A publisher of one event to each of the peers, which waits."""
        events = [(peer, event(f"{name}{peer[-1]}")) for peer in peers]
        self.of.update((id(one), peer) for peer, one in events)
        task = asyncio.ensure_future(self.turns.wait(events))
        await asyncio.sleep(0)
        return task


async def ended(tasks: Iterable[asyncio.Task[None]]) -> list[Any]:
    return await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), DEADLINE_S)


async def test_all_that_there_is_room_for_is_sent_at_once_and_in_order() -> None:
    publishers = Publishers()
    tasks = [await publishers.wait(name, ONE) for name in "abcd"]
    publishers.link.give(ONE, 3)
    assert publishers.sent == ["a1", "b1", "c1"]
    publishers.link.give(ONE, 1)
    assert await ended(tasks) == [None] * 4
    assert publishers.sent == ["a1", "b1", "c1", "d1"]
    assert publishers.link.on_change is None


async def test_publisher_goes_on_when_the_last_of_its_events_is_sent() -> None:
    publishers = Publishers()
    task = await publishers.wait("a", ONE, TWO)
    publishers.link.give(TWO, 1)
    await asyncio.sleep(0)
    assert (publishers.sent, task.done()) == (["a2"], False)
    publishers.link.give(ONE, 1)
    assert await ended([task]) == [None]


async def test_later_event_waits_behind_those_that_wait_though_there_is_room() -> None:
    publishers = Publishers()
    task = await publishers.wait("a", ONE)
    publishers.link.room[ONE] = 1
    assert publishers.turns.are_due(ONE)
    publishers.link.give(ONE, 0)
    assert await ended([task]) == [None]
    assert publishers.turns.are_due(ONE), "its room is used up"


async def test_publisher_that_has_given_up_is_left_out() -> None:
    publishers = Publishers()
    tasks = [await publishers.wait(name, ONE) for name in "abc"]
    tasks[1].cancel()
    await asyncio.sleep(0)
    publishers.link.give(ONE, 2)
    await ended(tasks)
    assert publishers.sent == ["a1", "c1"]


async def test_waiting_too_long_raises_with_the_node_and_sends_nothing_afterwards() -> None:
    publishers = Publishers(timeout_s=0.05)
    tasks = [await publishers.wait(name, ONE) for name in "ab"]
    outcomes = await ended(tasks)
    assert [type(outcome) for outcome in outcomes] == [BackpressureError] * 2
    assert outcomes[0].peer == repr(ONE)
    publishers.link.give(ONE, 5)
    assert publishers.sent == []
    assert publishers.link.on_change is None


async def test_those_that_came_later_wait_their_whole_time() -> None:
    publishers = Publishers(timeout_s=0.2)
    first = await publishers.wait("a", ONE)
    await asyncio.wait([first], timeout=0.1)
    second = await publishers.wait("b", ONE)
    [outcome] = await ended([first])
    assert isinstance(outcome, BackpressureError)
    assert not second.done()
    publishers.link.give(ONE, 1)
    assert await ended([second]) == [None]
    assert publishers.sent == ["b1"]


async def test_who_waits_when_the_runtime_is_stopped_is_told() -> None:
    publishers = Publishers()
    task = await publishers.wait("a", ONE)
    publishers.link.closed = True
    publishers.link.give(ONE, 1)
    with pytest.raises(RuntimeNotStartedError, match="was stopped before the event was sent"):
        await asyncio.wait_for(task, DEADLINE_S)
    assert publishers.sent == []
