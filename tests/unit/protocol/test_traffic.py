"""Calls and events of one node on its links."""

from __future__ import annotations

import pytest

from tests.unit.protocol.agents.wiring import Site, Wiring, keys_at, node_id
from tests.unit.protocol.builders import event, reply, request
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.calls import CallLimits
from zmqagents.protocol.events import EventLimits
from zmqagents.protocol.state import NodeLimits

NARROW = NodeLimits(heartbeat_s=1e9, calls=CallLimits(window_calls=2), events=EventLimits(window_events=2))


@pytest.fixture
def pair() -> tuple[Wiring, Site, Site]:
    """A caller with narrow windows, and a host."""
    wiring = Wiring()
    return wiring, wiring.join(0, limits=NARROW), wiring.join(1, ["worker"])


def test_call_to_who_is_no_member_is_refused_and_nothing_is_done(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, _ = pair
    assert not caller.node.call(node_id(9), request(1), "token", None, wiring.now_s)
    assert not caller.node.publish(node_id(9), event("e"), wiring.now_s)
    assert len(caller.node.pending) == 0
    assert caller.node.unfinished_events == 0


def test_call_ends_once_with_its_answer(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    host.slow.add("worker/a")
    call = caller.call("worker/a", "x")
    wiring.settle()
    [running] = host.running
    assert running.frame is not None
    host.finish("worker/a")
    host.node.answer(caller.node_id, reply(call.sent_as, "again"))
    wiring.settle()
    assert call.outcomes == ["1:x"]


def test_call_past_its_deadline_is_cancelled_at_its_target(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    host.slow.add("worker/a")
    call = caller.call("worker/a", timeout_s=0.2)
    wiring.settle()
    assert caller.node.wake_s <= wiring.now_s + 0.2
    wiring.pass_time(0.3)
    assert call.outcomes == ["DEADLINE"]
    assert host.cancelled == [call.sent_as]


def test_cancel_of_a_call_that_has_ended_sends_nothing(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, _ = pair
    call = caller.call("worker/a")
    wiring.settle()
    caller.cancel(call)
    wiring.settle()
    assert not wiring.sent["Cancel"]


def test_calls_in_flight_end_as_lost_when_the_link_is_reset(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    host.slow.add("worker/a")
    call = caller.call("worker/a")
    wiring.settle()
    wiring.reset(caller, host)
    assert call.outcomes == ["PEER_LOST"]


def test_call_window_is_told_of(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    host.slow.add("worker/a")
    assert caller.node.can_send(host.node_id)
    for _ in range(2):
        caller.call("worker/a")
    wiring.settle()
    assert not caller.node.can_send(host.node_id)
    host.finish("worker/a")
    wiring.settle()
    assert caller.node.can_send(host.node_id)


def test_event_window_is_told_of_and_what_is_beyond_it_follows_in_order(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    host.slow.add("worker/a")
    for text in "abcd":
        caller.publish(text, "worker/a")
    wiring.settle()
    assert not caller.node.can_publish(host.node_id)
    assert host.seen("worker/a") == ["a", "b"]
    assert caller.node.unfinished_events == 4
    host.slow.clear()
    host.finish("worker/a", 2)
    wiring.settle()
    assert host.seen("worker/a") == ["a", "b", "c", "d"]
    assert caller.node.can_publish(host.node_id)
    assert caller.node.unfinished_events == 0


def test_event_of_a_life_of_the_link_that_is_over_is_finished_without_a_word(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    host.slow.add("worker/a")
    caller.publish("a", "worker/a")
    wiring.settle()
    wiring.reset(host, caller)
    wiring.sent.clear()
    host.finish("worker/a")
    wiring.settle()
    assert not wiring.sent["EventDone"]


def test_events_that_a_lost_peer_had_are_counted_and_those_of_others_are_not() -> None:
    wiring = Wiring()
    caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    [key] = keys_at(two)
    two.slow.add(key)
    caller.node.agency.locations.learn(key, one.node_id)
    caller.publish("forwarded", key)
    wiring.settle()
    one.publish("own", key)
    wiring.settle()
    abandoned: list[e.Effect] = []
    perform = one._perform
    one._perform = lambda effect: abandoned.append(effect) if isinstance(effect, e.EventsAbandoned) else perform(effect)  # type: ignore[method-assign]
    wiring.reset(one, two)
    assert abandoned == [e.EventsAbandoned(two.node_id, 1)]


def test_cancel_of_a_call_that_runs_is_for_the_application(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    host.slow.add("worker/a")
    call = caller.call("worker/a")
    wiring.settle()
    caller.cancel(call)
    wiring.settle()
    assert host.cancelled == [call.sent_as]


def test_operation_on_the_node_itself_goes_to_the_application(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    came: list[e.Incoming] = []
    host._incoming = lambda peer, number, frame: came.append(e.Incoming(peer, number, frame))  # type: ignore[method-assign]
    frame = f.Agent(caller.node.pending.next_id(), f.Operation.MATCH, "", None, b"[]")
    caller.node.call(host.node_id, frame, "token", None, wiring.now_s)
    wiring.settle()
    assert [one.frame for one in came] == [frame]


def test_link_comes_up_again_when_both_ends_have_closed_it_at_once(pair: tuple[Wiring, Site, Site]) -> None:
    wiring, caller, host = pair
    wiring.reset(caller, host)
    wiring.reset(host, caller)
    wiring.now_s += 0.6
    for site in (caller, host):  # both greet anew before they read the other's BYE
        site.node.tick(wiring.now_s)
        site.work()
    wiring.pass_time(2.0)
    call = caller.call("worker/a", "x")
    wiring.settle()
    assert call.outcomes == ["1:x"]
