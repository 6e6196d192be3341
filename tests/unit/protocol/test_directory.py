"""Where agents live and whom topics reach (SPEC.md sections 8.1 and 8.5)."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import replace

import pytest

from tests.unit.protocol.builders import EXACT, OPAQUE, PREFIX, make_record, node_id
from zmqagents.protocol import directory as directory_module
from zmqagents.protocol.directory import Directory, HostsChanged, PolicyConflict
from zmqagents.protocol.placement import Policy, rendezvous_home, rendezvous_score
from zmqagents.protocol.records import HostedType, Phase, Record

KEYS = [f"worker/{number}" for number in range(3_000)]


def directory_of(*records: Record) -> Directory:
    directory = Directory()
    for record in records:
        directory.replace(None, record)
    return directory


def host(
    name: int, policy: str = "by_key", weight: int = 1, phase: Phase = Phase.ACTIVE, idempotent: tuple[str, ...] = ()
) -> Record:
    """A record of a host of the type ``worker``."""
    hosted = HostedType(policy, weight, frozenset(idempotent))
    return replace(make_record(name, phase=phase), types={"worker": hosted})


class TestPlacement:
    def test_score_is_computed_as_the_specification_says(self) -> None:
        h = int.from_bytes(hashlib.blake2b(node_id(1) + "worker/ä".encode(), digest_size=8).digest(), "big") >> 12
        assert rendezvous_score(node_id(1), "worker/ä", 3) == 3 / -math.log((h + 0.5) / 2**52)

    @pytest.mark.parametrize("digest", [bytes(8), b"\xff" * 8])
    def test_score_is_finite_for_every_hash(self, digest: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        class Fixed:
            def digest(self) -> bytes:
                return digest

        monkeypatch.setattr(hashlib, "blake2b", lambda *_, **__: Fixed())
        assert 0 < rendezvous_score(node_id(1), "worker/a", 1) < math.inf

    def test_nobody_is_home_where_there_are_no_hosts(self) -> None:
        assert rendezvous_home("worker/a", []) is None

    def test_lower_node_id_wins_a_tie(self) -> None:
        hosts = [(node_id(number), 0) for number in (3, 1, 2)]
        assert rendezvous_home("worker/a", hosts) == node_id(1)

    def test_host_of_weight_0_has_agents_only_where_no_other_has_weight(self) -> None:
        assert {rendezvous_home(key, [(node_id(1), 0), (node_id(2), 1)]) for key in KEYS} == {node_id(2)}

    def test_only_the_agents_of_a_lost_host_move(self) -> None:
        hosts = [(node_id(number), 1) for number in range(1, 6)]
        before = {key: rendezvous_home(key, hosts) for key in KEYS}
        after = {key: rendezvous_home(key, hosts[:-1]) for key in KEYS}
        moved = {key for key in KEYS if before[key] != after[key]}
        assert moved == {key for key in KEYS if before[key] == node_id(5)}
        assert len({after[key] for key in moved}) == 4, "all that are left take their part"

    def test_hosts_share_agents_in_proportion_to_their_weights(self) -> None:
        weights = {node_id(1): 1, node_id(2): 2, node_id(3): 3}
        shares = Counter(rendezvous_home(key, weights.items()) for key in KEYS)
        for host, weight in weights.items():
            expected = len(KEYS) * weight / 6
            assert abs(shares[host] - expected) < 4 * math.sqrt(expected), "four standard deviations"


class TestHomes:
    def test_pinned_agent_lives_where_it_is_pinned(self) -> None:
        directory = directory_of(make_record(1, types=["worker"]), make_record(2, pinned=["worker/a"]))
        assert directory.home("worker/a") == node_id(2)
        assert directory.home("worker/b") == node_id(1)

    def test_lowest_node_id_has_an_agent_that_two_pin(self) -> None:
        directory = directory_of(make_record(2, pinned=["worker/a"]), make_record(1, pinned=["worker/a"]))
        assert directory.home("worker/a") == node_id(1)

    @pytest.mark.parametrize("phase", [Phase.JOINING, Phase.LEAVING])
    def test_agents_live_on_active_nodes_only(self, phase: Phase) -> None:
        directory = directory_of(make_record(1, phase=phase, types=["worker"], pinned=["boss/a"]))
        assert (directory.home("worker/a"), directory.home("boss/a")) == (None, None)

    def test_node_that_hosts_and_pins_a_type_counts_once(self) -> None:
        directory = directory_of(
            make_record(1, types=["worker"], pinned=["worker/a"]), make_record(2, pinned=["worker/b", "worker/c"])
        )
        assert directory.process_count("worker") == 2

    def test_cache_of_homes_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(directory_module, "MAX_CACHED_HOMES", 10)
        directory = directory_of(make_record(1, types=["worker"]))
        assert {directory.home(key) for key in KEYS[:25]} == {node_id(1)}
        assert sum(map(len, directory._homes.values())) <= 10

    def test_home_is_computed_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        directory = directory_of(make_record(1, types=["worker"]))
        home = directory.home("worker/a")
        monkeypatch.setattr(directory_module, "rendezvous_home", None)
        assert directory.home("worker/a") == home

    def test_home_is_computed_again_when_the_hosts_of_the_type_change_and_not_for_others(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        directory = directory_of(make_record(1, types=["worker", "boss"]))
        directory.home("worker/a")
        boss = directory.home("boss/a")
        directory.replace(None, make_record(2, types=["worker"]))
        monkeypatch.setattr(directory_module, "rendezvous_home", lambda *_: b"computed")
        assert directory.home("worker/a") == b"computed"
        assert directory.home("boss/a") == boss


class TestPolicies:
    @pytest.mark.parametrize("policy", Policy)
    def test_policy_is_what_the_hosts_say(self, policy: Policy) -> None:
        assert directory_of(host(1, policy.value), host(2, policy.value)).policy("worker") is policy

    def test_type_without_hosts_is_by_key(self) -> None:
        assert directory_of(make_record(1, pinned=["worker/a"])).policy("worker") is Policy.BY_KEY

    def test_policy_of_a_later_version_that_all_hosts_name_is_as_by_key(self) -> None:
        assert directory_of(host(1, "by_the_moon"), host(2, "by_the_moon")).policy("worker") is Policy.BY_KEY

    def test_hosts_that_disagree_are_a_conflict_that_names_two_and_what_they_say(self) -> None:
        directory = directory_of(host(4, "random"), host(2, "by_key"), host(3, "by_key"), host(5, "rebalance"))
        conflict = PolicyConflict("worker", node_id(2), "by_key", node_id(4), "random")
        assert directory.policy("worker") == conflict
        assert directory.conflicts() == [conflict]

    def test_policy_of_a_later_version_and_by_key_are_a_conflict(self) -> None:
        directory = directory_of(host(1, "by_the_moon"), host(2, "by_key"))
        assert directory.policy("worker") == PolicyConflict("worker", node_id(1), "by_the_moon", node_id(2), "by_key")

    @pytest.mark.parametrize("end", [None, host(2, "by_key"), host(2, "random", phase=Phase.LEAVING)])
    def test_conflict_ends_when_the_last_host_that_differs_gives_way(self, end: Record | None) -> None:
        directory = directory_of(host(1), host(2, "random"))
        directory.replace(host(2, "random"), end)
        assert directory.policy("worker") is Policy.BY_KEY
        assert directory.conflicts() == []


class TestHosts:
    @pytest.mark.parametrize(
        ("phase", "claims"), [(Phase.JOINING, False), (Phase.ACTIVE, True), (Phase.LEAVING, True), (Phase.LEFT, False)]
    )
    def test_claimants_are_active_or_leaving(self, phase: Phase, claims: bool) -> None:
        assert (node_id(1) in directory_of(host(1, phase=phase)).claimants("worker")) is claims

    def test_view_is_the_xor_of_a_hash_of_each_host_with_its_weight(self) -> None:
        one, two = (
            int.from_bytes(hashlib.blake2b(node_id(n) + w.to_bytes(8, "big"), digest_size=8).digest(), "big")
            for n, w in ((1, 5), (2, 7))
        )
        assert directory_of(host(1, weight=5), host(2, weight=7)).view("worker") == (one ^ two).to_bytes(8, "big")

    def test_view_of_a_type_without_hosts_is_zero(self) -> None:
        assert Directory().view("worker") == bytes(8)

    def test_view_does_not_tell_of_policies_nor_of_nodes_that_do_not_host(self) -> None:
        plain = directory_of(host(1))
        directory = directory_of(host(1, "random", idempotent=("Ask",)), host(2, phase=Phase.LEAVING), make_record(3))
        assert directory.view("worker") == plain.view("worker")

    @pytest.mark.parametrize(
        ("old", "new", "gained", "lost", "claimants"),
        [
            (None, host(1), True, False, True),
            (host(1), None, False, True, True),
            (host(1), host(1, weight=2), True, True, False),
            (host(1), host(1, phase=Phase.LEAVING), False, True, False),
            (host(1, phase=Phase.LEAVING), None, False, False, True),
            (host(1, phase=Phase.JOINING), host(1), True, False, True),
            (host(1, phase=Phase.JOINING), host(1, phase=Phase.LEAVING), False, False, True),
        ],
    )
    def test_change_of_a_record_tells_how_the_hosts_changed(
        self,
        old: Record | None,
        new: Record | None,
        gained: bool,
        lost: bool,
        claimants: bool,
    ) -> None:
        directory = directory_of(*([old] if old is not None else []))
        node = (node_id(1),)
        expected = HostsChanged("worker", node if gained else (), node if lost else (), claimants)
        assert directory.replace(old, new) == [expected]

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            (host(1), host(1)),
            (host(1), host(1, "random")),
            (host(1), host(1, idempotent=("Ask",))),
            (None, host(1, phase=Phase.JOINING)),
            (None, make_record(1, pinned=["worker/a"])),
        ],
    )
    def test_change_that_leaves_hosts_and_claimants_as_they_are_is_none_of_theirs(
        self, old: Record | None, new: Record
    ) -> None:
        directory = directory_of(*([old] if old is not None else []))
        assert directory.replace(old, new) == []

    def test_change_of_several_types_is_told_for_each_that_it_concerns(self) -> None:
        old = make_record(1, types={"a": 1, "b": 1, "c": 1})
        directory = directory_of(old)
        changes = directory.replace(old, make_record(1, types={"b": 1, "c": 2, "d": 1}))
        assert [(change.agent_type, bool(change.gained), bool(change.lost)) for change in changes] == [
            ("a", False, True),
            ("c", True, True),
            ("d", True, False),
        ]


class CountingText(str):
    """A topic type that counts how often it is looked at."""

    __slots__ = ("looks",)
    looks: int

    def __getitem__(self, key: object) -> str:
        self.looks += 1
        return super().__getitem__(key)  # type: ignore[index]  # whatever str takes

    def __eq__(self, other: object) -> bool:
        self.looks += 1
        return super().__eq__(other)

    def startswith(self, *args: object) -> bool:
        self.looks += 1
        return super().startswith(*args)  # type: ignore[arg-type]

    def __hash__(self) -> int:
        return super().__hash__()


class TestTopics:
    def test_topic_reaches_exact_and_prefix_subscriptions_of_all_nodes_each_type_once(self) -> None:
        directory = directory_of(
            make_record(1, subscriptions=[(EXACT, "news", "reader"), (PREFIX, "ne", "logger"), (EXACT, "other", "x")]),
            make_record(2, subscriptions=[(EXACT, "news", "reader"), (PREFIX, "", "archive"), (PREFIX, "newss", "y")]),
        )
        assert sorted(directory.agent_types("news")) == ["archive", "logger", "reader"]

    def test_type_stays_until_its_last_subscription_goes(self) -> None:
        one, two = (make_record(number, subscriptions=[(EXACT, "news", "reader")]) for number in (1, 2))
        directory = directory_of(one, two)
        directory.replace(one, None)
        assert directory.agent_types("news") == ("reader",)
        directory.replace(two, None)
        assert directory.agent_types("news") == ()

    def test_owners_of_opaque_subscriptions_are_known(self) -> None:
        directory = directory_of(make_record(1, subscriptions=[(OPAQUE, "", "a"), (OPAQUE, "", "b")]), make_record(2))
        assert directory.opaque_owners == {node_id(1): 2}

    def test_topic_is_not_compared_with_10_000_subscriptions(self) -> None:
        subscriptions = [(EXACT, f"exact-{number}", "reader") for number in range(5_000)]
        subscriptions += [(PREFIX, f"prefix-{number}", "reader") for number in range(5_000)]
        directory = directory_of(make_record(1, subscriptions=subscriptions))
        lengths = len({len(match) for kind, match, _ in subscriptions if kind is PREFIX})
        topic = CountingText("prefix-4242-and-more")
        topic.looks = 0
        assert directory.agent_types(topic) == ("reader",)
        assert topic.looks <= lengths, "one look for each length of prefix"
        topic.looks = 0
        assert directory.agent_types(topic) == ("reader",)
        assert topic.looks == 0, "the answer was kept"

    def test_answers_that_a_change_cannot_touch_are_kept(self) -> None:
        directory = directory_of(make_record(1, subscriptions=[(PREFIX, "a", "reader"), (PREFIX, "b", "reader")]))
        kept, changed = directory.agent_types("b1"), directory.agent_types("a1")
        directory.replace(None, make_record(2, subscriptions=[(PREFIX, "a", "logger")]))
        assert directory.agent_types("b1") is kept
        assert directory.agent_types("a1") != changed

    def test_cache_of_topics_is_bounded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(directory_module, "MAX_CACHED_TOPICS", 10)
        directory = directory_of(make_record(1, subscriptions=[(PREFIX, "", "reader")]))
        assert {directory.agent_types(f"t{number}") for number in range(25)} == {("reader",)}
        assert len(directory._topics) <= 10
