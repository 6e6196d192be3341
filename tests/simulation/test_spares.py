"""Pairs that have closed the second of their two data connections (SPEC.md section 6.4): they are none the worse."""

from __future__ import annotations

from itertools import combinations, permutations

import pytest

from tests.simulation.connections import Connection
from tests.simulation.network import Network
from tests.simulation.process import Process, converged, start
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.spares import CALM_S
from zmqagents.protocol.watch import CHECK_S

KILL_KNOWN_S = 0.5  # as of pairs with two connections: see test_liveness.py
SILENCE_KNOWN_S = 4.7
CALL_S = 0.1


def data(network: Network, one: Process, other: Process) -> list[Connection]:
    """The data connections between two, whoever dialled."""
    pair = {one.name, other.name}
    return [
        each
        for each in network.connections
        if each.open and each.dial.kind == "data" and {each.dialler.name, each.listener.name} == pair
    ]


def are_spared(network: Network, processes: list[Process]) -> bool:
    """Whether each pair has one data connection, dialled by the one with the lower id."""
    return all(
        [each.dialler.node_id for each in data(network, one, other)] == [min(one.node_id, other.node_id)]
        for one, other in combinations(processes, 2)
    )


def at_rest(network: Network, names: str) -> list[Process]:
    """Processes that have met, and that have been calm since."""
    processes = start(network, *names)
    network.run_until(lambda: are_spared(network, processes), within_s=2 * CALM_S)
    return processes


def test_pair_uses_the_connection_that_the_lower_id_has_dialled_both_ways() -> None:
    network = Network()
    processes = start(network, *"abc")
    network.run_until(lambda: converged(processes), within_s=1.0)
    network.run(CALM_S / 4)  # all have dialled all, and nobody has closed anything
    for one, other in permutations(processes, 2):
        assert len(data(network, one, other)) == 2
        path = one.node.state.peers[other.node_id].path
        assert (path == other.node_id) == (other.node_id < one.node_id)


def lowest_and_highest(processes: list[Process]) -> tuple[Process, Process]:
    """One that has dialled all others, and one that has closed all that it had dialled."""
    ordered = sorted(processes, key=lambda process: process.node_id)
    return ordered[0], ordered[-1]


def answered(network: Network, *pairs: tuple[Process, Process]) -> bool:
    """Whether a call of the first to the second of each pair is answered at once."""
    calls = [one.call(other) for one, other in pairs]
    network.run(CALL_S)
    return all(isinstance(call.outcome, f.Reply) for call in calls)


def test_calm_pairs_keep_one_connection_and_stay_members() -> None:
    network = Network()
    processes = at_rest(network, "abcd")

    network.run(60.0)

    assert are_spared(network, processes)
    assert converged(processes)


def test_calls_both_ways_go_over_the_connection_that_is_left() -> None:
    network = Network()
    processes = at_rest(network, "abc")

    assert answered(network, *permutations(processes, 2))
    assert are_spared(network, processes)


def test_pair_that_works_keeps_both_connections() -> None:
    network = Network()
    one, other = start(network, "a", "b")

    for _ in range(40):
        assert answered(network, (one, other))
        network.run(CALM_S / 4)

    assert len(data(network, one, other)) == 2


@pytest.mark.parametrize(("seed", "hidden"), ["ab", "ba"])
def test_pair_in_which_one_cannot_dial_keeps_its_only_connection(seed: str, hidden: str) -> None:
    network = Network()
    network.hide(hidden)
    processes = [Process(network, name, types=["worker"]) for name in "ab"]
    next(process for process in processes if process.name == hidden).seed(seed)
    network.run_until(lambda: converged(processes))

    network.run(20.0)

    assert len(data(network, *processes)) == 1
    assert answered(network, *permutations(processes, 2))


@pytest.mark.parametrize("victim", [0, 1])
def test_killed_process_is_known_dead_as_soon_as_ever(victim: int) -> None:
    network = Network()
    processes = at_rest(network, "abcd")
    killed = lowest_and_highest(processes)[victim]
    others = [process for process in processes if process is not killed]
    for other in others:
        other.handler_s = None
    calls = [other.call(killed) for other in others]

    killed.kill()
    network.run_until(lambda: all(other.lost(killed) for other in others), within_s=KILL_KNOWN_S)

    assert all(call.outcome is Fate.PEER_LOST for call in calls)


@pytest.mark.parametrize("victim", [0, 1])
@pytest.mark.parametrize("cut", ["both", "from", "to"])
def test_process_cut_off_is_known_dead_as_soon_as_ever_and_is_back_after_that(victim: int, cut: str) -> None:
    network = Network()
    processes = at_rest(network, "abcd")
    alone = lowest_and_highest(processes)[victim]
    others = [process for process in processes if process is not alone]

    for other in others:
        ends = (other.name, alone.name) if cut == "to" else (alone.name, other.name)
        network.cut(*ends, one_way=cut != "both")
    network.run_until(lambda: all(other.lost(alone) for other in others), within_s=SILENCE_KNOWN_S)
    network.calm()

    network.run_until(lambda: converged(processes), within_s=25.0)
    assert answered(network, *((alone, other) for other in others), *((other, alone) for other in others))


@pytest.mark.parametrize("victim", [0, 1])
def test_frozen_process_is_known_dead_as_soon_as_ever(victim: int) -> None:
    network = Network()
    processes = at_rest(network, "abcd")
    frozen = lowest_and_highest(processes)[victim]

    frozen.suspend(30.0)

    network.run_until(lambda: all(one.lost(frozen) for one in processes if one is not frozen), within_s=SILENCE_KNOWN_S)


@pytest.mark.parametrize("victim", [0, 1])
def test_busy_process_stays_a_member(victim: int) -> None:
    network = Network()
    processes = at_rest(network, "abcd")

    lowest_and_highest(processes)[victim].freeze(60.0)

    for _ in range(240):
        network.run(0.25)
        assert converged(processes)


def test_connection_that_breaks_is_made_anew_at_once_and_nothing_is_lost() -> None:
    network = Network()
    one, other = at_rest(network, "ab")

    network.blip(one.name, other.name)
    calls = [one.call(other), other.call(one)]

    network.run_until(lambda: all(isinstance(call.outcome, f.Reply) for call in calls), within_s=2 * CHECK_S)
    network.run_until(lambda: are_spared(network, [one, other]), within_s=3 * CALM_S)
