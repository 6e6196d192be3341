"""Which endpoint is dialled next, and when a target counts as refused."""

from __future__ import annotations

from zmqagents.protocol.dialer import REFUSALS_EACH, Dial

NOW_S = 10.0


def make_dial(count: int) -> Dial:
    return Dial(tuple("abcdefghijkl"[:count]), NOW_S)


def test_dial_starts_with_the_best_endpoint() -> None:
    assert make_dial(3).endpoint == "a"


def test_single_endpoint_is_kept_and_refused_at_once() -> None:
    dial = make_dial(1)
    assert not dial.turned_away()
    assert (dial.endpoint, dial.refused) == ("a", True)


def test_refused_endpoint_gives_way_to_the_next_until_all_were_refused() -> None:
    dial = make_dial(3)
    assert [(dial.turned_away(), dial.endpoint, dial.refused) for _ in range(3)] == [
        (True, "b", False),
        (True, "c", False),
        (False, "c", True),
    ]


def test_endpoint_is_left_after_several_refusals_once_all_were_refused() -> None:
    dial = make_dial(2)
    turns = [dial.turned_away() for _ in range(4 * REFUSALS_EACH)]
    assert turns.count(True) == 1 + 4
    assert dial.refused


def test_success_forgets_refusals() -> None:
    dial = make_dial(2)
    dial.turned_away()
    dial.turned_away()
    dial.succeeded()
    assert (dial.up, dial.refused) == (True, False)


def test_endpoint_that_had_been_connected_is_refused_for_all_of_them() -> None:
    dial = make_dial(3)
    dial.turned_away()
    dial.succeeded()
    dial.lost(NOW_S + 1)
    dial.turned_away()
    assert dial.refused


def test_success_proves_the_endpoint_that_was_connected_and_no_other() -> None:
    dial = make_dial(12)
    dial.succeeded()
    while not dial.turned_away():
        assert dial.refused
    assert (dial.endpoint, dial.proven) == ("b", False)


def test_dial_is_down_since_its_connection_was_lost() -> None:
    dial = make_dial(1)
    dial.succeeded()
    dial.lost(NOW_S + 5)
    dial.lost(NOW_S + 9)
    assert (dial.up, dial.since_s) == (False, NOW_S + 5)


def test_restarted_dial_is_down_since_then_and_needs_a_fresh_refusal() -> None:
    dial = make_dial(2)
    dial.succeeded()
    dial.lost(NOW_S + 1)
    dial.turned_away()
    dial.restart(NOW_S + 5)
    assert (dial.since_s, dial.refused) == (NOW_S + 5, False)
    dial.turned_away()
    assert dial.refused


def test_dial_has_been_complete_once_it_was_connected_at_any_endpoint() -> None:
    dial = make_dial(2)
    assert not dial.complete
    dial.succeeded()
    for _ in range(REFUSALS_EACH):
        dial.turned_away()
    assert (dial.proven, dial.complete) == (False, True)
