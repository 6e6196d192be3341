"""Which host gets the next message under keyless policies (SPEC.md section 8.1)."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from tests.unit.protocol.builders import node_id
from zmqagents.protocol import placement as placement_module
from zmqagents.protocol.bounds import MAX_UINT
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.placement import Balancer, Policy
from zmqagents.protocol.records import HostedType

ONE, TWO, THREE, OTHER = map(node_id, (1, 2, 3, 99))
KEYLESS = [policy for policy in Policy if not policy.keyed]
MESSAGES = 3_000


def hosts_of(weights: Mapping[NodeId, int]) -> dict[NodeId, HostedType]:
    return {host: HostedType("random", weight) for host, weight in weights.items()}


class Sender:
    """A balancer with a seeded source of chance, and what it has sent and not been answered."""

    def __init__(self, policy: Policy, own: NodeId = OTHER, seed: int = 7) -> None:
        self.policy = policy
        self.own = own
        self.balancer = Balancer()
        self.random: Callable[[], float] = random.Random(seed).random
        self.loads: Counter[NodeId] = Counter()

    def choose(self, weights: Mapping[NodeId, int], agent_type: str = "worker") -> NodeId | None:
        hosts = hosts_of(weights)
        return self.balancer.choose(self.policy, agent_type, hosts, self.own, self.loads.__getitem__, self.random)

    def shares(self, weights: Mapping[NodeId, int], messages: int = MESSAGES) -> Counter[NodeId | None]:
        return Counter(self.choose(weights) for _ in range(messages))


class Never:
    """Chance that must not be asked."""

    def __call__(self) -> float:
        raise AssertionError("no need for chance")


def test_policies_by_key_and_rebalance_are_the_keyed_ones() -> None:
    assert {policy for policy in Policy if policy.keyed} == {Policy.BY_KEY, Policy.REBALANCE}


def test_policy_is_known_by_its_name() -> None:
    assert [Policy.named(policy.value) for policy in Policy] == list(Policy)


def test_policy_of_a_later_version_is_as_by_key() -> None:
    assert Policy.named("by_the_moon") is Policy.BY_KEY


@pytest.mark.parametrize("policy", [Policy.BY_KEY, Policy.REBALANCE])
def test_keyed_policy_is_not_for_the_balancer(policy: Policy) -> None:
    with pytest.raises(ValueError, match="rendezvous_home"):
        Sender(policy).choose({ONE: 1})


@pytest.mark.parametrize("policy", KEYLESS)
def test_nobody_is_chosen_where_there_are_no_hosts(policy: Policy) -> None:
    assert Sender(policy).choose({}) is None


@pytest.mark.parametrize("policy", KEYLESS)
def test_only_host_is_chosen_without_chance(policy: Policy) -> None:
    sender = Sender(policy)
    sender.random = Never()
    assert sender.choose({ONE: 0}) == ONE


@pytest.mark.parametrize("policy", KEYLESS)
def test_host_of_weight_0_gets_nothing_where_another_has_weight(policy: Policy) -> None:
    sender = Sender(policy, own=ONE)
    sender.loads.update({TWO: 50, THREE: 50})
    assert sender.shares({ONE: 0, TWO: 1, THREE: 1}).keys() == {TWO, THREE}


@pytest.mark.parametrize("policy", KEYLESS)
def test_hosts_of_weight_0_share_alike_where_none_has_weight(policy: Policy) -> None:
    shares = Sender(policy).shares({ONE: 0, TWO: 0, THREE: 0})
    assert all(abs(shares[host] - MESSAGES / 3) < 4 * math.sqrt(MESSAGES / 3) for host in (ONE, TWO, THREE))


class TestRandom:
    def test_hosts_get_messages_in_proportion_to_their_weights(self) -> None:
        weights = {ONE: 100, TWO: 200, THREE: 300}
        shares = Sender(Policy.RANDOM).shares(weights)
        for host, weight in weights.items():
            expected = MESSAGES * weight / 600
            assert abs(shares[host] - expected) < 4 * math.sqrt(expected), "four standard deviations"

    @pytest.mark.parametrize("chance", [0.0, math.nextafter(1.0, 0.0)])
    def test_extremes_of_chance_choose_a_host(self, chance: float) -> None:
        sender = Sender(Policy.RANDOM)
        sender.random = lambda: chance
        assert sender.choose({ONE: MAX_UINT, TWO: 3, THREE: MAX_UINT}) in {ONE, TWO, THREE}


class TestRoundRobin:
    def test_hosts_of_one_weight_take_turns(self) -> None:
        sender = Sender(Policy.ROUND_ROBIN)
        weights = {ONE: 100, TWO: 100, THREE: 100}
        rounds = [[sender.choose(weights) for _ in range(3)] for _ in range(4)]
        assert set(rounds[0]) == {ONE, TWO, THREE}
        assert all(later == rounds[0] for later in rounds)

    def test_turns_are_exactly_in_proportion_and_spread_over_the_round(self) -> None:
        sender = Sender(Policy.ROUND_ROBIN)
        turns = [sender.choose({ONE: 5, TWO: 1, THREE: 1}) for _ in range(14)]
        assert Counter(turns) == {ONE: 10, TWO: 2, THREE: 2}
        others = [index for index, host in enumerate(turns[:7]) if host != ONE]
        assert others[1] - others[0] > 1, "the light hosts' turns are apart"

    def test_senders_begin_with_different_hosts(self) -> None:
        firsts = {Sender(Policy.ROUND_ROBIN, seed=seed).choose({ONE: 1, TWO: 1, THREE: 1}) for seed in range(20)}
        assert firsts == {ONE, TWO, THREE}

    def test_agent_types_have_rounds_of_their_own(self) -> None:
        sender = Sender(Policy.ROUND_ROBIN)
        weights = {ONE: 1, TWO: 1}
        turns = [(sender.choose(weights, "a"), sender.choose(weights, "b")) for _ in range(2)]
        assert {a for a, _ in turns} == {b for _, b in turns} == {ONE, TWO}

    def test_hosts_that_come_and_go_are_in_the_round_as_they_are(self) -> None:
        sender = Sender(Policy.ROUND_ROBIN)
        assert set(sender.shares({ONE: 1, TWO: 1}, 2)) == {ONE, TWO}
        assert set(sender.shares({ONE: 1, TWO: 1, THREE: 1}, 3)) == {ONE, TWO, THREE}
        assert set(sender.shares({THREE: 1, TWO: 1}, 2)) == {TWO, THREE}

    def test_new_weight_counts_at_once(self) -> None:
        sender = Sender(Policy.ROUND_ROBIN)
        sender.shares({ONE: 1, TWO: 1}, 10)
        assert sender.shares({ONE: 3, TWO: 1}, 40) == {ONE: 30, TWO: 10}

    def test_rounds_that_are_kept_are_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(placement_module, "MAX_WHEELS", 3)
        sender = Sender(Policy.ROUND_ROBIN)
        for number in range(10):
            sender.choose({ONE: 1, TWO: 1}, f"type-{number}")
        assert len(sender.balancer._wheels) == 3


class TestLeastLoaded:
    def test_less_loaded_of_two_hosts_is_chosen(self) -> None:
        sender = Sender(Policy.LEAST_LOADED)
        sender.loads.update({ONE: 5, TWO: 4})
        assert sender.shares({ONE: 100, TWO: 100}).keys() == {TWO}

    def test_load_is_scaled_by_weight(self) -> None:
        sender = Sender(Policy.LEAST_LOADED)
        sender.loads.update({ONE: 5, TWO: 4})
        assert sender.shares({ONE: 300, TWO: 100}).keys() == {ONE}

    def test_idle_hosts_share_in_proportion_to_their_weights(self) -> None:
        shares = Sender(Policy.LEAST_LOADED).shares({ONE: 100, TWO: 200})
        assert abs(shares[ONE] - MESSAGES / 3) < 4 * math.sqrt(MESSAGES / 3)

    def test_most_loaded_host_of_many_gets_nothing(self) -> None:
        sender = Sender(Policy.LEAST_LOADED)
        sender.loads[ONE] = 1
        assert sender.shares({ONE: 1, TWO: 1, THREE: 1}).keys() == {TWO, THREE}

    def test_load_stays_nearly_even_where_answers_never_come(self) -> None:
        sender = Sender(Policy.LEAST_LOADED)
        hosts = [node_id(number) for number in range(1, 21)]
        for _ in range(2_000):
            host = sender.choose(dict.fromkeys(hosts, 100))
            assert host is not None
            sender.loads[host] += 1
        assert max(sender.loads.values()) - min(sender.loads[host] for host in hosts) < 12, "chance alone: some 40"


class TestLocalFirst:
    def test_own_node_is_chosen_if_it_is_a_host(self) -> None:
        sender = Sender(Policy.LOCAL_FIRST, own=TWO)
        sender.loads[TWO] = 1_000
        assert sender.shares({ONE: 100, TWO: 1}).keys() == {TWO}

    def test_less_loaded_host_is_chosen_if_the_own_node_is_none(self) -> None:
        sender = Sender(Policy.LOCAL_FIRST)
        sender.loads[ONE] = 1
        assert sender.shares({ONE: 100, TWO: 100}).keys() == {TWO}
