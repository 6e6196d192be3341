"""The gossip table is a CRDT: what was heard decides what is known, not in which order nor how often."""

from __future__ import annotations

from typing import NamedTuple, TypeAlias

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.protocol.builders import make_record, node_id
from zmqagents.protocol.frames import VersionEntry
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.membership import Membership
from zmqagents.protocol.records import Phase, Record, encode_record

OWN = 0


class Death(NamedTuple):
    """Somebody says that the node is dead."""

    node: int
    version: int


News: TypeAlias = Record | Death


class Table(NamedTuple):
    """All that a table says."""

    live: dict[NodeId, bytes]
    buried: dict[NodeId, int]
    digest: bytes
    versions: list[VersionEntry]


nodes = st.integers(1, 4)
versions = st.integers(1, 4)
phases = st.sampled_from([Phase.ACTIVE, Phase.ACTIVE, Phase.LEFT])
single_writer_records = st.builds(make_record, nodes, versions, st.just(Phase.ACTIVE))
records = st.builds(make_record, nodes, versions, phases, label=st.sampled_from(["a", "b"]))
deaths = st.builds(Death, nodes, versions)
news_lists = st.lists(records | deaths, max_size=12)


def tell(table: Membership, news: News) -> None:
    if isinstance(news, Death):
        table.mark_dead(node_id(news.node), news.version, 0.0)
    else:
        table.merge(encode_record(news), 0.0)


def table_of(news: list[News], own: int = OWN) -> Membership:
    table = Membership(make_record(own))
    for one in news:
        tell(table, one)
    return table


def say(table: Membership) -> Table:
    live = {record.node_id: encode_record(record) for record in table.live()}
    buried = {bytes(node): version for node, version, dead in table.versions() if dead}
    return Table(live, buried, table.digest, sorted(table.versions()))


def everything_in(table: Membership) -> list[News]:
    buried = [Death(int.from_bytes(node[-8:], "big"), version) for node, version, dead in table.versions() if dead]
    return [*(record for record in table.live() if record.node_id != node_id(OWN)), *buried]


def live_versions(table: Membership) -> dict[NodeId, int]:
    return {record.node_id: record.version for record in table.live()}


def pull(puller: Membership, source: Membership) -> bool:
    """One SYNC_PULL and its answer; whether the source then wants to pull as well."""
    chunks, dead, wanted = source.newer_than(puller.versions())
    for chunk in chunks:
        for encoded in chunk:
            puller.merge(encoded, 0.0)
    for node, version in dead:
        puller.mark_dead(node, version, 0.0)
    return wanted


@given(st.data(), news_lists)
def test_table_is_the_same_in_whichever_order_news_comes(data: st.DataObject, news: list[News]) -> None:
    shuffled = data.draw(st.permutations(news))
    assert say(table_of(news)) == say(table_of(shuffled))


@given(st.data(), news_lists)
def test_table_is_the_same_however_often_news_comes(data: st.DataObject, news: list[News]) -> None:
    again = data.draw(st.lists(st.sampled_from(news), max_size=6)) if news else []
    assert say(table_of(news)) == say(table_of([*news, *again]))


@given(news_lists, news_lists, news_lists)
def test_merging_tables_is_associative(one: list[News], two: list[News], three: list[News]) -> None:
    a, b, c = (everything_in(table_of(news)) for news in (one, two, three))
    left = table_of([*everything_in(table_of([*a, *b])), *c])
    right = table_of([*a, *everything_in(table_of([*b, *c]))])
    assert say(left) == say(right) == say(table_of([*one, *two, *three]))


@given(news_lists)
def test_table_never_goes_back(news: list[News]) -> None:
    table = table_of([])
    seen: dict[NodeId, tuple[int, bool]] = {}
    for one in news:
        tell(table, one)
        for node, version, dead in table.versions():
            assert (version, dead) >= seen.get(node, (0, False))
            seen[node] = (version, dead)
        assert seen.keys() == {entry[0] for entry in table.versions()}


@given(news_lists)
def test_node_is_either_live_or_buried(news: list[News]) -> None:
    table = table_of(news)
    assert table.live_count == len(list(table.live()))
    for number in range(1, 5):
        record = table.get(node_id(number))
        assert record is None or not table.is_buried(node_id(number))


@given(news_lists, news_lists)
def test_digests_are_equal_exactly_where_the_live_versions_are(one: list[News], two: list[News]) -> None:
    a, b = table_of(one), table_of(two)
    same_digest = (a.digest, a.live_count) == (b.digest, b.live_count)
    assert same_digest == (live_versions(a) == live_versions(b))


@given(st.lists(single_writer_records | deaths, max_size=10), st.lists(single_writer_records | deaths, max_size=10))
def test_tables_are_equal_after_pulling_from_each_other(one: list[News], two: list[News]) -> None:
    a, b = table_of(one, own=5), table_of(two, own=6)
    wanted = pull(a, b)
    assert wanted or live_versions(a) == live_versions(b), "who has nothing to pull has everything"
    pull(b, a)
    assert say(a).live == say(b).live
    assert a.digest == b.digest
    assert not pull(a, b)
    assert not pull(b, a)


@given(st.integers(1, 5), st.integers(1, 9))
def test_node_refutes_its_own_death_at_whichever_version(own_version: int, death_version: int) -> None:
    own = Membership(make_record(OWN, own_version))
    other = table_of([make_record(7, own_version)], own=8)
    own.mark_dead(node_id(OWN), death_version, 0.0)
    assert own.own.version == max(own_version, death_version + 1)
    other.mark_dead(node_id(OWN), death_version, 0.0)
    other.merge(own.own_encoded, 0.0)
    assert other.get(node_id(OWN)) == own.own
