"""What connections say about a member's life (SPEC.md section 6.4), and who is listened to where."""

from __future__ import annotations

import pytest

from tests.unit.protocol.builders import node_id
from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.liveness import LOST_AFTER_S, NEVER_UP_AFTER_S, GossipDials, is_out_of_reach

NOW_S = 100.0
A, B = node_id("a"), node_id("b")


def up() -> Dial:
    return Dial(("x",), 0.0, up=True, complete=True)


def refused(since_s: float = NOW_S, *, complete: bool = False) -> Dial:
    return Dial(("x",), since_s, refusals=1, complete=complete)


def down(since_s: float, *, complete: bool = False) -> Dial:
    return Dial(("x",), since_s, complete=complete)


def owners(dials: GossipDials, endpoint: str) -> list[bytes]:
    return [node for node, _ in dials.at(endpoint)]


class TestEvidence:
    def test_member_that_is_not_dialled_is_not_judged(self) -> None:
        assert not is_out_of_reach([], 0.0, NOW_S)

    def test_member_is_within_reach_while_one_connection_is_up(self) -> None:
        assert not is_out_of_reach([refused(), up()], 0.0, NOW_S)
        assert not is_out_of_reach([up(), down(0.0)], 0.0, NOW_S)

    def test_member_is_out_of_reach_when_it_refuses_and_nothing_is_up(self) -> None:
        assert is_out_of_reach([refused(complete=True), down(NOW_S)], NOW_S, NOW_S)

    def test_member_is_out_of_reach_when_a_lost_connection_is_not_complete_again_for_2_s(self) -> None:
        dials = [down(NOW_S, complete=True), down(NOW_S + 1)]
        assert not is_out_of_reach(dials, 0.0, NOW_S + LOST_AFTER_S - 0.01)
        assert is_out_of_reach(dials, 0.0, NOW_S + LOST_AFTER_S), "a dial begun since then does not make it younger"

    def test_member_is_out_of_reach_when_no_first_connection_is_complete_for_5_s(self) -> None:
        dials = [down(NOW_S), down(NOW_S - 3)]
        assert not is_out_of_reach(dials, 0.0, NOW_S + NEVER_UP_AFTER_S - 0.01)
        assert is_out_of_reach(dials, 0.0, NOW_S + NEVER_UP_AFTER_S)

    def test_member_that_nobody_can_dial_is_within_reach_while_it_is_heard(self) -> None:
        dials = [refused(NOW_S - 60), down(NOW_S - 60)]
        assert not is_out_of_reach(dials, NOW_S - 2.9, NOW_S)
        assert is_out_of_reach(dials, NOW_S - 3, NOW_S)

    def test_member_whose_connection_was_lost_is_within_reach_only_if_it_is_heard_after_that(self) -> None:
        dials = [refused(NOW_S, complete=True)]
        assert is_out_of_reach(dials, NOW_S + 0.01, NOW_S + 0.1), "this was on its way"
        assert not is_out_of_reach(dials, NOW_S + 0.1, NOW_S + 0.1)


class TestGossipDials:
    def test_member_is_listened_to_at_its_first_endpoint(self) -> None:
        dials = GossipDials()
        assert dials.want(A, ("x", "y"), NOW_S) == (None, "x")
        assert owners(dials, "x") == [A]
        assert dials.want(A, ("x", "y"), NOW_S) == (None, None)

    def test_changed_endpoints_are_dialled_instead_of_the_old_ones(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x",), NOW_S)
        assert dials.want(A, ("y",), NOW_S) == ("x", "y")
        assert (owners(dials, "x"), owners(dials, "y")) == ([], [A])

    def test_member_without_endpoints_is_not_listened_to(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x",), NOW_S)
        assert dials.want(A, (), NOW_S) == ("x", None)
        assert dials.get(A) is None

    def test_refused_endpoint_gives_way_to_the_next(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x", "y"), NOW_S)
        assert dials.turn(A, NOW_S) == ("x", "y")
        assert (owners(dials, "x"), owners(dials, "y")) == ([], [A])
        assert dials.turn(A, NOW_S) == (None, None)

    def test_member_that_is_gone_is_not_listened_to_any_more(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x",), NOW_S)
        dials.want(B, ("y",), NOW_S)
        assert dials.drop(A) == "x"
        assert dials.drop(A) is None
        assert dials.nodes() == [B]
        assert owners(dials, "x") == []


class TestSharedEndpoint:
    """One of two members has died and the other has taken its port; which is which shows."""

    @pytest.fixture
    def dials(self) -> GossipDials:
        dials = GossipDials()
        dials.want(A, ("x",), 0.0)
        [(_, dial)] = dials.at("x")
        dial.succeeded()
        assert dials.want(B, ("x",), NOW_S) == (None, None), "it is connected"
        return dials

    def test_connection_tells_of_neither_member_since_it_is_shared(self, dials: GossipDials) -> None:
        for member in (A, B):
            dial = dials.get(member)
            assert dial is not None
            assert (dial.up, dial.since_s) == (False, NOW_S)
            assert is_out_of_reach([dial], NOW_S, NOW_S + NEVER_UP_AFTER_S)
            assert not is_out_of_reach([dial], NOW_S + 3, NOW_S + NEVER_UP_AFTER_S), "this one is heard"

    @pytest.mark.parametrize(("dead", "alive"), [(A, B), (B, A)])
    def test_connection_tells_of_the_one_that_is_left(self, dials: GossipDials, dead: bytes, alive: bytes) -> None:
        assert dials.drop(dead) is None, "the other is still listened to there"
        dial = dials.get(alive)
        assert dial is not None
        assert dial.up
        assert dials.drop(alive) == "x"

    def test_both_members_are_refused_when_nobody_listens(self, dials: GossipDials) -> None:
        for member, dial in dials.at("x"):
            dial.lost(NOW_S)
            dials.turn(member, NOW_S)
            evidence = dials.get(member)
            assert evidence is not None
            assert evidence.refused
