"""Hundreds of random runs; whatever is promised holds in each. A seed that fails says how to replay it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.simulation.campaign import cores, executor, explain, run_all
from tests.simulation.faults import ALL, PROFILES, Fault, faults_named, name_of
from tests.simulation.invariants import ALWAYS
from tests.simulation.world import Report, Scenario, World, run_seed

ROOT = Path(__file__).resolve().parents[2]
CHUNK = 25
CHUNKS = [
    *(("all", first) for first in range(0, 500, CHUNK)),
    *(("gentle", first) for first in range(0, 25, CHUNK)),
    *(("moves", first) for first in range(0, 50, CHUNK)),
    *(("lives", first) for first in range(0, 50, CHUNK)),
    *(("relayed", first) for first in range(0, 25, CHUNK)),
    *(("relayed-lives", first) for first in range(0, 25, CHUNK)),
    *(("relayed-all", first) for first in range(0, 50, CHUNK)),
]
LEAST_OF_EACH = 10
"""How often each fault has to happen in CHUNK runs: else they prove little about it."""

Runs = Callable[[str, int], list[Report]]


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    """Gives the reports of CHUNK seeds of a profile, on all cores; each is run once."""
    with executor(cores()) as pool:

        @cache
        def run(profile: str, first: int) -> list[Report]:
            seeds = range(first, first + CHUNK)
            return list(run_all([Scenario(seed=seed, faults=PROFILES[profile]) for seed in seeds], pool))

        yield run


@pytest.mark.parametrize(("profile", "first"), CHUNKS)
def test_promises_hold_under_random_faults(runs: Runs, profile: str, first: int) -> None:
    failures = [explain(report) for report in runs(profile, first) if report.violation is not None]
    assert not failures, f"{len(failures)} of {CHUNK} runs\n\n" + failures[0]


def test_every_fault_happens_and_every_end_of_a_call_too(runs: Runs) -> None:
    caused: Counter[str] = Counter()
    outcomes: Counter[str] = Counter()
    for report in runs("all", 0):
        caused += report.faults
        outcomes += report.outcomes
    assert {kind.value for kind in ALL if caused[kind.value] < LEAST_OF_EACH} == set()
    assert outcomes.keys() >= {"reply", "deadline", "peer_lost", "given up", "caller died"}
    assert sum(report.moved for report in runs("all", 0)) > LEAST_OF_EACH, "agents went from one process to another"


def test_fault_happens_only_where_it_is_switched_on() -> None:
    for kind in Fault:
        report = run_seed(Scenario(seed=1, seconds=2.0, faults=frozenset({kind})))
        assert report.faults.keys() <= {kind.value}
        assert report.violation is None, explain(report)


def test_same_seed_gives_the_same_run() -> None:
    one, again, other = (run_seed(Scenario(seed=seed, seconds=3.0)) for seed in (7, 7, 8))
    assert one == again
    assert one.fingerprint != other.fingerprint


@pytest.mark.parametrize("profile", ["all", "relayed-all"])
def test_same_seed_gives_the_same_run_whatever_the_hash_seed(profile: str) -> None:
    """Nothing may depend on the order in which a set happens to be iterated."""
    command = [sys.executable, "tools/simulate", "--faults", profile, "--seeds", "0-9", "--fingerprints", "--jobs", "1"]
    outputs = {
        subprocess.run(
            command,
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": seed},
            stdout=subprocess.PIPE,
            timeout=50,
            check=False,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert outputs.pop().count(b"fingerprint") == 10


def test_network_at_rest_costs_no_envelopes() -> None:
    world = World(Scenario(seed=3, faults=PROFILES["gentle"]))
    assert world.run().violation is None
    world.network.run(10.0)
    envelopes = world.network.envelopes
    world.network.run(120.0)
    assert world.network.envelopes - envelopes < 60


def test_invariant_that_does_not_hold_is_reported_with_the_way_to_replay_it() -> None:
    world = World(Scenario(seed=5, nodes=3, seconds=1.0, faults=faults_named("loss,dup")))
    world.everybody[0].running[b"", 0] = None  # type: ignore[assignment]  # a handler that never ends
    report = world.run()
    text = explain(report)
    assert text.startswith("seed 5 breaks the invariant 'handlers end': p0.0 still handles")
    assert text.endswith("replay with: tools/simulate --nodes 3 --seconds 1 --faults loss,dup --seed 5 --trace")
    assert len(text.splitlines()) > 20, "the last events are shown"


def test_what_the_core_raises_is_reported_with_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("zmqagents.protocol.link.Link._deliver", lambda *_: 1 / 0)
    report = run_seed(Scenario(seed=0))
    assert report.violation is not None
    assert report.violation[0] == "raises nothing"
    assert "ZeroDivisionError: division by zero (test_soak.py:" in report.violation[1]


def test_names_of_faults_mean_what_they_say() -> None:
    assert faults_named("loss,blip") == {Fault.LOSS, Fault.BLIP}
    assert faults_named("gentle,cut") == PROFILES["gentle"] | {Fault.CUT}
    assert name_of(faults_named("all")) == "all"
    assert name_of(faults_named("blip,loss")) == "loss,blip"
    with pytest.raises(ValueError, match="'thunder'"):
        faults_named("thunder")


def test_invariants_have_names_of_their_own() -> None:
    assert len({invariant.name for invariant in ALWAYS}) == len(ALWAYS)
