"""What connections say about a member's life (SPEC.md section 6.4), and who is listened to where."""

from __future__ import annotations

from tests.unit.protocol.builders import node_id
from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.liveness import UNREACHABLE_AFTER_S, GossipDials, is_dead

NOW_S = 100.0
A, B = node_id("a"), node_id("b")


def up() -> Dial:
    return Dial(("x",), 0.0, up=True)


def refused() -> Dial:
    return Dial(("x",), NOW_S, refusals=1)


def down(since_s: float) -> Dial:
    return Dial(("x",), since_s)


class TestVerdict:
    def test_member_that_is_not_dialled_is_not_judged(self) -> None:
        assert not is_dead([], 0.0, NOW_S)

    def test_member_is_alive_while_one_connection_is_up(self) -> None:
        assert not is_dead([refused(), up()], 0.0, NOW_S)
        assert not is_dead([up(), down(0.0)], 0.0, NOW_S)

    def test_member_is_dead_when_it_refuses_and_nothing_is_up(self) -> None:
        assert is_dead([refused(), down(NOW_S)], NOW_S, NOW_S)

    def test_member_is_dead_when_nothing_could_be_connected_for_5_s(self) -> None:
        dials = [down(NOW_S), down(NOW_S - 3)]
        assert not is_dead(dials, 0.0, NOW_S + UNREACHABLE_AFTER_S - 0.01)
        assert is_dead(dials, 0.0, NOW_S + UNREACHABLE_AFTER_S)

    def test_member_that_is_still_heard_is_not_dead(self) -> None:
        assert not is_dead([down(NOW_S - 60)], NOW_S - 1, NOW_S)


class TestGossipDials:
    def test_member_is_listened_to_at_its_first_endpoint(self) -> None:
        dials = GossipDials()
        assert dials.want(A, ("x", "y"), NOW_S) == (None, "x")
        assert dials.node_at("x") == A
        assert dials.want(A, ("x", "y"), NOW_S) == (None, None)

    def test_changed_endpoints_are_dialled_instead_of_the_old_ones(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x",), NOW_S)
        assert dials.want(A, ("y",), NOW_S) == ("x", "y")
        assert (dials.node_at("x"), dials.node_at("y")) == (None, A)

    def test_member_without_endpoints_is_not_listened_to(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x",), NOW_S)
        assert dials.want(A, (), NOW_S) == ("x", None)
        assert dials.get(A) is None

    def test_refused_endpoint_gives_way_to_the_next(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x", "y"), NOW_S)
        assert dials.turn(A) == ("x", "y")
        assert (dials.node_at("x"), dials.node_at("y")) == (None, A)
        assert dials.turn(A) == (None, None)

    def test_refused_endpoint_does_not_give_way_to_one_of_another_member(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x", "y"), NOW_S)
        dials.want(B, ("y",), NOW_S)
        assert dials.turn(A) == ("x", None)
        assert dials.node_at("y") == B

    def test_member_that_is_gone_is_not_listened_to_any_more(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x",), NOW_S)
        dials.want(B, ("y",), NOW_S)
        assert dials.drop(A) == "x"
        assert dials.drop(A) is None
        assert [node for node, _ in dials.items()] == [B]
        assert dials.node_at("x") is None

    def test_endpoint_belongs_to_the_member_that_took_it_last(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x",), NOW_S)
        dials.want(B, ("x",), NOW_S)
        assert dials.node_at("x") == B
        assert dials.drop(A) is None, "b is still listened to there"
        assert dials.node_at("x") == B

    def test_connection_goes_over_to_the_member_that_took_the_endpoint(self) -> None:
        dials = GossipDials()
        dials.want(A, ("x",), 0.0)
        old = dials.get(A)
        assert old is not None
        old.succeeded()
        dials.want(B, ("x",), NOW_S)
        new = dials.get(B)
        assert new is not None
        assert new.up
        assert (old.up, old.since_s) == (False, NOW_S)
