"""Which of the dead are dialled again, when, and for how long."""

from __future__ import annotations

from tests.unit.protocol.builders import node_id
from zmqagents.protocol.graves import FIRST_WAIT_S, LAST_WAIT_S, MAX_GRAVES, Graves
from zmqagents.protocol.membership import TOMBSTONE_LIFE_S

NOW_S = 100.0
A, B = node_id("a"), node_id("b")
WHERE = ("x",)


def test_member_that_died_is_dialled_after_a_while() -> None:
    graves = Graves()
    assert graves.dig(A, WHERE, NOW_S) is None
    assert graves.due(NOW_S + FIRST_WAIT_S - 0.1) == []
    assert graves.due(NOW_S + FIRST_WAIT_S) == [(A, WHERE)]


def test_grave_that_is_being_dialled_is_not_due() -> None:
    graves = Graves()
    graves.dig(A, WHERE, NOW_S)
    graves.dialled(A, 1, NOW_S)
    assert graves.due(NOW_S + 60) == []


def test_refused_grave_is_dialled_again_less_and_less_often() -> None:
    graves = Graves()
    graves.dig(A, WHERE, NOW_S, seen=True)
    now_s, waits = NOW_S, []
    for path in range(1, 7):
        graves.dialled(A, path, now_s)
        graves.path_switched(path, None)
        since_s = now_s
        while not graves.due(now_s):
            now_s += 0.5
        waits.append(now_s - since_s)
    assert waits == [FIRST_WAIT_S, 4.0, 8.0, LAST_WAIT_S, LAST_WAIT_S, LAST_WAIT_S]


def test_member_that_is_back_is_not_looked_for() -> None:
    graves = Graves()
    graves.dig(A, WHERE, NOW_S)
    graves.dialled(A, 7, NOW_S)
    graves.path_switched(7, 8)
    assert graves.fill(A) == 8, "the path to close"
    assert graves.fill(A) is None
    assert graves.due(NOW_S + 60) == []


def test_dead_that_discovery_shows_are_dialled_at_once() -> None:
    graves = Graves()
    graves.dig(A, WHERE, NOW_S)
    graves.dig(A, WHERE, NOW_S, seen=True)
    graves.dig(B, WHERE, NOW_S, seen=True)
    assert graves.due(NOW_S) == [(A, WHERE), (B, WHERE)]


def test_new_endpoints_take_the_place_of_the_old_ones() -> None:
    graves = Graves()
    graves.dig(A, WHERE, NOW_S)
    graves.dialled(A, 7, NOW_S)
    assert graves.dig(A, ("y",), NOW_S, seen=True) == 7
    assert graves.due(NOW_S) == [(A, ("y",))]


def test_dead_are_looked_for_as_long_as_they_are_remembered() -> None:
    graves = Graves()
    graves.dig(A, WHERE, NOW_S)
    assert graves.expired(NOW_S + TOMBSTONE_LIFE_S - 1) == []
    assert graves.expired(NOW_S + TOMBSTONE_LIFE_S) == [A]


def test_oldest_grave_gives_way_when_there_are_too_many() -> None:
    graves = Graves()
    for number in range(MAX_GRAVES):
        graves.dig(node_id(number), WHERE, NOW_S)
    graves.dialled(node_id(0), 5, NOW_S)
    assert graves.dig(A, WHERE, NOW_S) == 5
    due = [node for node, _ in graves.due(NOW_S + 60)]
    assert len(due) == MAX_GRAVES
    assert node_id(0) not in due


def test_member_without_endpoints_is_not_looked_for() -> None:
    graves = Graves()
    graves.dig(A, (), NOW_S)
    assert graves.due(NOW_S + 60) == []
