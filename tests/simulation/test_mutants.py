"""Each deliberate breakage of the core is noticed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor

import pytest

from tests.simulation.campaign import cores, executor
from tests.simulation.mutants import MUTANTS, Mutant, hunt
from tests.simulation.world import Report

Hunts = dict[str, "Future[Report | None]"]

SEEDS = range(30)
"""Each mutant is hunted in these, until one run notices it; test_soak.py proves that the core itself passes."""


@pytest.fixture(scope="module")
def pool() -> Iterator[ProcessPoolExecutor]:
    with executor(cores()) as pool:
        yield pool


@pytest.fixture(scope="module")
def hunts(pool: ProcessPoolExecutor) -> Hunts:
    """All hunts, begun at once."""
    return {mutant.name: pool.submit(hunt, mutant.name, SEEDS) for mutant in MUTANTS}


@pytest.mark.parametrize("mutant", MUTANTS, ids=str)
def test_mutant_is_caught(hunts: Hunts, mutant: Mutant) -> None:
    report = hunts[mutant.name].result()
    assert report is not None, f"none of {len(SEEDS)} seeds notices that {mutant.name}"


def test_mutants_leave_the_core_as_it_was() -> None:
    before = [getattr(mutant.owner, mutant.function) for mutant in MUTANTS]
    hunt(MUTANTS[0].name, range(1))
    assert [getattr(mutant.owner, mutant.function) for mutant in MUTANTS] == before
