"""The simulated network itself: its faults happen, do what they say, and end."""

from __future__ import annotations

import pytest

from tests.simulation.clocks import Clock
from tests.simulation.connections import LATE_S, ZMTP_TIMEOUT_S
from tests.simulation.network import Network
from tests.simulation.process import Process, converged, start
from zmqagents.protocol import frames as f


def answered(network: Network, a: Process, b: Process, within_s: float) -> bool:
    call = a.call(b)
    network.run(within_s)
    return bool(call.outcomes) and isinstance(call.outcomes[0], f.Reply)


@pytest.mark.parametrize(
    ("attribute", "counter"), [("loss", "loss"), ("duplication", "dup"), ("reordering", "reorder")]
)
def test_link_survives_what_chance_does_to_envelopes(attribute: str, counter: str) -> None:
    network = Network(1)
    a, b = start(network, "a", "b", handler_s=0.01)
    setattr(network, attribute, 0.3)
    calls = []
    for number in range(200):
        calls.append(a.call(b))
        a.publish(b, f"e{number}")
        network.run(0.01)
    network.calm()
    network.run_until(lambda: all(call.outcomes for call in calls) and not a.node.unfinished_events, within_s=5.0)
    assert network.caused[counter] > 20
    assert network.caused.keys() == {counter}
    assert all(isinstance(call.outcome, f.Reply) for call in calls)
    assert max(b.executed.values()) == 1
    assert [message_id for _, message_id in b.heard] == [f"e{number}" for number in range(200)]


def test_cut_that_ends_before_zmtp_notices_delays_what_is_on_its_way() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    network.cut("a", "b")
    call = a.call(b)
    network.run(ZMTP_TIMEOUT_S - 0.1)
    assert not call.outcomes
    network.mend("a", "b")
    network.run(0.1)
    assert isinstance(call.outcome, f.Reply)
    assert a.node.state.counters.resets == 0


def test_one_way_cut_stops_one_direction_until_the_connection_is_given_up() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    network.run(1.0)
    network.cut("b", "a", one_way=True)
    call = a.call(b)
    network.run(0.5)
    assert b.executed.total() == 1, "the request comes through, its answer doesn't"
    assert not call.outcomes
    network.run(ZMTP_TIMEOUT_S)
    assert not [one for one in network.connections if {one.dialler, one.listener} == {a, b}]


def test_wall_is_between_places_and_outlives_the_process() -> None:
    network = Network()
    a, b = Process(network, "a", port="here"), Process(network, "b", port="there")
    network.wall("here", "there")
    a.seed("there")
    network.run(2.0)
    assert not network.connections
    b.kill()
    new = Process(network, "new", port="there")
    network.run(2.0)
    assert not network.connections
    network.mend("here", "there")
    network.run_until(lambda: converged([a, new]), within_s=10.0)


def test_suspended_process_does_nothing_and_goes_on_with_what_its_kernel_holds() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    b.suspend(1.0)
    call = a.call(b)
    network.run(0.99)
    assert not b.executed
    network.run(0.2)
    assert isinstance(call.outcome, f.Reply)


def test_suspended_process_loses_its_connections_when_zmtp_times_out() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    b.suspend(4.0)
    network.run(ZMTP_TIMEOUT_S + 0.1)
    assert not network.connections
    network.run(10.0)
    assert converged([a, b])
    assert answered(network, a, b, 0.5)


def test_connections_have_delays_of_their_own() -> None:
    network = Network(slowest_s=0.001)
    network.base_s = 0.5
    start(network, "a", "b")
    assert len({connection._base_s for connection in network.connections}) > 2
    assert all(0 < connection._base_s <= 0.5 for connection in network.connections)


def test_late_envelope_comes_after_its_successors() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    network.reordering = 1.0
    first = a.call(b, "first")
    network.run(0.0)
    network.reordering = 0.0
    network.run(LATE_S + 0.1)
    assert network.caused["reorder"] == 1
    assert isinstance(first.outcome, f.Reply)


def test_calls_are_answered_between_processes_whose_clocks_differ_and_drift() -> None:
    network = Network()
    fast, slow = Clock(5_000.0, 1.01), Clock(3.0, 0.99, -100.0)
    a, b = Process(network, "a", clock=fast), Process(network, "b", clock=slow)
    a.sight(b)
    network.run_until(lambda: converged([a, b]))
    assert a.now_s - b.now_s > 4_000
    assert b.node.record.started_ms < a.node.record.started_ms
    assert answered(network, a, b, 0.1)
    before_s = network.now_s
    call = a.call(b, "stuck", deadline_s=1.0)
    network.run_until(lambda: bool(call.outcomes), within_s=2.0)
    assert network.now_s - before_s == pytest.approx(1 / 1.01, abs=0.01)


def test_clock_never_goes_back() -> None:
    clock = Clock(10.0, 0.99)
    clock.wait_until(clock.read(100.0) + 1e-9)
    assert clock.read(100.0) >= clock.read(99.0)
    assert clock.read(clock.true_s(200.0)) == pytest.approx(200.0)


def test_process_that_joins_is_active_once_it_knows_what_the_others_know() -> None:
    network = Network()
    a, _ = start(network, "a", "b")
    new = Process(network, "new", types=["worker"], joining=True)
    new.sight(a)
    assert not new.is_active
    network.run_until(lambda: new.is_active, within_s=1.0)
    assert new.members == {"a", "b", "new"}


def test_process_that_retires_hands_its_agents_over_and_is_gone() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    calls = [a.ask(f"worker/{number}") for number in range(20)]
    network.run(1.0)
    on_b = list(b.agents)
    assert on_b
    b.retire()
    network.run_until(lambda: not b.alive, within_s=3.0)
    assert all(isinstance(call.outcomes[0], f.Reply) for call in calls)
    assert a.agents.keys() >= set(on_b)
    assert [one.lost for one in b.evicted] == [""] * len(on_b)
