"""The overlay of large clusters: connected, bounded, stable (SPEC.md section 6.3)."""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.protocol.builders import node_id
from zmqagents.protocol.ids import NodeId, make_node_id
from zmqagents.protocol.overlay import BESIDE, FULL_MESH_MAX, Ring, neighbours, place

Graph = dict[NodeId, set[NodeId]]


def random_ids(count: int, seed: int) -> list[NodeId]:
    source = random.Random(seed)
    return [make_node_id(source.randbytes(16)) for _ in range(count)]


def graph_of(ids: Iterable[NodeId]) -> Graph:
    """Whom each listens to."""
    ring = Ring()
    members = list(ids)
    for one in members:
        ring.add(one)
    return {one: ring.neighbours(one) for one in members}


def hops_from(start: NodeId, listeners: Graph) -> dict[NodeId, int]:
    """How many relays what ``start`` publishes takes to each that it reaches."""
    hops = {start: 0}
    queue = deque([start])
    while queue:
        one = queue.popleft()
        for other in listeners[one]:
            if other not in hops:
                hops[other] = hops[one] + 1
                queue.append(other)
    return hops


def listeners_of(graph: Graph) -> Graph:
    turned: Graph = {one: set() for one in graph}
    for one, heard in graph.items():
        for other in heard:
            turned[other].add(one)
    return turned


large = st.builds(random_ids, st.integers(FULL_MESH_MAX + 1, 400), st.integers(0, 2**32))


def test_everybody_listens_to_everybody_in_a_small_cluster() -> None:
    ids = random_ids(FULL_MESH_MAX, seed=1)
    assert graph_of(ids) == {one: set(ids) - {one} for one in ids}


def test_node_alone_listens_to_nobody() -> None:
    assert neighbours(node_id("a"), []) == set()


def test_neighbours_depend_on_who_is_there_and_not_on_the_order_of_arrival() -> None:
    ids = random_ids(200, seed=2)
    ring = Ring()
    for one in reversed(ids):
        ring.add(one)
    for gone in ids[150:]:
        ring.discard(gone)
    for one in ids[:150]:
        assert ring.neighbours(one) == neighbours(one, ids[:150])


def test_discarding_who_is_not_there_changes_nothing() -> None:
    ring = Ring()
    ring.add(node_id("a"))
    ring.discard(node_id("b"))
    assert len(ring) == 1


@settings(max_examples=25, deadline=None)
@given(large)
def test_news_of_any_member_reaches_every_other_in_few_hops(ids: list[NodeId]) -> None:
    graph = listeners_of(graph_of(ids))
    for start in ids[:20]:
        hops = hops_from(start, graph)
        assert len(hops) == len(ids)
        assert max(hops.values()) <= math.log2(len(ids)) + 2


@settings(max_examples=25, deadline=None)
@given(large)
def test_node_listens_to_a_few_more_than_the_logarithm_of_the_members(ids: list[NodeId]) -> None:
    degrees = [len(heard) for heard in graph_of(ids).values()]
    assert sum(degrees) / len(ids) <= math.log2(len(ids)) + 2 * BESIDE
    assert max(degrees) <= 2 * math.log2(len(ids)) + 2 * BESIDE


@settings(max_examples=25, deadline=None)
@given(
    st.sets(st.binary(min_size=16, max_size=16), min_size=FULL_MESH_MAX + 1, max_size=FULL_MESH_MAX + 20).map(sorted)
)
def test_overlay_is_connected_and_bounded_whatever_the_ids_are(ids: list[NodeId]) -> None:
    graph = graph_of(ids)
    assert len(hops_from(ids[0], listeners_of(graph))) == len(ids)
    assert max(len(heard) for heard in graph.values()) <= FULL_MESH_MAX + 2 * BESIDE


@settings(max_examples=25, deadline=None)
@given(large, st.integers(0, 2**32))
def test_join_changes_a_few_connections_of_the_whole_cluster(ids: list[NodeId], seed: int) -> None:
    newcomer = random_ids(1, seed + 2**33)[0]
    before, after = graph_of(ids), graph_of([*ids, newcomer])
    changed = [one for one in ids if before[one] != after[one]]
    assert newcomer in neighbours(changed[0], [*ids, newcomer])
    assert all(after[one] - before[one] == {newcomer} for one in changed)
    assert all(len(before[one] - after[one]) <= 2 for one in changed), "one finger, and one neighbour"
    assert len(changed) <= 12 * math.log2(len(ids))


@pytest.mark.parametrize("seed", range(5))
def test_those_left_are_connected_when_a_third_has_died_at_once(seed: int) -> None:
    ids = random_ids(300, seed)
    graph = graph_of(ids)
    dead = set(random.Random(seed).sample(ids, 100))
    left = {one: heard - dead for one, heard in graph.items() if one not in dead}
    start = next(iter(left))
    assert len(hops_from(start, listeners_of(left))) == len(left)


def test_places_spread_ids_that_are_alike() -> None:
    places = sorted(place(node_id(number)) for number in range(1_000))
    assert places[0] >= 0
    assert places[-1] < 1
    assert [sum(one < share / 10 for one in places) // 100 for share in (2, 5, 8)] == pytest.approx([2, 5, 8], abs=1)
