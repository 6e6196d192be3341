"""Agents that go to another node: on leaving, on a join, with their state."""

from __future__ import annotations

import pytest

from tests.unit.protocol.agents.wiring import Site, Wiring, active_at, key_that_goes, keys_at, node_id
from zmqagents.protocol.agents.moves import AT_ONCE, PATIENCE_S, RETRY_S
from zmqagents.protocol.agents.residents import Stay
from zmqagents.protocol.placement import rendezvous_home
from zmqagents.protocol.records import Phase


@pytest.fixture
def meeting(wiring: Wiring) -> tuple[Site, Site, Site, str]:
    """A caller, two hosts, and an agent that is active on the first one."""
    caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    [key] = keys_at(one)
    caller.call(key, "first")
    wiring.settle()
    return caller, one, two, key


class TestLeaving:
    def test_agent_goes_with_its_state_and_the_process_is_empty(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]
    ) -> None:
        caller, one, two, key = meeting
        one.become(Phase.LEAVING)
        wiring.settle()
        call = caller.call(key, "second")
        wiring.settle()
        assert active_at(wiring, key) == [2]
        assert two.seen(key) == ["first", "second"]
        assert call.outcomes == ["2:second"]
        assert [(gone.to, gone.lost) for gone in one.evicted] == [(two.node_id, "")]
        assert one.node.agency.is_empty

    def test_agent_without_a_state_goes_without_one(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]
    ) -> None:
        caller, one, two, key = meeting
        one.stateless.add(key)
        one.become(Phase.LEAVING)
        caller.call(key, "second")
        wiring.settle()
        assert two.seen(key) == ["second"]
        assert [gone.lost for gone in one.evicted] == [""]
        assert not wiring.sent["Agent"]

    def test_agent_waits_for_its_handlers_serves_calls_and_holds_events(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]
    ) -> None:
        caller, one, two, key = meeting
        one.slow.add(key)
        caller.call(key, "slow")
        wiring.settle()
        one.become(Phase.LEAVING)
        caller.publish("event", key)
        caller.call(key, "nested")
        wiring.settle()
        assert one.stay(key) is Stay.DRAINING
        assert one.seen(key) == ["first", "slow", "nested"]
        assert not one.node.agency.is_empty
        one.finish(key, 2)
        wiring.settle()
        assert two.seen(key) == ["first", "slow", "nested", "event"]

    def test_patience_with_calls_ends(self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]) -> None:
        caller, one, two, key = meeting
        one.slow.add(key)
        caller.call(key, "slow")
        wiring.settle()
        one.become(Phase.LEAVING)
        wiring.pass_time(PATIENCE_S + 0.1)
        late = caller.call(key, "late")
        wiring.settle()
        assert one.seen(key) == ["first", "slow"]
        one.finish(key)
        wiring.settle()
        assert late.outcomes == ["2:late"]
        assert two.seen(key) == ["first", "slow", "late"]

    def test_what_comes_while_the_state_is_saved_is_sent_on_in_order(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]
    ) -> None:
        caller, one, two, key = meeting
        one.stuck_packing.add(key)
        one.become(Phase.LEAVING)
        call = caller.call(key, "call")
        for text in "abc":
            caller.publish(text, key)
        wiring.settle()
        assert one.stay(key) is Stay.PACKED
        assert not call.outcomes
        one.pack(key)
        wiring.settle()
        assert call.outcomes == ["2:call"]
        assert [text for text in two.seen(key) if text in "abc"] == ["a", "b", "c"]
        assert caller.node.unfinished_events == 0
        assert one.node.agency.is_empty

    def test_agents_go_a_bounded_number_at_a_time(self, wiring: Wiring) -> None:
        one = wiring.join(1, ["worker"])
        wiring.join(2, ["worker"])
        keys = keys_at(one, AT_ONCE + 10)
        for key in keys:
            one.call(key)
        wiring.settle()
        one.stuck_packing.update(keys)
        one.become(Phase.LEAVING)
        assert len(one.packing) == AT_ONCE
        assert [one.stay(key) for key in keys].count(Stay.ACTIVE) == 10
        while one.packing:
            one.pack(one.packing[0])
            wiring.settle()
            assert len(one.packing) <= AT_ONCE
        assert len(one.evicted) == len(keys)

    def test_agents_of_the_last_host_stay_and_end_with_it(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]
    ) -> None:
        caller, one, two, key = meeting
        wiring.die(two)
        one.become(Phase.LEAVING)
        wiring.settle()
        assert one.stay(key) is Stay.ACTIVE
        assert not one.evicted
        call = caller.call(key, "late")
        wiring.settle()
        assert not call.outcomes

    def test_agents_of_the_last_host_go_when_another_one_comes_in_time(self, wiring: Wiring) -> None:
        one = wiring.join(1, ["worker"])
        one.slow.add("worker/a")
        one.call("worker/a", "first")
        one.become(Phase.LEAVING)
        two = wiring.join(2, ["worker"])
        one.finish("worker/a")
        wiring.settle()
        assert active_at(wiring, "worker/a") == [2]
        assert two.seen("worker/a") == ["first"]

    def test_agent_that_arrives_while_its_new_home_leaves_goes_on(self, wiring: Wiring) -> None:
        one, two, three = (wiring.join(name, ["worker"]) for name in (1, 2, 3))
        key = next(key for key in keys_at(one, 50) if _home_without(one, two, three, key) == two.node_id)
        one.call(key, "first")
        wiring.settle()
        wiring.hold(one, three)
        one.become(Phase.LEAVING)
        two.become(Phase.LEAVING)
        wiring.settle()
        wiring.release(one, three)
        wiring.pass_time(1.0)
        assert active_at(wiring, key) == [3]
        assert three.seen(key) == ["first"]


def _home_without(gone: Site, two: Site, three: Site, key: str) -> bytes:
    home = rendezvous_home(key, [(two.node_id, 1), (three.node_id, 1)])
    assert home is not None
    return home


class TestAdoption:
    def test_new_home_that_does_not_know_yet_is_asked_again(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]
    ) -> None:
        _, one, two, key = meeting
        wiring.hold(one, two)
        two.become(Phase.JOINING)  # it does not take itself for a host, as one does for a moment still
        wiring.news.clear()
        one.become(Phase.LEAVING)
        two.work()
        lane = wiring.wires.get((two.node_id, one.node_id))
        if lane is not None:
            lane.clear()
        wiring.release(one, two)
        wiring.settle()
        assert active_at(wiring, key) == [1]
        two.become(Phase.ACTIVE)
        wiring.pass_time(2 * RETRY_S)
        assert active_at(wiring, key) == [2]
        assert two.seen(key) == ["first"]

    def test_agent_whose_state_cannot_be_loaded_begins_anew_and_that_is_told(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]
    ) -> None:
        caller, one, two, key = meeting
        two.refusing.add(key)
        one.become(Phase.LEAVING)
        wiring.settle()
        call = caller.call(key, "second")
        wiring.settle()
        [gone] = one.evicted
        assert gone.lost == "its state could not be loaded there: ValueError no such state"
        assert call.outcomes == ["2:second"]
        assert two.seen(key) == ["second"]

    def test_agent_goes_to_the_next_home_when_the_first_one_dies_over_it(self, wiring: Wiring) -> None:
        caller, (one, two, three) = wiring.join(0), [wiring.join(name, ["worker"]) for name in (1, 2, 3)]
        key = next(key for key in keys_at(one, 50) if _home_without(one, two, three, key) == two.node_id)
        caller.call(key, "first")
        wiring.settle()
        wiring.hold(one, two)
        one.become(Phase.LEAVING)
        caller.publish("event", key)
        wiring.settle()
        assert active_at(wiring, key) == []
        wiring.die(two)
        wiring.pass_time(2 * RETRY_S)
        assert active_at(wiring, key) == [3]
        assert three.seen(key) == ["first", "event"]

    def test_agent_stays_when_its_node_is_the_only_host_again(self, wiring: Wiring) -> None:
        one = wiring.join(1, ["worker"], policy="rebalance")
        key = key_that_goes(one, node_id(2))
        one.call(key, "first")
        one.stuck_packing.add(key)
        two = wiring.join(2, ["worker"], policy="rebalance")
        assert one.stay(key) is Stay.PACKED
        held = one.call(key, "held")
        wiring.die(two)
        one.pack(key)
        wiring.pass_time(0.1)
        assert one.stay(key) is Stay.ACTIVE
        assert held.outcomes == ["1:held"]
        assert one.seen(key) == ["first", "held"]
        assert not one.evicted

    def test_state_is_given_up_when_the_agent_is_active_at_its_new_home(
        self, wiring: Wiring, meeting: tuple[Site, Site, Site, str]
    ) -> None:
        _, one, two, key = meeting
        two.node.agency.residents.add(key, Stay.ACTIVE)
        one.become(Phase.LEAVING)
        wiring.settle()
        assert active_at(wiring, key) == [2]
        assert [gone.lost for gone in one.evicted] in (["it is active there already"], [""])


class TestRebalance:
    def test_agents_follow_their_home_when_that_is_their_policy(self, wiring: Wiring) -> None:
        caller, one = wiring.join(0), wiring.join(1, ["worker"], policy="rebalance")
        key = key_that_goes(one, node_id(2))
        stays = next(other for other in keys_at(one, 50) if other != key)
        caller.call(key, "first")
        wiring.settle()
        two = wiring.join(2, ["worker"], policy="rebalance")
        assert active_at(wiring, key) == [2]
        assert two.seen(key) == ["first"]
        caller.call(key, "second")
        caller.call(stays)
        wiring.settle()
        assert two.seen(key) == ["first", "second"]

    def test_events_of_one_publisher_keep_their_order_while_the_agent_goes(self, wiring: Wiring) -> None:
        caller, one = wiring.join(0), wiring.join(1, ["worker"], policy="rebalance")
        key = key_that_goes(one, node_id(2))
        one.slow.add(key)
        texts = [f"{number:02}" for number in range(12)]
        for text in texts[:4]:
            caller.publish(text, key)
        wiring.settle()
        two = wiring.join(2, ["worker"], policy="rebalance")
        for text in texts[4:8]:
            caller.publish(text, key)
        wiring.settle()
        one.finish(key, 4)
        for text in texts[8:]:
            caller.publish(text, key)
        wiring.settle()
        wiring.pass_time(0.5)
        assert two.seen(key) == texts
        assert caller.node.unfinished_events == 0
