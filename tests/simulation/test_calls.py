"""Calls and events between processes whose connections and lives end: each call has one outcome, and the right one."""

from __future__ import annotations

import pytest

from tests.simulation.network import Network
from tests.simulation.process import Call, Process, agent_at, converged, start
from tests.unit.protocol.builders import reply
from zmqagents.errors import LocalProtocolError
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Fate


def ended(*calls: Call) -> bool:
    return all(call.outcomes for call in calls)


def test_call_is_answered() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    call = a.call(b, "hello")
    network.run_until(lambda: ended(call), within_s=0.1)
    assert call.outcome == reply(call.call_id, "b hello")
    assert len(b.node.served) == len(a.node.pending) == 0


def test_each_answer_reaches_its_own_call() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=0.05)
    calls = [a.call(b, f"text {number}") for number in range(200)]
    network.run_until(lambda: ended(*calls))
    assert [call.outcome for call in calls] == [reply(call.call_id, f"b {call.target}") for call in calls]


def test_first_call_to_a_member_known_by_hearsay_dials_it() -> None:
    network = Network()
    a, b, c = (Process(network, name) for name in "abc")
    a.sight(c)
    b.sight(c)
    network.run_until(lambda: converged([a, b, c]))
    assert b.node_id not in a.node.state.peers or a.node.state.peers[b.node_id].path is None
    call = a.call(b)
    network.run_until(lambda: ended(call), within_s=0.5)
    assert isinstance(call.outcome, f.Reply)


def test_call_to_somebody_unknown_is_refused() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b")
    with pytest.raises(LocalProtocolError, match="not a member"):
        a.call(b)
    assert len(a.node.pending) == 0


def test_cancelled_call_has_no_outcome_and_its_handler_is_told() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    call = a.call(b)
    network.run(0.1)
    a.cancel(call)
    network.run(0.5)
    assert b.cancelled == [(a.node_id, call.call_id)]
    assert call.outcomes == []
    assert a.node.pending.late_answers == 1, "the handler's own end"


def test_call_ends_at_its_deadline_and_its_handler_is_told() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    before_s = network.now_s
    call = a.call(b, deadline_s=0.3)
    network.run_until(lambda: ended(call))
    assert call.outcome is Fate.DEADLINE
    assert network.now_s - before_s == pytest.approx(0.3, abs=0.01)
    network.run_until(lambda: b.cancelled == [(a.node_id, call.call_id)], within_s=0.1)


def test_answer_after_the_deadline_is_counted_and_dropped() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=0.5)
    calls = [a.call(b, deadline_s=0.01) for _ in range(20)]
    network.run(3.0)
    assert [call.outcomes for call in calls] == [[Fate.DEADLINE]] * 20
    assert a.node.pending.late_answers == 20


def test_call_in_flight_ends_as_peer_lost_when_its_target_is_killed() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    call = a.call(b)
    network.run_until(lambda: b.executed.total() == 1)
    b.kill()
    killed_s = network.now_s
    network.run_until(lambda: ended(call))
    assert call.outcome is Fate.PEER_LOST
    assert network.now_s - killed_s < 1.0
    assert a.members == {"a"}


def test_call_that_was_never_sent_ends_as_undeliverable_when_its_target_is_killed() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    network.run(2.0)
    b.kill()
    network.run(0.01)  # the connections are gone, which proves nothing yet
    assert not a.lost(b)
    call = a.call(b)
    network.run_until(lambda: ended(call), within_s=1.0)
    assert call.outcome is Fate.UNDELIVERABLE


def test_everybody_notices_that_a_process_was_killed() -> None:
    network = Network()
    *others, last = start(network, "a", "b", "c", "d")
    last.kill()
    network.run_until(lambda: converged(others), within_s=1.0)


def test_process_that_cannot_be_reached_is_lost_after_a_while() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    call = a.call(b)
    network.run(0.1)
    network.cut("a", "b")
    network.run(3.0)
    assert not ended(call)
    network.run_until(lambda: ended(call), within_s=2.0)
    assert call.outcome is Fate.PEER_LOST


def test_caller_that_is_killed_is_waited_for_no_more() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    call = a.call(b)
    network.run(0.1)
    a.kill()
    network.run_until(lambda: b.serving_ended == [call.call_id], within_s=1.0)
    assert len(b.node.served) == 0


def test_unfinished_events_are_handed_back_when_their_receiver_is_killed() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    for message_id in ("e1", "e2", "e3"):
        a.publish(b, message_id)
    network.run_until(lambda: len(b.heard) == 3)
    [first, _, _] = a_handling = list(b.node.state.peers[a.node_id].handling)
    assert len(a_handling) == 3
    b.do(lambda: b.node.event_done(a.node_id, first, [agent_at(b.node_id)]))
    network.run(0.1)
    b.kill()
    network.run_until(lambda: a.lost(b), within_s=1.0)
    assert a.dead == [(agent_at(b.node_id), "e2"), (agent_at(b.node_id), "e3")]
    assert a.node.unfinished_events == 0


def test_finished_events_are_forgotten_by_their_publisher() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    for number in range(50):
        a.publish(b, f"e{number}")
    network.run_until(lambda: a.node.unfinished_events == 0, within_s=1.0)
    assert b.heard == [(a.node_id, f"e{number}") for number in range(50)]


def test_end_of_a_handler_from_an_earlier_life_of_the_link_finishes_no_event_that_is_sent_again() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    a.publish(b, "old")
    network.run(0.1)
    assert a.node.unfinished_events == 1
    [old] = b.node.state.peers[a.node_id].handling
    a.do(lambda: a.node.state.reset_link(a.node.state.peers[b.node_id]))
    a.do(lambda: a.node._greeter.greet_later(a.node.state.peers[b.node_id], network.now_s))
    network.run_until(lambda: b.heard == [(a.node_id, "old")] * 2, within_s=2.0)
    b.do(lambda: b.node.event_done(a.node_id, old, [agent_at(b.node_id)]))
    network.run(1.0)
    assert a.node.unfinished_events == 1


@pytest.mark.parametrize("seed", range(5))
def test_blips_lose_nothing_and_repeat_nothing(seed: int) -> None:
    network = Network(seed)
    a, b = start(network, "a", "b", handler_s=0.01)
    calls: list[Call] = []
    for number in range(60):
        calls.append(a.call(b) if number % 2 else b.call(a))
        a.publish(b, f"e{number}")
        network.run(network.random.uniform(0, 0.03))
        if number % 6 == 0:
            network.blip("a", "b")
    network.run_until(lambda: ended(*calls) and a.node.unfinished_events == 0, within_s=10.0)
    assert all(isinstance(call.outcome, f.Reply) for call in calls)
    assert max((b.executed + a.executed).values()) == 1
    assert b.heard == [(a.node_id, f"e{number}") for number in range(60)]
    assert a.node.state.counters.resets == b.node.state.counters.resets == 0


def test_short_cut_loses_nothing() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=0.01)
    network.run(2.0)
    network.cut("a", "b")
    calls = [a.call(b), b.call(a)]
    network.run(2.5)
    network.mend("a", "b")
    network.run_until(lambda: ended(*calls), within_s=3.0)
    assert all(isinstance(call.outcome, f.Reply) for call in calls)


def test_busy_process_is_not_lost_and_answers_when_it_wakes() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    call = a.call(b)
    b.freeze(60.0)
    network.run(59.0)
    assert not a.lost(b)
    envelopes = network.envelopes
    network.run_until(lambda: ended(call), within_s=3.0)
    assert isinstance(call.outcome, f.Reply)
    assert b.executed.total() == 1
    assert network.envelopes - envelopes < 60, "it is not buried under what was asked meanwhile"


def test_busy_process_whose_connection_blipped_is_not_flooded_when_it_wakes() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    b.freeze(60.0)
    network.run(1.0)
    calls = [a.call(b) for _ in range(100)]
    network.blip("a", "b")
    network.run(58.0)
    assert not a.lost(b)
    envelopes = network.envelopes
    network.run_until(lambda: ended(*calls), within_s=3.0)
    assert all(isinstance(call.outcome, f.Reply) for call in calls)
    assert a.node.state.peers[b.node_id].link.counters.resends <= 200
    assert network.envelopes - envelopes < 400


def test_process_that_leaves_is_gone_at_once_and_finishes_what_it_was_asked() -> None:
    network = Network()
    a, b, c = start(network, "a", "b", "c")
    call = a.call(b)
    network.run_until(lambda: ended(call))
    before_s = network.now_s
    b.leave()
    network.run_until(lambda: a.lost(b) and c.lost(b))
    assert network.now_s - before_s < 0.05
    network.run(30.0)
    assert converged([a, c])
    assert a.node.state.peers.keys() == {c.node_id}
    assert [*a.refusals, *c.refusals, *a.strays, *c.strays] == []
