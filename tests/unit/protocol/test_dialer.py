"""Which endpoint is dialled next, and when a target counts as refused."""

from __future__ import annotations

from zmqagents.protocol.dialer import MOST_DOUBLINGS, REFUSALS_EACH, TRY_S, Dial

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


def test_silent_endpoint_is_overdue_after_a_while_and_later_in_each_round() -> None:
    dial = make_dial(2)
    now_s = NOW_S
    waits_s = []
    for _ in range(2 * (MOST_DOUBLINGS + 2)):
        wait_s = TRY_S
        while not dial.is_overdue(now_s + wait_s):
            wait_s *= 2
        waits_s.append(wait_s / TRY_S)
        now_s += wait_s
        dial.move(now_s)
    assert waits_s == [1, 1, 2, 2, 4, 4, 4, 4]
    assert not dial.refused


def test_only_endpoint_is_never_overdue() -> None:
    assert not make_dial(1).is_overdue(NOW_S + 1_000)


def test_endpoint_that_is_up_is_overdue_only_if_the_target_owes_a_sign_of_life() -> None:
    dial = make_dial(2)
    dial.succeeded()
    assert not dial.is_overdue(NOW_S + 1_000)
    assert dial.is_overdue(NOW_S + 3, silent_after_s=3)
    dial.meets()
    assert not dial.is_overdue(NOW_S + 1_000, silent_after_s=3)


def test_target_that_is_met_starts_over_with_short_waits() -> None:
    dial = make_dial(2)
    for _ in range(8):
        dial.move(NOW_S)
    dial.succeeded()
    dial.meets()
    dial.lost(NOW_S)
    assert dial.is_overdue(NOW_S + TRY_S)


def test_endpoints_where_others_are_count_as_refused_until_the_target_is_met() -> None:
    dial = make_dial(2)
    seen = []
    for _ in range(2):
        dial.succeeded()
        dial.mistaken(NOW_S)
        seen.append((dial.endpoint, dial.up, dial.refused))
    assert seen == [("b", False, False), ("a", False, True)]
    dial.succeeded()
    dial.meets()
    assert not dial.refused
