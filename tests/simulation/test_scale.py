"""Large clusters converge, and cost each node no more than the logarithm of their size."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest

from tests.simulation.crowd import Cell, World
from tests.simulation.scale import ScaleReport, decoding_once, print_report, run_scale, show_scale, start_all
from zmqagents.protocol.overlay import BESIDE, FULL_MESH_MAX


@pytest.fixture(scope="module")
def hundred() -> ScaleReport:
    return run_scale(100, seed=1)


@pytest.fixture(scope="module")
def three_hundred() -> ScaleReport:
    return run_scale(300, seed=1)


@pytest.fixture
def world() -> Iterator[World]:
    with decoding_once():
        yield World(seed=3)


def test_everybody_knows_everybody_soon_after_a_burst_of_starts(hundred: ScaleReport) -> None:
    assert hundred.start_s < 3.0


def test_change_of_a_record_is_known_everywhere_in_half_a_second(three_hundred: ScaleReport) -> None:
    assert three_hundred.change_s < 0.5


def test_crash_is_known_everywhere_in_under_a_second(three_hundred: ScaleReport) -> None:
    assert three_hundred.crash_s < 1.0


def test_node_listens_to_a_logarithm_of_the_cluster(three_hundred: ScaleReport) -> None:
    assert three_hundred.listened_to_mean <= math.log2(300) + 2 * BESIDE
    assert three_hundred.listened_to_most <= 2 * math.log2(300) + 2 * BESIDE


def test_gossip_at_rest_grows_like_the_logarithm_of_the_cluster(
    hundred: ScaleReport, three_hundred: ScaleReport
) -> None:
    growth = three_hundred.rest_bytes_per_s / hundred.rest_bytes_per_s
    assert 1.0 < growth <= 1.2 * math.log(300) / math.log(100)
    assert three_hundred.rest_bytes_per_s < 1_000, "a heartbeat a second from a dozen others"


def test_node_receives_a_few_tables_during_the_start(three_hundred: ScaleReport) -> None:
    assert three_hundred.start_bytes_mean < 20 * 300 * 220, (
        "bytes: each record comes from a dozen others, and from seeds"
    )


def test_same_seed_gives_the_same_report() -> None:
    assert run_scale(80, seed=2) == run_scale(80, seed=2)


def test_cluster_whose_members_are_all_shown_to_one_another_converges_with_bounded_dials(world: World) -> None:
    world.run(start_all(world, [f"node{number}" for number in range(150)], everybody_sighted=True) - world.now_s)
    world.run_until(lambda: len(world.cells) == 150 and world.converged(), "the start")
    world.run(10.0)
    assert max(cell.dials for cell in world.cells.values()) <= FULL_MESH_MAX
    assert world.converged()


def test_crowd_that_dies_at_once_is_known_to_be_dead_by_all_others(world: World) -> None:
    world.run(start_all(world, [f"node{number}" for number in range(150)]) - world.now_s)
    world.run_until(lambda: len(world.cells) == 150 and world.converged(), "the start")
    world.run(3.0)
    for cell in list(world.cells.values())[3:53]:
        cell.kill()
    assert world.run_until(world.converged, "the crash") < 5.0


def test_two_large_clusters_become_one_when_discovery_shows_one_of_them_to_one_of_the_others(world: World) -> None:
    for side in "lr":
        world.run(start_all(world, [f"{side}{number}" for number in range(70)]) - world.now_s)
    world.run_until(lambda: len(world.cells) == 140, "the start")
    world.run(5.0)
    one, other = world.cells["l50"], world.cells["r50"]
    assert (one.node.membership.live_count, other.node.membership.live_count) == (70, 70)
    one.sight(other)
    assert world.run_until(world.converged, "meeting") < 20.0


def test_cluster_that_shrinks_below_the_switch_hears_everything_at_once_again(world: World) -> None:
    world.run(start_all(world, [f"node{number}" for number in range(100)]) - world.now_s)
    world.run_until(lambda: len(world.cells) == 100 and world.converged(), "the start")
    for cell in list(world.cells.values())[40:]:
        cell.kill()
    world.run_until(world.converged, "the crash")
    world.run(3.0)
    assert {cell.listens_to for cell in world.cells.values()} == {39}


def test_report_names_what_a_person_asks_for(hundred: ScaleReport) -> None:
    lines: list[str] = []
    print_report(hundred, lines.append)
    text = "\n".join(lines)
    for word in ("100 nodes", "seed 1", "start", "change", "crash", "at rest", "bytes/s"):
        assert word in text


def test_cluster_of_nothing_but_seeds_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 3"):
        run_scale(3, seed=1)


def test_start_that_does_not_converge_is_an_error_that_names_it() -> None:
    world = World(seed=4)
    cell = Cell(world, "alone")
    cell.join([])
    world.cells["nobody"] = Cell(World(seed=5), "nobody")
    with pytest.raises(AssertionError, match="the start: not within 60 s"):
        world.run_until(world.converged, "the start")


def test_program_shows_its_progress_and_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    assert show_scale(20, seed=1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "20 nodes have started"
    assert lines[-1].startswith("  gossip, sync")
