"""The asyncio shell of a node: timers, flushes, waiting, and what goes wrong above it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

import pytest

from zmqagents.errors import BackpressureError
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import AgentKey, NodeId, PathId, make_node_id
from zmqagents.protocol.membership import MemberChange
from zmqagents.protocol.node import Node
from zmqagents.protocol.records import HostedType, Phase, Record
from zmqagents.protocol.state import NodeLimits
from zmqagents.transport.base import Bound, TransportOptions
from zmqagents.transport.driver import Driver
from zmqagents.transport.memory import MemoryHub

DEADLINE_S = 5.0
ENDPOINT = "tcp://127.0.0.1:20001"


class Application:
    """Notes what it is told, and raises where it is asked to."""

    def __init__(self) -> None:
        self.incoming: list[f.Request | f.Event | f.Agent | f.Cancel] = []
        self.ended: list[f.Reply | f.Error | e.Fate] = []
        self.raising: list[Exception] = []
        self.told: Callable[[], None] | None = None
        """Called when something has come in."""

    def on_incoming(self, peer: NodeId, number: int, frame: f.Request | f.Event | f.Agent | f.Cancel) -> None:
        if self.raising:
            raise self.raising.pop()
        self.incoming.append(frame)
        if self.told is not None:
            self.told()

    def on_call_ended(self, token: Any, peer: NodeId, outcome: f.Reply | f.Error | e.Fate) -> None:
        self.ended.append(outcome)
        if self.told is not None:
            self.told()

    def on_serving_ended(self, tokens: list[Any]) -> None: ...
    def on_events_abandoned(self, peer: NodeId, events: int) -> None: ...
    def on_event_dead(self, event: f.Event, reason: str) -> None: ...
    def on_pack(self, key: AgentKey) -> None: ...
    def on_evicted(self, key: AgentKey, to: NodeId | None, lost: str) -> None: ...
    def on_member_changed(self, change: MemberChange) -> None: ...


class Station:
    """A driver with its node, its application and its transport, whose sends are counted."""

    def __init__(self, hub: MemoryHub, name: str) -> None:
        self.transport = hub.transport()
        self.sent: list[Sequence[f.Part]] = []
        self.application = Application()
        self._name = name
        self.driver = Driver(self.transport, self._open)
        self.node = self.driver.node
        put = self.transport.send

        def send(path: PathId, parts: Sequence[f.Part]) -> bool:
            self.sent.append(parts)
            return put(path, parts)

        self.transport.send = send  # type: ignore[method-assign]

    def _open(self, driver: Driver) -> Node:
        node_id = make_node_id(os.urandom(16))
        bound = self.transport.bind(node_id, TransportOptions(zmtp_heartbeat_ms=50, zmtp_timeout_ms=150), driver)
        return Node(self._record(node_id, bound), NodeLimits(heartbeat_s=0.05), now_s=driver.now_s)

    def _record(self, node_id: NodeId, bound: Bound) -> Record:
        return Record(
            node_id=node_id,
            version=1,
            phase=Phase.ACTIVE,
            instance_id=self._name,
            cluster="test",
            endpoints=bound.endpoints,
            gossip_endpoints=bound.gossip_endpoints,
            protocol=(1, 1),
            types={"a": HostedType("by_key", 1)} if self._name == "two" else {},
            pinned=frozenset(),
            subscriptions={},
            readable={},
            load=0,
        )

    async def until(self, condition: Any) -> None:
        assert await self.driver.wait_until(condition, DEADLINE_S)

    def call(self, other: Station, deadline_s: float | None = None) -> None:
        frame = f.Request(self.node.pending.next_id(), "a/b", "m", None, "T", "c", None, 0, None, b"")
        self.node.call(other.node.node_id, frame, object(), deadline_s, self.driver.now_s)
        self.driver.schedule_flush()


@pytest.fixture
async def hub() -> MemoryHub:
    return MemoryHub()


@pytest.fixture
async def pair(hub: MemoryHub) -> AsyncIterator[tuple[Station, Station]]:
    """Two stations that know each other."""
    one, two = Station(hub, "one"), Station(hub, "two")
    for station in (one, two):
        station.driver.attach(station.application)
    one.driver.sighted(two.node.record.endpoints, two.node.node_id)
    await one.until(lambda: one.node.is_synchronised() and two.node.node_id in one.node.state.peers)
    await two.until(lambda: two.node.is_synchronised() and one.node.node_id in two.node.state.peers)
    yield one, two
    for station in (one, two):
        await station.driver.close()


async def test_what_is_sent_in_one_turn_of_the_loop_leaves_as_one_message(pair: tuple[Station, Station]) -> None:
    one, two = pair
    one.sent.clear()
    for _ in range(100):
        one.call(two)
    await two.until(lambda: len(two.application.incoming) == 100)
    assert sum(len(parts[0]) > 1_000 for parts in one.sent) == 1


async def test_deadline_of_a_call_wakes_the_node(pair: tuple[Station, Station]) -> None:
    one, two = pair
    one.call(two, one.driver.now_s + 0.05)
    await one.until(lambda: one.application.ended == [e.Fate.DEADLINE])


async def test_exception_of_the_application_is_logged_and_the_next_frame_served(
    pair: tuple[Station, Station], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = pair
    two.application.raising.append(ValueError("the application's own fault"))
    one.call(two)
    one.call(two)
    await two.until(lambda: len(two.application.incoming) == 1)
    assert "Incoming could not be handled" in caplog.text
    assert "the application's own fault" in caplog.text


async def test_input_before_there_is_an_application_is_logged_as_our_own_fault(
    hub: MemoryHub, caplog: pytest.LogCaptureFixture
) -> None:
    station = Station(hub, "one")
    station.node.state.effects.append(e.ServingEnded([]))
    station.driver.perform()
    assert "ServingEnded could not be handled" in caplog.text
    await station.driver.close()


async def test_what_the_transport_calls_stray_is_counted_and_logged(
    pair: tuple[Station, Station], caplog: pytest.LogCaptureFixture
) -> None:
    pair[0].driver.on_stray("a message of 5,001 parts")
    assert pair[0].node.state.counters.strays == 1
    assert "dropped a message of an unknown sender: a message of 5,001 parts" in caplog.text


async def test_illegal_message_is_logged_with_the_name_of_its_sender(
    pair: tuple[Station, Station], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = pair
    two.driver.on_message(one.node.node_id, [b"garbage"])
    assert two.node.state.counters.strays == 1
    assert "dropped a message of one (" in caplog.text


async def test_gossip_that_leaves_nothing_to_do_is_followed_by_no_flush(
    pair: tuple[Station, Station], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = pair
    flushes: list[float] = []
    monkeypatch.setattr(one.node, "tick", lambda now_s: None)
    monkeypatch.setattr(one.node, "receive_gossip", lambda parts, now_s: None)
    await asyncio.sleep(0)  # what was scheduled before is flushed
    monkeypatch.setattr(one.driver, "_send", lambda: flushes.append(one.driver.now_s))
    one.driver.on_gossip([])
    await asyncio.sleep(0)
    assert not flushes
    one.call(two)
    one.driver.on_gossip([])
    await asyncio.sleep(0)
    assert len(flushes) == 1


# -- lone messages ---------------------------------------------------------------------------------------------------


class Line:
    """Messages of one station to another are kept; each comes, as a lone one, when the test says so."""

    def __init__(self, one: Station, two: Station) -> None:
        self.one, self.two = one, two
        self.kept: list[tuple[Station, list[f.Part]]] = []
        for station, other in ((one, two), (two, one)):
            station.transport.send = partial(self._keep, other)  # type: ignore[method-assign]

    def _keep(self, to: Station, path: PathId, parts: Sequence[f.Part]) -> bool:
        self.kept.append((to, list(parts)))
        return True

    def bring(self) -> None:
        """Let what was kept first come."""
        to, parts = self.kept.pop(0)
        to.driver.on_lone_message((self.two if to is self.one else self.one).node.node_id, parts)

    def call(self, calls: int = 1) -> None:
        """One station calls the other, all in one message."""
        for _ in range(calls):
            self.one.call(self.two)
        self.one.driver._send()

    def answer(self) -> None:
        """The other station answers the last call."""
        call = self.two.application.incoming[-1]
        assert isinstance(call, f.Request)
        self.two.node.answer(self.one.node.node_id, f.Reply(call.call_id, "", "", b""))
        self.two.driver.message_made(urgent=True)


@pytest.fixture
async def line(pair: tuple[Station, Station]) -> Line:
    for station in pair:
        assert await station.driver.quiet(DEADLINE_S)
        await asyncio.sleep(0)
    return Line(*pair)


async def test_what_a_lone_call_starts_begins_when_all_else_is_done(line: Line) -> None:
    driver, noted = line.two.driver, list[object]()

    def begin() -> None:
        noted.append((driver.is_lone, driver.node.state.effects))
        line.answer()

    def told() -> None:
        noted.append(driver.is_lone)
        driver.go_on_with(begin)
        noted.append(driver.is_lone)

    line.two.application.told = told
    line.call()
    line.bring()
    assert noted == [True, False, (False, [])]
    assert [to for to, _ in line.kept] == [line.one], "the answer has left already"
    assert not driver._flush_scheduled, "and nothing is left to send"


async def test_caller_that_goes_on_with_a_lone_answer_may_call_again_at_once(line: Line) -> None:
    driver = line.one.driver
    line.one.application.told = lambda: driver.go_on_with(line.call)
    line.call()
    line.bring()
    line.answer()
    line.bring()
    assert len(line.one.application.ended) == 1
    line.bring()
    assert len(line.two.application.incoming) == 2


async def test_lone_message_that_starts_nothing_is_acknowledged_with_the_turn(line: Line) -> None:
    line.call()
    line.bring()
    assert not line.kept
    assert line.two.driver._flush_scheduled


async def test_message_of_several_calls_is_not_lone(line: Line) -> None:
    lone = list[bool]()
    line.two.application.told = lambda: lone.append(line.two.driver.is_lone)
    line.call(3)
    line.bring()
    assert lone == [False] * 3


async def test_call_that_comes_while_another_is_served_is_not_lone(line: Line) -> None:
    lone = list[bool]()
    line.two.application.told = lambda: lone.append(line.two.driver.is_lone)
    for _ in range(2):
        line.call()
        line.bring()
    assert lone == [True, False]


async def test_message_is_lone_only_if_the_transport_says_so(line: Line) -> None:
    lone = list[bool]()
    line.two.application.told = lambda: lone.append(line.two.driver.is_lone)
    line.call()
    line.two.driver.on_message(line.one.node.node_id, line.kept.pop()[1])
    assert lone == [False]


async def test_what_a_lone_message_starts_may_end_the_program(line: Line) -> None:
    driver = line.two.driver

    def end() -> None:
        raise KeyboardInterrupt

    line.two.application.told = lambda: driver.go_on_with(end)
    line.call()
    with pytest.raises(KeyboardInterrupt):
        line.bring()
    assert driver._flush_scheduled
    line.call()
    line.two.application.told = None
    line.bring()
    assert len(line.two.application.incoming) == 2, "what began before does not begin again"


async def test_what_a_lone_message_starts_may_close_the_driver(line: Line) -> None:
    driver = line.two.driver
    line.two.application.told = lambda: driver.go_on_with(lambda: closing.send(None))
    closing = driver.close()
    line.call()
    line.bring()
    assert driver.closed
    assert driver._timer is None
    closing.close()


# -- waiting ---------------------------------------------------------------------------------------------------------


async def test_waiting_ends_when_the_condition_holds_after_something_has_changed(pair: tuple[Station, Station]) -> None:
    driver, done = pair[0].driver, False
    waiting = asyncio.ensure_future(driver.wait_until(lambda: done, None))
    await asyncio.sleep(0)
    done = True
    driver.changed()
    assert await asyncio.wait_for(waiting, DEADLINE_S) is True


async def test_waiting_ends_at_its_deadline(pair: tuple[Station, Station]) -> None:
    assert await pair[0].driver.wait_until(lambda: False, 0.01) is False
    assert await pair[0].driver.wait_until(lambda: True, 0.0) is True


async def test_waiting_ends_when_the_driver_is_closed(pair: tuple[Station, Station]) -> None:
    waiting = asyncio.ensure_future(pair[0].driver.wait_until(lambda: False, None))
    await asyncio.sleep(0)
    await pair[0].driver.close()
    assert await asyncio.wait_for(waiting, DEADLINE_S) is False


async def test_waiting_that_is_cancelled_leaves_nothing(pair: tuple[Station, Station]) -> None:
    waiting = asyncio.ensure_future(pair[0].driver.wait_until(lambda: False, 60))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait([waiting])
    assert not pair[0].driver._waiters


async def test_waiting_for_room_returns_once_there_is_some(pair: tuple[Station, Station]) -> None:
    one, two = pair
    room = False
    waiting = asyncio.ensure_future(one.driver.wait_for_room(two.node.node_id, lambda node_id: room, 60))
    await asyncio.sleep(0)
    room = True
    one.driver.changed()
    await asyncio.wait_for(waiting, DEADLINE_S)


async def test_waiting_for_room_in_vain_names_who_takes_no_more(pair: tuple[Station, Station]) -> None:
    one, two = pair
    with pytest.raises(BackpressureError, match=r"^two \(\w{8}\) has taken no more messages for 0.01 s") as full:
        await one.driver.wait_for_room(two.node.node_id, lambda node_id: False, 0.01)
    assert (full.value.peer or "").startswith("two")


async def test_sender_that_waits_is_woken_when_what_is_queued_has_left(pair: tuple[Station, Station]) -> None:
    one, two = pair
    link = one.node.state.peers[two.node.node_id].link
    one.call(two)
    await asyncio.wait_for(one.driver.wait_for_room(two.node.node_id, lambda node_id: not link._queued, 60), DEADLINE_S)


async def test_quiet_means_that_all_is_acknowledged(pair: tuple[Station, Station], hub: MemoryHub) -> None:
    one, two = pair
    one.call(two)
    assert not one.node.is_quiet()
    assert await one.driver.quiet(DEADLINE_S)
    hub.freeze(two.node.node_id)
    one.call(two)
    assert not await one.driver.quiet(0.02)
    hub.thaw(two.node.node_id)


# -- closing ---------------------------------------------------------------------------------------------------------


async def test_leaving_is_told_before_the_sockets_close(pair: tuple[Station, Station]) -> None:
    one, two = pair
    await one.driver.leave(timeout_s=1)
    await one.driver.close()
    await two.until(lambda: two.node.membership.get(one.node.node_id) is None)


async def test_close_may_come_twice_and_leaves_no_timer(pair: tuple[Station, Station]) -> None:
    driver = pair[0].driver
    await driver.close()
    await driver.close()
    assert driver.closed
    assert driver._timer is None
    driver.schedule_flush()
    driver.sighted((ENDPOINT,), None)
    assert driver._timer is None
    assert not driver._flush_scheduled
