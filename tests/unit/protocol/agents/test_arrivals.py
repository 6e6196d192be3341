"""What a node does with a message for an agent: serve it, hold it, send it on."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.protocol.agents.wiring import Site, Wiring, key_that_goes, keys_at, node_id
from tests.unit.protocol.builders import request
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.arrivals import HOLD
from zmqagents.protocol.agents.residents import Stay
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.records import Phase


class Answers(list[Any]):
    """The token of a call made by hand: takes its outcome."""

    def ended(self, peer: bytes, outcome: f.Reply | f.Error | Fate) -> None:
        self.append(outcome)


@pytest.fixture
def meeting(wiring: Wiring) -> tuple[Site, Site, Site]:
    """A caller, and two hosts whose link holds everything back, so that a census waits."""
    caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    wiring.hold(one, two)
    return caller, one, two


class TestHeld:
    def test_call_waits_for_the_census_and_is_served_with_what_is_left_of_its_time(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site]
    ) -> None:
        caller, one, two = meeting
        [key] = keys_at(one)
        one.slow.add(key)
        call = caller.call(key, "a", timeout_s=3.0)
        wiring.settle()
        wiring.pass_time(1.0)
        assert one.stay(key) is Stay.AWAITED
        assert not one.handled
        wiring.release(one, two)
        wiring.settle()
        [running] = one.running
        assert isinstance(running.frame, f.Request)
        assert running.frame.timeout_ms == pytest.approx(2_000, abs=100)
        one.finish(key)
        wiring.settle()
        assert call.outcomes == ["1:a"]

    def test_call_whose_time_is_over_is_not_served(self, wiring: Wiring, meeting: tuple[Site, Site, Site]) -> None:
        caller, one, two = meeting
        [key] = keys_at(one)
        call = caller.call(key, "a", timeout_s=0.5)
        wiring.hold(caller, one)  # so that its CANCEL comes late
        wiring.release(caller, one)
        wiring.settle()
        wiring.hold(caller, one)
        wiring.pass_time(1.0)
        wiring.release(one, two)
        wiring.settle()
        assert call.outcomes == ["DEADLINE"]
        assert not one.handled

    def test_call_that_is_given_up_is_not_served_and_the_next_one_is(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site]
    ) -> None:
        caller, one, two = meeting
        [key] = keys_at(one)
        given_up, other = caller.call(key, "a"), caller.call(key, "b")
        wiring.settle()
        caller.cancel(given_up)
        wiring.settle()
        assert len(one.node.served) == 1
        wiring.release(one, two)
        wiring.settle()
        assert one.handled == [(key, "b")]
        assert not one.cancelled
        assert other.outcomes == ["1:b"]

    def test_call_whose_caller_is_gone_is_not_served(self, wiring: Wiring, meeting: tuple[Site, Site, Site]) -> None:
        caller, one, two = meeting
        [key] = keys_at(one)
        caller.call(key, "a")
        wiring.settle()
        wiring.die(caller)
        wiring.release(one, two)
        wiring.settle()
        assert not one.handled
        assert one.stay(key) is None

    def test_calls_and_events_are_taken_in_the_order_in_which_they_came(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site]
    ) -> None:
        caller, one, two = meeting
        [key] = keys_at(one)
        caller.publish("a", key)
        caller.call(key, "b")
        caller.publish("c", key)
        wiring.settle()
        wiring.release(one, two)
        wiring.settle()
        assert one.seen(key) == ["a", "b", "c"]

    def test_agent_whose_home_becomes_another_is_asked_for_there(self, wiring: Wiring) -> None:
        caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        key = key_that_goes(one, node_id(3))
        wiring.hold(one, two)
        call = caller.call(key, "a")
        caller.publish("b", key)
        wiring.settle()
        assert one.stay(key) is Stay.AWAITED
        three = wiring.add(3, ["worker"])
        wiring.connect(three, one)
        wiring.connect(three, caller)
        wiring.connect(three, two)
        wiring.settle()
        assert one.stay(key) is None
        assert call.outcomes == ["3:a"]
        assert sorted(three.seen(key)) == ["a", "b"]

    def test_call_of_the_same_process_waits_too(self, wiring: Wiring, meeting: tuple[Site, Site, Site]) -> None:
        _, one, two = meeting
        [key] = keys_at(one)
        call = one.call(key, "a")
        wiring.settle()
        assert call.waits
        wiring.release(one, two)
        wiring.settle()
        assert call.outcomes == ["1:a"]


class TestSentOn:
    def test_caller_is_told_where_the_agent_is_and_asks_there_from_then_on(self, wiring: Wiring) -> None:
        one = wiring.join(1, ["worker"])
        key = key_that_goes(one, node_id(2))
        one.call(key)
        wiring.join(2, ["worker"])
        caller = wiring.join(0)
        first = caller.call(key, "a")
        wiring.settle()
        second = caller.call(key, "b")
        wiring.settle()
        assert first.asked == [node_id(2), node_id(1)]
        assert second.asked == [node_id(1)]

    def test_call_for_a_type_that_nobody_hosts_is_refused(self, wiring: Wiring) -> None:
        caller, one = wiring.join(0), wiring.join(1, ["worker"])
        caller.node.agency.locations.learn("clerk/a", one.node_id)
        call = caller.call("clerk/a")
        wiring.settle()
        assert call.pauses
        assert not call.outcomes
        assert caller.node.agency.locations.target("clerk/a") is None

    def test_answer_reaches_a_caller_that_is_taken_for_dead(self, wiring: Wiring) -> None:
        caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(two)
        wiring.hold(caller, one)
        wiring.bury(caller, one)
        wiring.settle()  # and so node 1 has refuted its own death by way of node 2
        wiring.hold(caller, two)
        wiring.bury(one, caller)
        wiring.news.clear()
        wiring.connect(caller, one)
        wiring.settle(lambda: caller.node.membership.get(one.node_id) is not None)
        assert one.node.membership.get(caller.node_id) is None
        assert caller.node.call(one.node_id, request(1, key), answers := Answers(), None, wiring.now_s)
        wiring.settle()
        assert [frame.code for frame in answers] == [f.ErrorCode.MOVED]

    def test_event_for_nobody_is_dead_where_that_is_found_out_and_finished_for_its_sender(self, wiring: Wiring) -> None:
        caller, one = wiring.join(0), wiring.join(1, ["worker"])
        caller.node.agency.locations.learn("clerk/a", one.node_id)
        caller.publish("a", "clerk/a")
        wiring.settle()
        assert one.dead == [("a", "no process hosts its type")]
        assert caller.node.unfinished_events == 0


class TestUnbound:
    def test_pinned_agent_is_served_where_it_is_pinned_without_a_census(self, wiring: Wiring) -> None:
        caller, one, _ = wiring.join(0), wiring.join(1, ["worker"], pinned=["worker/p"]), wiring.join(2, ["worker"])
        call = caller.call("worker/p", "a")
        wiring.settle()
        assert call.outcomes == ["1:a"]
        assert one.stay("worker/p") is None
        assert not wiring.sent["Census"]

    def test_pinned_agent_does_not_move_when_its_host_leaves(self, wiring: Wiring) -> None:
        one = wiring.join(1, ["worker"], pinned=["worker/p"])
        wiring.join(2, ["worker"])
        one.call("worker/p", "a")
        one.become(Phase.LEAVING)
        wiring.settle()
        assert not one.evicted
        assert one.node.agency.is_empty

    def test_keyless_type_is_served_by_any_host_without_a_census(self, wiring: Wiring) -> None:
        caller = wiring.join(0)
        sites = [wiring.join(name, ["worker"], policy="round_robin") for name in (1, 2)]
        calls = [caller.call("worker/a", "x") for _ in range(4)]
        wiring.settle()
        assert sorted(outcome for call in calls for outcome in call.outcomes) == ["1:x", "1:x", "2:x", "2:x"]
        assert all(site.stay("worker/a") is None for site in sites)
        assert not wiring.sent["Census"]

    def test_keyless_message_that_comes_to_a_host_that_leaves_goes_to_another(self, wiring: Wiring) -> None:
        caller, one = wiring.join(0), wiring.join(1, ["worker"], policy="local_first")
        wiring.join(2, ["worker"], policy="local_first")
        wiring.hold(caller, one)
        calls = [caller.call("worker/a", "x") for _ in range(8)]
        caller.publish("e", "worker/a")
        one.become(Phase.LEAVING)
        wiring.settle()
        wiring.release(caller, one)
        wiring.settle()
        assert {outcome for call in calls for outcome in call.outcomes} == {"2:x"}


class TestEntering:
    def test_handler_of_this_process_counts_until_it_has_left(self, wiring: Wiring) -> None:
        one = wiring.join(1, ["worker"])
        arrivals = one.node.agency.arrivals
        assert arrivals.enter("worker/a", wiring.now_s) == one.node_id
        resident = one.node.agency.residents.get("worker/a")
        assert resident is not None
        assert resident.running == 1
        arrivals.left("worker/a")
        assert resident.running == 0

    def test_call_of_this_process_learns_where_else_its_agent_is(self, wiring: Wiring) -> None:
        one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(two)
        one.node.agency.locations.learn(key, one.node_id)
        assert one.node.agency.arrivals.enter(key, wiring.now_s) == two.node_id
        assert one.node.agency.locations.target(key) == two.node_id

    def test_nobody_enters_before_the_census_nor_where_nobody_hosts_the_type(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site]
    ) -> None:
        _, one, _ = meeting
        [key] = keys_at(one)
        assert one.node.agency.arrivals.enter(key, wiring.now_s) is HOLD
        assert not one.node.agency.arrivals.enter_event(key, wiring.now_s)
        assert one.node.agency.arrivals.enter("clerk/a", wiring.now_s) is None
