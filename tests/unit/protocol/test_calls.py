"""Calls end once, whatever comes first (SPEC.md section 8.2)."""

from __future__ import annotations

import pytest

from tests.unit.protocol.builders import node_id
from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol.calls import SPARE_DEADLINES, CallLimits, PendingCalls, ServedCalls

A, B = node_id("a"), node_id("b")
LIMITS = CallLimits(window_calls=3, window_bytes=1_000)


def pending_calls(*deadlines_s: float | None, peer: bytes = A) -> PendingCalls[str]:
    calls: PendingCalls[str] = PendingCalls()
    for deadline_s in deadlines_s:
        call_id = calls.next_id()
        calls.begin(call_id, peer, f"call {call_id}", deadline_s)
    return calls


class TestPendingCalls:
    def test_call_ids_are_never_used_twice(self) -> None:
        calls = pending_calls(None, None)
        calls.abandon(2)
        assert calls.next_id() == 3

    def test_answer_ends_a_call_once_and_a_second_one_is_counted(self) -> None:
        calls = pending_calls(None)
        ended = calls.end(1, A)
        assert ended is not None
        assert ended.token == "call 1"
        assert calls.end(1, A) is None
        assert (len(calls), calls.late_answers) == (0, 1)

    def test_answer_of_another_peer_is_not_taken(self) -> None:
        calls = pending_calls(None)
        assert calls.end(1, B) is None
        assert (len(calls), calls.late_answers) == (1, 1)

    def test_abandoned_call_has_no_other_end(self) -> None:
        calls = pending_calls(5.0)
        assert calls.abandon(1) is not None
        assert calls.abandon(1) is None
        assert calls.expire(9.0) == []
        assert calls.lose_peer(A) == []
        assert calls.end(1, A) is None

    def test_deadlines_end_calls_in_order_when_they_have_passed(self) -> None:
        calls = pending_calls(7.0, 5.0, None, 9.0)
        assert calls.deadline_s() == 5.0
        assert calls.expire(4.9) == []
        assert [(call_id, pending.token) for call_id, pending in calls.expire(7.0)] == [(2, "call 2"), (1, "call 1")]
        assert calls.deadline_s() == 9.0

    def test_deadline_of_an_ended_call_is_no_reason_to_wake(self) -> None:
        calls = pending_calls(5.0, 9.0)
        calls.end(1, A)
        assert calls.deadline_s() == 9.0
        calls.end(2, A)
        assert calls.deadline_s() is None

    def test_loss_of_a_peer_ends_the_calls_to_it_and_no_others(self) -> None:
        calls = pending_calls(None, None)
        calls.begin(calls.next_id(), B, "other", None)
        assert calls.lose_peer(A) == [(1, "call 1"), (2, "call 2")]
        assert calls.end(3, B) is not None

    def test_all_calls_can_be_given_up(self) -> None:
        calls = pending_calls(5.0, None)
        assert calls.abandon_all() == ["call 1", "call 2"]
        assert (len(calls), calls.deadline_s()) == (0, None)

    def test_ended_calls_leave_no_deadlines_behind(self) -> None:
        calls = pending_calls(1.0)
        for _ in range(10 * SPARE_DEADLINES):
            call_id = calls.next_id()
            calls.begin(call_id, A, "", 3_600.0)
            calls.end(call_id, A)
        assert len(calls._deadlines) <= SPARE_DEADLINES + 2
        assert [call_id for call_id, _ in calls.expire(2.0)] == [1]


class TestCallWindow:
    """SPEC.md section 5."""

    @staticmethod
    def calls_of(*weights: int) -> PendingCalls[str]:
        calls: PendingCalls[str] = PendingCalls(LIMITS)
        for weight in weights:
            calls.begin(calls.next_id(), A, "", 5.0, weight)
        return calls

    @pytest.mark.parametrize("weights", [(0, 0, 0), (600, 400), (9_999,)])
    def test_window_is_full_of_calls_or_of_bytes(self, weights: tuple[int, ...]) -> None:
        calls = self.calls_of(*weights)
        assert not calls.has_room(A)
        assert calls.has_room(B), "each peer has a window of its own"

    @pytest.mark.parametrize("weights", [(), (0, 0), (600, 399)])
    def test_window_has_room_below_both_bounds(self, weights: tuple[int, ...]) -> None:
        assert self.calls_of(*weights).has_room(A)

    def test_answer_makes_room(self) -> None:
        calls = self.calls_of(400, 600)
        assert calls.end(1, A) is not None
        assert calls.has_room(A)
        assert calls.unanswered(A) == 1

    @pytest.mark.parametrize("give_up", ["abandon", "expire", "abandon_all"])
    def test_call_that_is_given_up_makes_room_when_it_is_answered_all_the_same(self, give_up: str) -> None:
        calls = self.calls_of(0, 0, 0)
        if give_up == "abandon":
            calls.abandon(2)
        elif give_up == "expire":
            assert len(calls.expire(5.0)) == 3
        else:
            calls.abandon_all()
        assert not calls.has_room(A), "its handler may still run"
        assert calls.end(2, B) is None
        assert not calls.has_room(A), "another peer has no say in it"
        assert calls.end(2, A) is None
        assert calls.end(2, A) is None
        assert (calls.has_room(A), calls.unanswered(A), calls.late_answers) == (True, 2, 3)

    def test_loss_of_the_peer_empties_the_window(self) -> None:
        calls = self.calls_of(0, 0, 0)
        calls.abandon(2)
        assert [call_id for call_id, _ in calls.lose_peer(A)] == [1, 3]
        assert (calls.has_room(A), calls.unanswered(A)) == (True, 0)


class TestServedCalls:
    @pytest.fixture
    def served(self) -> ServedCalls[str]:
        calls: ServedCalls[str] = ServedCalls()
        for peer, token in ((A, "a1"), (B, "b1")):
            calls.arrived(peer, 1, 0)
            assert calls.attach(peer, 1, token)
        return calls

    def test_call_is_known_by_its_peer_and_its_id(self, served: ServedCalls[str]) -> None:
        assert (served.get(A, 1), served.get(B, 1), served.get(A, 2)) == ("a1", "b1", None)

    def test_call_ends_once(self, served: ServedCalls[str]) -> None:
        assert served.end(A, 1)
        assert not served.end(A, 1)
        assert len(served) == 1

    def test_call_served_with_nothing_to_keep_ends_too(self) -> None:
        calls: ServedCalls[None] = ServedCalls()
        calls.arrived(A, 1, 0)
        assert calls.end(A, 1)

    def test_loss_of_a_peer_ends_what_is_served_for_it(self, served: ServedCalls[str]) -> None:
        assert served.lose_peer(A) == ["a1"]
        assert not served.end(A, 1)
        assert served.end(B, 1)


class TestArrivedCalls:
    """What a peer may have served here (SPEC.md section 5)."""

    @staticmethod
    def served_of(count: int, weight: int = 0) -> ServedCalls[None]:
        served: ServedCalls[None] = ServedCalls(LIMITS)
        for call_id in range(1, count + 1):
            served.arrived(A, call_id, weight)
        return served

    @pytest.mark.parametrize(("count", "weight"), [(6, 0), (2, 1_000)])
    def test_peer_that_ignores_its_window_is_refused_until_it_is_answered(self, count: int, weight: int) -> None:
        served = self.served_of(count, weight)
        served.arrived(B, 1, 0)
        with pytest.raises(RemoteProtocolError, match="unfinished calls") as caught:
            served.arrived(A, 99, 0)
        assert caught.value.code is WireCode.TOO_LARGE
        assert served.end(A, 1)
        served.arrived(A, 99, 0)

    def test_call_id_that_is_in_use_is_refused(self) -> None:
        served = self.served_of(1)
        with pytest.raises(RemoteProtocolError, match="call 1 is being served already") as caught:
            served.arrived(A, 1, 0)
        assert caught.value.code is WireCode.BAD_FIELD
        served.arrived(B, 1, 0)
        served.end(A, 1)
        served.arrived(A, 1, 0)

    def test_loss_of_the_peer_forgets_what_it_has_asked(self) -> None:
        served = self.served_of(6)
        served.lose_peer(A)
        served.arrived(A, 1, 0)
