"""What the home of agents knows: the census, claims, and two activations of one agent."""

from __future__ import annotations

import itertools
from unittest import mock

import pytest

from tests.unit.protocol.agents.wiring import Site, Wiring, active_at, key_that_goes, keys_at, node_id
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents import claims
from zmqagents.protocol.agents.claims import ASK_AGAIN_S, CENSUS_TIMEOUT_S, _chunks
from zmqagents.protocol.agents.residents import Stay
from zmqagents.protocol.bounds import MAX_AGENTS
from zmqagents.protocol.records import Phase


def entry(site: Site, key: str) -> bytes | None:
    return site.node.agency.claims.entry(key)


class TestCensus:
    def test_first_activation_asks_all_who_may_have_the_agent_and_the_next_one_asks_nobody(
        self, wiring: Wiring
    ) -> None:
        caller, one, _, _ = wiring.join(0), *(wiring.join(name, ["worker"]) for name in (1, 2, 3))
        first, second = keys_at(one, 2)
        calls = [caller.call(first, "a")]
        wiring.settle()
        assert wiring.sent["Census"] == wiring.sent["Claim"] == 2
        calls.append(caller.call(second, "b"))
        wiring.settle()
        assert [call.outcomes for call in calls] == [["1:a"], ["1:b"]]
        assert wiring.sent["Census"] == 2

    def test_who_hosts_nothing_and_other_types_are_not_asked(self, wiring: Wiring) -> None:
        caller, one, _ = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["clerk"])
        [key] = keys_at(one)
        call = caller.call(key, "a")
        wiring.settle()
        assert call.outcomes == ["1:a"]
        assert not wiring.sent["Census"]

    def test_host_that_leaves_is_asked(self, wiring: Wiring) -> None:
        caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(two)
        two.slow.add(key)
        caller.call(key, "a")
        wiring.settle()
        wiring.hold(one, two)
        two.become(Phase.LEAVING)
        wiring.deliver_news((two.node_id, one.node_id))  # ahead of its claim
        call = one.call(key, "b")
        wiring.settle()
        assert one.stay(key) is Stay.AWAITED
        wiring.release(one, two)
        wiring.settle()
        assert active_at(wiring, key) == [2]
        two.finish(key, 2)
        wiring.settle()
        assert call.outcomes == ["2:b"]

    def test_newcomer_is_asked_and_the_others_are_not_again(self, wiring: Wiring) -> None:
        caller, one, _ = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        first, _ = keys_at(one, 2)
        caller.call(first)
        wiring.settle()
        wiring.join(3, ["worker"])
        wiring.sent.clear()
        second = next(key for key in keys_at(one, 2) if key != first)
        caller.call(second)
        wiring.settle()
        assert wiring.sent["Census"] == 1

    def test_everybody_is_asked_anew_when_a_host_is_lost(self, wiring: Wiring) -> None:
        caller, one, _, three = wiring.join(0), *(wiring.join(name, ["worker"]) for name in (1, 2, 3))
        first, _ = keys_at(one, 2)
        caller.call(first)
        wiring.settle()
        wiring.die(three)
        wiring.sent.clear()
        second = next(key for key in keys_at(one, 2) if key != first)
        caller.call(second)
        wiring.settle()
        assert wiring.sent["Census"] == 1  # node 2 is the only other host that is left

    def test_census_waits_for_a_silent_claimant_until_its_time_is_over(self, wiring: Wiring) -> None:
        caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(one)
        wiring.hold(one, two)
        call = caller.call(key, "a")
        wiring.settle()
        wiring.pass_time(CENSUS_TIMEOUT_S - 0.2)
        assert one.stay(key) is Stay.AWAITED
        assert not call.outcomes
        wiring.pass_time(0.4)
        assert call.outcomes == ["1:a"]

    def test_question_is_asked_again_when_its_link_is_lost(self, wiring: Wiring) -> None:
        caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(one)
        wiring.hold(one, two)
        call = caller.call(key, "a")
        wiring.settle()
        wiring.wires.clear()
        wiring.reset(one, two)
        wiring.release(one, two)
        wiring.pass_time(2 * ASK_AGAIN_S + 0.6)
        assert call.outcomes == ["1:a"]
        assert wiring.sent["Census"] >= 2

    def test_census_ends_when_the_silent_claimant_dies(self, wiring: Wiring) -> None:
        caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(one)
        wiring.hold(one, two)
        call = caller.call(key, "a")
        wiring.settle()
        wiring.die(two)
        wiring.pass_time(0.1)
        assert call.outcomes == ["1:a"]

    def test_asker_with_another_view_hears_of_all_that_may_be_its_own(self, wiring: Wiring) -> None:
        one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        own = keys_at(two, 3)
        for key in own:
            two.call(key)
        wiring.settle()
        answers: list[f.DataFrame] = []

        def send(peer: bytes, frame: f.DataFrame) -> bool:
            answers.append(frame)
            return True

        with mock.patch.object(two.node.agency.claims, "_send", send):
            two.node.agency.claims.asked(one.node_id, f.Census(7, "worker", two.node.directory.view("worker")))
            two.node.agency.claims.asked(one.node_id, f.Census(8, "worker", bytes(8)))
            two.node.agency.claims.asked(node_id(9), f.Census(9, "worker", bytes(8)))
        same, different, stranger = answers
        assert same == f.Claim(7, True, [])
        assert different == f.Claim(8, True, [])  # the scores say that they are node 2's, whoever else there may be
        assert stranger == f.Claim(9, True, own)

    def test_answer_is_cut_into_claims_of_which_the_last_says_so(self) -> None:
        keys = [f"worker/{number:05}" for number in range(2 * MAX_AGENTS + 1)]
        chunks = _chunks(keys)
        assert [key for chunk in chunks for key in chunk] == keys
        assert all(0 < len(chunk) <= MAX_AGENTS for chunk in chunks)
        long = [f"worker/{'x' * 4_000}{number}" for number in range(20)]
        sizes = [sum(4 * len(key) + 5 for key in chunk) for chunk in _chunks(long)]
        assert max(sizes) <= claims.CLAIM_BYTES
        assert _chunks([]) == [[]]


class TestEntries:
    def test_agent_stays_when_a_host_joins_that_is_its_home_and_callers_find_it(self, wiring: Wiring) -> None:
        caller, one = wiring.join(0), wiring.join(1, ["worker"])
        key = key_that_goes(one, node_id(2))
        caller.call(key, "a")
        wiring.settle()
        two = wiring.join(2, ["worker"])
        assert entry(two, key) == one.node_id
        newcomer = wiring.join(3)
        calls = [site.call(key, "b") for site in (caller, newcomer, two)]
        wiring.settle()
        assert [call.outcomes for call in calls] == [["1:b"]] * 3
        assert newcomer.calls[0].asked == [two.node_id, one.node_id]
        assert active_at(wiring, key) == [1]

    def test_claim_is_told_again_when_the_link_with_the_home_was_lost(self, wiring: Wiring) -> None:
        one = wiring.join(1, ["worker"])
        key = key_that_goes(one, node_id(2))
        one.call(key)
        two = wiring.add(2, ["worker"])
        wiring.connect(two, one)
        wiring.settle(lambda: one.node.directory.home(key) == two.node_id)
        wiring.reset(one, two)
        wiring.pass_time(1.0)
        assert entry(two, key) == one.node_id

    def test_node_whose_claim_came_before_it_was_a_member_is_asked_when_it_is_one(self, wiring: Wiring) -> None:
        """It takes the claim for told; and of two activations one would never be found."""
        home, host = wiring.add(1, ["worker"]), wiring.add(2, ["worker"])
        [key] = keys_at(host)
        assert host.call(key, "first").outcomes
        home.node.agency.claims.claimed(host.node_id, f.Claim(0, True, [key]), wiring.now_s)
        assert home.node.agency.claims.entry(key) is None
        wiring.connect(home, host)
        wiring.settle()
        wiring.pass_time(0.5)
        assert wiring.sent["Census"] == 1

    def test_entry_that_is_wrong_is_taken_back_when_it_misleads_somebody(self, wiring: Wiring) -> None:
        caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(one)
        one.node.agency.claims._entries[key] = two.node_id
        call = caller.call(key, "a")
        wiring.settle()
        wiring.pass_time(0.5)
        assert call.outcomes == ["1:a"]
        assert entry(one, key) is None

    def test_disclaim_of_another_than_the_entry_names_changes_nothing(self, wiring: Wiring) -> None:
        one = wiring.join(1, ["worker"])
        one.node.agency.claims._entries["worker/a"] = node_id(2)
        one.node.agency.claims.disclaimed(node_id(3), f.Disclaim("worker/a"))
        assert entry(one, "worker/a") == node_id(2)

    def test_entries_and_contests_are_bounded_and_what_is_forgotten_is_counted(self, wiring: Wiring) -> None:
        one, two, three = (wiring.join(name, ["worker"]) for name in (1, 2, 3))
        table = one.node.agency.claims
        keys = [f"worker/{number}" for number in range(5)]
        with mock.patch.multiple(claims, MAX_ENTRIES=3, MAX_CONTESTED=2):
            for peer in (two.node_id, three.node_id):
                table.claimed(peer, f.Claim(0, True, keys), wiring.now_s)
        assert len(table._entries) == 3
        assert len(table._contested) == 2
        assert table.forgotten == 4

    def test_nothing_is_at_a_node_that_died(self, wiring: Wiring) -> None:
        one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        one.node.agency.claims.claimed(two.node_id, f.Claim(0, True, ["worker/a"]), wiring.now_s)
        wiring.die(two)
        assert entry(one, "worker/a") is None


class TestTwoActivations:
    @staticmethod
    def two_activations(wiring: Wiring) -> tuple[Site, Site, str]:
        """Hosts 1 and 2 have made the agent while they held each other for dead; its home is 2."""
        one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(two)
        wiring.split(one, two)
        one.call(key, "a")
        two.call(key, "b")
        wiring.settle()
        assert active_at(wiring, key) == [1, 2]
        return one, two, key

    def test_the_one_on_the_lowest_node_id_stays_when_a_partition_heals(self, wiring: Wiring) -> None:
        one, two, key = self.two_activations(wiring)
        wiring.connect(one, two)
        wiring.pass_time(2.0)
        assert active_at(wiring, key) == [1]
        assert entry(two, key) == one.node_id
        call = two.call(key, "c")
        wiring.settle()
        assert call.outcomes == ["1:c"]

    def test_handlers_end_before_the_agent_gives_way(self, wiring: Wiring) -> None:
        one, two, key = self.two_activations(wiring)
        two.slow.add(key)
        running = two.call(key, "slow")
        wiring.connect(one, two)
        wiring.pass_time(2.0)
        assert two.stay(key) is Stay.DRAINING
        two.publish("held", key)
        two.slow.clear()
        two.finish(key)
        wiring.pass_time(1.0)
        assert running.outcomes == ["2:slow"]
        assert two.stay(key) is None
        assert one.seen(key) == ["a", "held"]

    @pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
    @pytest.mark.parametrize("seed", range(4))
    def test_the_lowest_stays_whatever_comes_first(self, wiring: Wiring, order: tuple[int, ...], seed: int) -> None:
        sites = [wiring.join(name, ["worker"]) for name in (1, 2, 3)]
        home = wiring.join(4, ["worker"])
        [key] = keys_at(home)
        for site in sites:
            site.node.agency.residents.add(key, Stay.ACTIVE)
            site.node.agency.claims.look_again("worker")
        for index in order:
            sites[index].work()
        turn = seed
        while ready := wiring.ready(wiring.wires):
            turn = turn * 5 + 3
            wiring.deliver(ready[turn % len(ready)])
        wiring.pass_time(4.0)
        assert active_at(wiring, key) == [1]
        assert entry(home, key) == node_id(1)

    def test_yield_of_a_higher_node_and_rival_for_what_is_not_here_end_nothing(self, wiring: Wiring) -> None:
        one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        [key] = keys_at(one)
        one.call(key)
        wiring.settle()
        one.node.agency.claims.yielded(two.node_id, f.Yield(key))
        assert one.stay(key) is Stay.ACTIVE
        wiring.sent.clear()
        two.node.agency.claims.rival(one.node_id, f.Rival(key, node_id(3)))
        wiring.settle()
        assert wiring.sent["Disclaim"] == 1

    def test_agent_that_gives_way_stays_after_all_when_the_winner_dies_first(self, wiring: Wiring) -> None:
        one, two, key = self.two_activations(wiring)
        two.slow.add(key)
        two.call(key, "slow")
        wiring.connect(one, two)
        wiring.pass_time(2.0)
        assert two.stay(key) is Stay.DRAINING
        wiring.die(one)
        two.finish(key)
        wiring.pass_time(1.0)
        assert active_at(wiring, key) == [2]
        assert two.seen(key) == ["b", "slow"]

    @pytest.mark.parametrize("order", list(itertools.permutations((1, 2))))
    def test_the_lowest_stays_of_three_one_of_which_is_at_the_home(
        self, wiring: Wiring, order: tuple[int, int]
    ) -> None:
        wiring.join(1, ["worker"])
        wiring.join(2, ["worker"])
        home = wiring.join(3, ["worker"])
        [key] = keys_at(home)
        for site in wiring.sites.values():
            site.node.agency.residents.add(key, Stay.ACTIVE)
        home.slow.add(key)
        running = home.call(key, "slow")
        for name in order:
            wiring.sites[node_id(name)].node.agency.claims.look_again("worker")
            wiring.settle()
        home.finish(key)
        wiring.pass_time(2.0)
        assert running.outcomes == ["3:slow"]
        assert active_at(wiring, key) == [1]
        assert entry(home, key) == node_id(1)

    def test_loser_that_has_not_given_way_yet_is_where_the_agent_is_when_the_winner_dies(self, wiring: Wiring) -> None:
        one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        home = wiring.join(3, ["worker"])
        [key] = keys_at(home)
        wiring.hold(one, two)
        for site in (one, two):
            site.node.agency.residents.add(key, Stay.ACTIVE)
            site.node.agency.claims.look_again("worker")
        wiring.settle()
        assert entry(home, key) == one.node_id
        wiring.die(one)
        assert entry(home, key) == two.node_id
        call = home.call(key, "a")
        wiring.settle()
        assert call.outcomes == ["2:a"]

    def test_what_is_lost_of_the_contest_is_said_again(self, wiring: Wiring) -> None:
        one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
        home = wiring.join(3, ["worker"])
        [key] = keys_at(home)
        wiring.hold(one, two)
        for site in (one, two):
            site.node.agency.residents.add(key, Stay.ACTIVE)
            site.node.agency.claims.look_again("worker")
        wiring.settle()
        wiring.wires.clear()
        wiring.reset(one, two)
        wiring.release(one, two)
        wiring.pass_time(3.0)
        assert active_at(wiring, key) == [1]
