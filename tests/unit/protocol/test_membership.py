"""The gossip table, case by case (SPEC.md section 6). That it is a CRDT is proven in tests/property."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tests.unit.protocol.builders import make_record, node_id
from zmqagents.errors import LocalProtocolError, RemoteProtocolError, WireCode
from zmqagents.protocol import membership as membership_module
from zmqagents.protocol.bounds import MAX_UINT
from zmqagents.protocol.membership import MAX_PUSH_BYTES, TOMBSTONE_LIFE_S, Change, MemberChange, Membership
from zmqagents.protocol.records import Phase, encode_record

NOW_S = 50.0
A, B = node_id("a"), node_id("b")


def make_table(**own: Any) -> Membership:
    return Membership(make_record("own", **own))


def merge(
    table: Membership, name: str = "a", version: int = 1, now_s: float = NOW_S, **fields: Any
) -> MemberChange | None:
    return table.merge(encode_record(make_record(name, version, **fields)), now_s)


class TestOwnRecord:
    def test_own_record_is_a_live_entry(self) -> None:
        table = make_table()
        assert [record.node_id for record in table.live()] == [node_id("own")]
        assert table.own_encoded == encode_record(table.own)

    def test_publishing_counts_the_version_up(self) -> None:
        table = make_table(version=4)
        published = table.publish(make_record("own", version=1, types=["worker"]))
        assert published == table.own
        assert (published.version, set(published.types)) == (5, {"worker"})

    def test_publishing_the_record_of_another_node_is_refused(self) -> None:
        with pytest.raises(LocalProtocolError):
            make_table().publish(make_record("a"))

    def test_own_death_is_refuted_with_a_higher_version(self) -> None:
        table = make_table(version=3)
        assert table.mark_dead(node_id("own"), 7, NOW_S) is None
        assert table.own.version == 8
        assert table.get(node_id("own")) == table.own

    def test_own_death_at_an_old_version_needs_no_refutation(self) -> None:
        table = make_table(version=3)
        table.mark_dead(node_id("own"), 2, NOW_S)
        assert table.own.version == 3

    def test_own_record_of_a_newer_version_is_passed(self) -> None:
        table = make_table(version=3)
        merge(table, "own", 6, label="not ours")
        assert (table.own.version, table.own.instance_id) == (7, "")

    def test_news_of_ourselves_at_the_highest_version_is_refused(self) -> None:
        table = make_table()
        with pytest.raises(RemoteProtocolError) as death:
            table.mark_dead(node_id("own"), MAX_UINT, NOW_S)
        with pytest.raises(RemoteProtocolError) as record:
            merge(table, "own", MAX_UINT)
        assert death.value.code is record.value.code is WireCode.BAD_FIELD
        assert table.own.version == 1


class TestMerging:
    def test_merging_tells_who_joined_who_changed_and_who_left(self) -> None:
        table = make_table()
        one, two, three = (
            make_record("a", v, phase) for v, phase in enumerate([Phase.JOINING, Phase.ACTIVE, Phase.LEFT], 1)
        )
        assert merge(table, version=1, phase=Phase.JOINING) == (Change.JOINED, one, None)
        assert merge(table, version=2) == (Change.UPDATED, two, one)
        assert merge(table, version=3, phase=Phase.LEFT) == (Change.LEFT, three, two)
        assert table.get(A) is None

    def test_merging_an_older_record_changes_nothing(self) -> None:
        table = make_table()
        merge(table, version=2)
        assert merge(table, version=1, label="old") is None
        assert merge(table, version=2) is None

    def test_record_is_passed_on_as_it_was_received(self) -> None:
        table = make_table()
        encoded = encode_record(make_record("a"))
        relayed = bytes([encoded[0] + 1]) + encoded[1:] + b"\x18\x40\x05"  # with key 64, of a later version
        table.merge(relayed, NOW_S)
        assert table.encoded(A) == relayed

    def test_record_of_another_cluster_is_refused(self) -> None:
        table = make_table()
        with pytest.raises(RemoteProtocolError) as error:
            merge(table, cluster="other")
        assert error.value.code is WireCode.WRONG_CLUSTER
        assert table.get(A) is None

    def test_table_refuses_more_nodes_than_it_may_hold(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(membership_module, "MAX_NODES", 3)
        table = make_table()
        merge(table, "a")
        merge(table, "b")
        with pytest.raises(RemoteProtocolError) as error:
            merge(table, "c")
        assert error.value.code is WireCode.TOO_LARGE
        assert merge(table, "b", 2) is not None, "those inside may change"
        assert merge(table, "b", 3, phase=Phase.LEFT) is not None
        assert merge(table, "c") is not None

    def test_leaving_beats_a_record_of_the_same_version(self) -> None:
        for phases in ([Phase.ACTIVE, Phase.LEFT], [Phase.LEFT, Phase.ACTIVE]):
            table = make_table()
            for phase in phases:
                merge(table, phase=phase)
            assert table.is_buried(A)


class TestDeath:
    def test_death_is_told_with_the_last_record(self) -> None:
        table = make_table()
        merge(table, version=2)
        record = table.get(A)
        assert table.mark_dead(A, 2, NOW_S) == (Change.DIED, record, record)
        assert (table.get(A), table.is_buried(A), table.buried_at(A)) == (None, True, 2)

    def test_death_of_an_older_life_changes_nothing(self) -> None:
        table = make_table()
        merge(table, version=2)
        assert table.mark_dead(A, 1, NOW_S) is None
        assert table.get(A) is not None

    def test_old_record_does_not_bring_the_dead_back(self) -> None:
        table = make_table()
        merge(table, version=2)
        table.mark_dead(A, 2, NOW_S)
        assert merge(table, version=2) is None
        assert table.is_buried(A)

    def test_refutation_brings_the_node_back(self) -> None:
        table = make_table()
        merge(table, version=2)
        table.mark_dead(A, 2, NOW_S)
        change = merge(table, version=3)
        assert change is not None
        assert change.change is Change.JOINED
        assert not table.is_buried(A)
        assert table.buried_at(A) is None

    def test_death_of_an_unknown_node_is_kept(self) -> None:
        table = make_table()
        assert table.mark_dead(A, 5, NOW_S) is None
        assert merge(table, version=5) is None
        assert merge(table, version=6) is not None


class TestTombstones:
    def test_tombstones_are_forgotten_after_their_life(self) -> None:
        table = make_table()
        table.mark_dead(A, 1, NOW_S)
        table.mark_dead(B, 1, NOW_S + 100)
        table.expire(NOW_S + TOMBSTONE_LIFE_S - 1)
        assert table.is_buried(A)
        table.expire(NOW_S + TOMBSTONE_LIFE_S)
        assert (table.is_buried(A), table.is_buried(B)) == (False, True)

    def test_old_news_does_not_prolong_a_tombstone(self) -> None:
        table = make_table()
        table.mark_dead(A, 2, NOW_S)
        table.mark_dead(A, 2, NOW_S + 500)
        merge(table, version=1, phase=Phase.LEFT, now_s=NOW_S + 500)
        table.expire(NOW_S + TOMBSTONE_LIFE_S)
        assert not table.is_buried(A)

    def test_oldest_tombstones_go_when_there_are_too_many(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(membership_module, "MAX_TOMBSTONES", 2)
        table = make_table()
        for name in ("a", "b", "c"):
            table.mark_dead(node_id(name), 1, NOW_S)
        assert [table.is_buried(node_id(name)) for name in ("a", "b", "c")] == [False, True, True]


class TestDigest:
    def test_digest_is_computed_as_the_specification_says(self) -> None:
        table = make_table(version=3)
        merge(table, "a", 258)
        hashes = [
            hashlib.blake2b(name + version.to_bytes(8, "big"), digest_size=8).digest()
            for name, version in ((node_id("own"), 3), (A, 258))
        ]
        assert table.digest == bytes(x ^ y for x, y in zip(*hashes, strict=True))

    def test_tombstones_are_no_part_of_the_digest(self) -> None:
        table, untouched = make_table(), make_table()
        merge(table)
        table.mark_dead(A, 1, NOW_S)
        table.mark_dead(B, 9, NOW_S)
        assert (table.digest, table.live_count) == (untouched.digest, untouched.live_count)


class TestPulling:
    def test_answer_holds_what_the_puller_lacks(self) -> None:
        table = make_table()
        merge(table, "a", 2)
        merge(table, "b", 1)
        chunks, deaths, wanted = table.newer_than([[node_id("own"), 1, False], [A, 1, False], [B, 1, False]])
        assert chunks == [[table.encoded(A)]]
        assert (deaths, wanted) == ([], False)

    def test_answer_names_the_dead_that_the_puller_takes_for_living(self) -> None:
        table = make_table()
        table.mark_dead(A, 4, NOW_S)
        table.mark_dead(B, 4, NOW_S)
        _, deaths, wanted = table.newer_than([[A, 4, False]])
        assert deaths == [[A, 4]], "of b the puller has never heard"
        assert not wanted

    @pytest.mark.parametrize("entry", [[A, 3, False], [A, 2, True], [B, 1, False]])
    def test_puller_that_knows_better_is_pulled_from(self, entry: list[Any]) -> None:
        table = make_table()
        merge(table, "a", 2)
        assert table.newer_than([entry])[2]

    @pytest.mark.parametrize("entry", [[A, 2, False], [A, 1, True], [B, 7, True]])
    def test_puller_that_knows_no_better_is_not_pulled_from(self, entry: list[Any]) -> None:
        table = make_table()
        merge(table, "a", 2)
        assert not table.newer_than([entry])[2]

    def test_answer_comes_in_chunks_of_1_mib_or_one_record(self) -> None:
        table = make_table()
        for name, size in (("a", 600_000), ("b", 600_000), ("c", 100), ("d", 2_000_000)):
            record = replace(make_record(name), readable={"x" * size: ()})
            table.merge(encode_record(record), NOW_S)
        chunks, _, _ = table.newer_than([])
        assert sorted(record for chunk in chunks for record in chunk) == sorted(encode_record(r) for r in table.live())
        assert all(len(chunk) == 1 or sum(map(len, chunk)) <= MAX_PUSH_BYTES for chunk in chunks)

    def test_answer_to_a_puller_that_lacks_nothing_is_one_empty_chunk(self) -> None:
        table = make_table()
        assert table.newer_than([[node_id("own"), 1, False]]) == ([[]], [], False)
