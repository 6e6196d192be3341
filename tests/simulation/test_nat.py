"""Processes behind NAT: they dial, and nobody can dial them (SPEC.md section 6.4)."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.simulation.network import Network
from tests.simulation.process import Process, converged
from zmqagents.protocol import frames as f
from zmqagents.protocol.liveness import DESERTED_AFTER_S
from zmqagents.protocol.suspicion import ANSWER_WITHIN_S
from zmqagents.protocol.watch import CHECK_S, PING_EVERY_S, Standing

OUTSIDE = ("o", "p", "q")
DEATH_KNOWN_S = 5.0
KILLED_KNOWN_S = PING_EVERY_S + DESERTED_AFTER_S + CHECK_S + ANSWER_WITHIN_S
"""No timeout of ZMTP is waited for: the next PING finds no connection any more, and no other is made."""


def behind_nat(network: Network, *inside: str, outside: Sequence[str] = OUTSIDE) -> dict[str, Process]:
    """Processes outside, and some inside; all have the first one, ``o``, as their seed, and know one another."""
    network.hide(*inside)
    processes = {name: Process(network, name) for name in (*outside, *inside)}
    for process in list(processes.values())[1:]:
        process.seed("o")
    network.run_until(lambda: converged(list(processes.values())))
    return processes


def test_everybody_outside_has_a_path_inside_soon_though_nobody_could_dial() -> None:
    network = Network()
    processes = behind_nat(network, "i", "j")
    network.run_until(
        lambda: (
            all(
                processes[outside].node.state.peers[processes[inside].node_id].path is not None
                for outside in OUTSIDE
                for inside in "ij"
                if processes[inside].node_id in processes[outside].node.state.peers
            )
            and all(processes["i"].node_id in processes[name].node.state.peers for name in OUTSIDE)
        ),
        within_s=3.0,
    )
    calls = [one.call(other) for one in processes.values() for other in processes.values() if one is not other]
    network.run_until(lambda: all(isinstance(call.outcome, f.Reply) for call in calls), within_s=1.0)


def test_call_from_outside_that_nobody_prepared_is_answered() -> None:
    network = Network()
    processes = behind_nat(network, "i")
    call = processes["q"].call(processes["i"])
    network.run_until(lambda: isinstance(call.outcome, f.Reply), within_s=3.0)


def test_nobody_is_taken_for_dead_or_unreachable_in_a_long_time_of_rest() -> None:
    network = Network()
    processes = behind_nat(network, "i", "j")
    network.run(10.0)
    for _ in range(120):
        network.run(0.5)
        assert converged(list(processes.values()))
        for one in processes.values():
            for other in processes.values():
                if one is not other:
                    standing = one.node.contacts.watch.standing(other.node_id, network.now_s)
                    assert standing in (Standing.UP, Standing.BUSY)


@pytest.mark.parametrize("how", ["killed", "cut off", "frozen"])
def test_death_inside_is_known_outside_in_under_5_s(how: str) -> None:
    network = Network()
    processes = behind_nat(network, "i")  # alone there: nobody who could dial it knows sooner
    network.run(10.0)
    gone = processes.pop("i")
    if how == "killed":
        gone.kill()
    elif how == "frozen":
        gone.suspend(60.0)
    else:
        for name in processes:
            network.cut("i", name)
    network.run_until(lambda: all(one.lost(gone) for one in processes.values()), within_s=DEATH_KNOWN_S)
    assert converged(list(processes.values()))


@pytest.mark.parametrize("outside", [OUTSIDE, "o"], ids=["by three", "by one"])
@pytest.mark.parametrize("rest_s", [1.0, 10.0])
def test_killed_process_inside_is_known_outside_by_a_ping_that_finds_no_connection(
    rest_s: float, outside: Sequence[str]
) -> None:
    network = Network()
    processes = behind_nat(network, "i", outside=outside)
    network.run(rest_s)  # after 1 s, the dials that nobody answers tell nothing yet: only that connection does
    gone = processes.pop("i")
    gone.kill()
    network.run_until(lambda: all(one.lost(gone) for one in processes.values()), within_s=KILLED_KNOWN_S)


def test_short_loss_of_the_routers_memory_buries_nobody() -> None:
    network = Network()
    processes = behind_nat(network, "i", "j")
    network.run(10.0)
    for _ in range(5):
        for outside in OUTSIDE:
            for inside in "ij":
                network.blip(outside, inside)
        network.run(3.0)
        assert converged(list(processes.values()))
    assert not any(one.lost(other) for one in processes.values() for other in processes.values())


def test_record_that_changes_inside_is_known_outside() -> None:
    network = Network()
    processes = behind_nat(network, "i")
    network.run(5.0)
    processes["i"].change_record(["painter"])
    network.run_until(
        lambda: all(
            "painter" in record.types
            for name in OUTSIDE
            if (record := processes[name].node.membership.get(processes["i"].node_id)) is not None
        ),
        within_s=0.1,
    )
