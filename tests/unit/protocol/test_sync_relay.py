"""How news spreads in small clusters and in large ones (SPEC.md section 6.3)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.unit.protocol.builders import make_record, node_id
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import (
    Delta,
    Heartbeat,
    decode_envelope,
    decode_gossip,
    encode_envelope,
    encode_gossip,
    pack_records,
)
from zmqagents.protocol.frames import DeathEntry
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.listening import SHED_ABOVE
from zmqagents.protocol.membership import MAX_PUSH_BYTES
from zmqagents.protocol.news import DELTA_EVERY_S, GATHER_S
from zmqagents.protocol.node import Node
from zmqagents.protocol.overlay import FULL_MESH_MAX
from zmqagents.protocol.records import Phase, Record, encode_record
from zmqagents.protocol.sync import ENOUGH_TELL

SOURCE = node_id("source")
LARGE = FULL_MESH_MAX + 36


def member(name: int | str, version: int = 1, phase: Phase = Phase.ACTIVE, label: str = "") -> Record:
    return make_record(
        name, version, phase, label=label, endpoints=(f"data://{name}",), gossip_endpoints=(f"gossip://{name}",)
    )


class Listener:
    """A node that hears gossip, and what it publishes."""

    def __init__(self, members: int) -> None:
        self.now_s = 100.0
        self.node = Node(member("own"), now_s=self.now_s)
        if members > 1:
            self.hear(*(member(number) for number in range(members - 1)))
        self.pass_time(1.0)

    def hear(self, *records: Record, dead: Sequence[DeathEntry] = ()) -> None:
        delta = Delta(SOURCE, [encode_record(record) for record in records], list(dead))
        self.node.receive_gossip(encode_gossip(delta), self.now_s)

    def beat(self, name: int | str) -> None:
        """A heartbeat whose digest is like nobody's."""
        self.node.receive_gossip(encode_gossip(Heartbeat(node_id(name), 1, 9, bytes(8), 0)), self.now_s)

    def pass_time(self, seconds: float) -> list[e.Effect]:
        """Ticks as they are due; what they and earlier inputs made. Gossip connections are up at once."""
        effects = self._take()
        end_s = self.now_s + seconds
        while (at_s := max(self.node.wake_s, self.now_s)) <= end_s:
            self.now_s = at_s
            self.node.tick(self.now_s)
            effects += self._take()
        self.now_s = end_s
        return effects

    def _take(self) -> list[e.Effect]:
        effects = self.node.take_effects()
        for effect in effects:
            if isinstance(effect, e.Subscribe):
                self.node.contacts.gossip_up(effect.endpoint, self.now_s)
        return effects

    def say(self, name: int | str, *frames: f.Frame, session: int = 1) -> list[f.Frame]:
        """Frames come from that member on its own connection; returns what is sent to it."""
        source = node_id(name)
        envelope = f.Envelope(source, node_id("own"), session, 0, 0, 0, list(frames))
        self.node.receive(source, encode_envelope(envelope), self.now_s)
        sent = [decode_envelope(parts) for path, parts in self.node.transmit(self.now_s) if path == source]
        return [frame for envelope in sent for frame in envelope.frames]

    def greet(self, record: Record) -> list[f.Frame]:
        hello = f.Hello(1, 1, [], "default", 0, encode_record(record))
        return self.say(record.instance_id or "?", hello)


def deltas(effects: Iterable[e.Effect]) -> list[Delta]:
    heard = [decode_gossip(effect.parts) for effect in effects if isinstance(effect, e.Publish)]
    return [one for one in heard if isinstance(one, Delta)]


def told(effects: Iterable[e.Effect]) -> list[bytes]:
    return [encoded for delta in deltas(effects) for encoded in delta.records]


def subscribed(effects: Iterable[e.Effect]) -> set[str]:
    there: set[str] = set()
    for effect in effects:
        if isinstance(effect, e.Subscribe):
            there.add(effect.endpoint)
        elif isinstance(effect, e.Unsubscribe):
            there.remove(effect.endpoint)
    return there


class TestRelaying:
    def test_record_is_told_once_more_in_a_large_cluster(self) -> None:
        listener = Listener(LARGE)
        news = member(3, version=2)
        listener.hear(news)
        assert told(listener.pass_time(5.0)) == [encode_record(news)]

    def test_record_is_not_told_again_in_a_small_cluster(self) -> None:
        listener = Listener(FULL_MESH_MAX)
        listener.hear(member(3, version=2))
        assert told(listener.pass_time(5.0)) == []

    def test_record_that_is_known_is_not_told_again(self) -> None:
        listener = Listener(LARGE)
        listener.hear(member(3, version=2))
        listener.pass_time(5.0)
        for version in (1, 2):
            listener.hear(member(3, version=version))
        assert told(listener.pass_time(5.0)) == []

    def test_what_comes_at_once_is_gathered_in_one_message_with_the_newest_of_each(self) -> None:
        listener = Listener(LARGE)
        listener.hear(member(3, version=2), member(4, version=2))
        listener.pass_time(GATHER_S / 2)
        listener.hear(member(3, version=3))
        [delta] = deltas(listener.pass_time(1.0))
        assert delta.records == [encode_record(member(3, version=3)), encode_record(member(4, version=2))]

    def test_stream_of_news_is_told_at_a_bounded_rate(self) -> None:
        listener = Listener(LARGE)
        effects: list[e.Effect] = []
        for version in range(2, 202):
            listener.hear(member(3, version=version))
            effects += listener.pass_time(0.01)
        assert len(deltas(effects)) <= 2.0 / DELTA_EVERY_S + 1

    def test_message_holds_no_more_than_a_push(self) -> None:
        listener = Listener(LARGE)
        large = [
            make_record(number, 2, pinned=[f"worker/{'k' * 900}{key}" for key in range(700)]) for number in range(3)
        ]
        listener.hear(*large)
        found = deltas(listener.pass_time(1.0))
        assert [len(delta.records) for delta in found] == [1, 1, 1]
        assert all(len(encoded) < MAX_PUSH_BYTES for delta in found for encoded in delta.records)

    def test_departure_is_told_as_the_record_that_says_so(self) -> None:
        listener = Listener(LARGE)
        left = member(3, version=2, phase=Phase.LEFT)
        listener.hear(left)
        [delta] = deltas(listener.pass_time(1.0))
        assert (delta.records, delta.dead) == ([encode_record(left)], [])

    def test_death_is_told_once_more(self) -> None:
        listener = Listener(LARGE)
        listener.hear(dead=[[node_id(3), 1]])
        listener.hear(dead=[[node_id(3), 1]])
        assert listener.node.membership.get(node_id(3)) is None
        assert [delta.dead for delta in deltas(listener.pass_time(5.0))] == [[[node_id(3), 1]]]

    def test_death_of_somebody_unknown_is_not_told_again(self) -> None:
        listener = Listener(LARGE)
        listener.hear(dead=[[node_id("nobody"), 1]])
        assert deltas(listener.pass_time(5.0)) == []

    def test_own_death_is_refuted_and_not_told(self) -> None:
        listener = Listener(LARGE)
        listener.hear(dead=[[node_id("own"), 1]])
        [delta] = deltas(listener.pass_time(5.0))
        assert (delta.records, delta.dead) == ([listener.node.membership.own_encoded], [])
        assert listener.node.record.version == 2

    def test_illegal_record_disturbs_no_other(self) -> None:
        listener = Listener(LARGE)
        news = encode_record(member(3, version=2))
        listener.node.receive_gossip(encode_gossip(Delta(SOURCE, [b"\xff", news])), listener.now_s)
        effects = listener.pass_time(1.0)
        assert told(effects) == [news]
        assert [stray.peer for stray in effects if isinstance(stray, e.Strayed)] == [SOURCE]

    def test_newcomer_that_greets_is_told_to_all(self) -> None:
        for size in (5, LARGE):
            listener = Listener(size)
            newcomer = member("new", label="new")
            listener.greet(newcomer)
            assert told(listener.pass_time(1.0)) == [encode_record(newcomer)]


class TestJoining:
    def test_table_that_a_newcomer_is_told_is_no_news(self) -> None:
        newcomer = Listener(1)
        newcomer.greet(member("seed", label="seed"))
        newcomer.pass_time(1.0)
        table = [encode_record(member(number)) for number in range(LARGE)]
        newcomer.say("seed", f.SyncPush(1, True, [], pack_records(table)))
        assert newcomer.node.membership.live_count == LARGE + 2
        assert told(newcomer.pass_time(5.0)) == []

    def test_newcomer_listens_to_a_few_of_those_it_is_told_of_and_to_nobody_else_in_between(self) -> None:
        newcomer = Listener(1)
        newcomer.hear(*(member(number) for number in range(LARGE)))
        effects = newcomer.pass_time(1.0)
        assert 8 <= len(subscribed(effects)) <= 20
        assert not any(isinstance(effect, e.Unsubscribe) for effect in effects)

    def test_newcomer_is_synchronised_when_three_have_told(self) -> None:
        newcomer = Listener(1)
        for name in "abcde":
            newcomer.greet(member(name, label=name))
        table = [encode_record(member(number)) for number in range(LARGE)]
        for count, name in enumerate("abc", 1):
            assert not newcomer.node.is_synchronised()
            newcomer.say(name, f.SyncPush(1, True, [], pack_records(table)))
            assert newcomer.node.is_synchronised() is (count >= ENOUGH_TELL)

    def test_member_of_a_large_cluster_asks_no_newcomer(self) -> None:
        member_of_it = Listener(1)
        for name in "abc":
            member_of_it.greet(member(name, label=name))
            member_of_it.say(name, f.SyncPush(1, True, [], pack_records([])))
        member_of_it.hear(*(member(number) for number in range(LARGE)))
        sent = member_of_it.greet(member("new", label="new"))
        assert [type(frame) for frame in sent] == [f.Welcome]

    def test_member_of_a_large_cluster_does_not_dial_whom_discovery_shows(self) -> None:
        listener = Listener(LARGE)
        listener.node.contacts.sighted(("data://new",), node_id("new"), listener.now_s)
        listener.node.contacts.sighted(("data://3",), node_id(3), listener.now_s)
        listener.pass_time(0.5)
        listener.hear(member("new"))
        assert not any(isinstance(effect, e.OpenPath) for effect in listener.pass_time(60.0))

    def test_member_of_a_large_cluster_dials_whom_gossip_does_not_know_after_a_while(self) -> None:
        listener = Listener(LARGE)
        listener.node.contacts.sighted(("data://new",), node_id("new"), listener.now_s)
        assert not any(isinstance(effect, e.OpenPath) for effect in listener.pass_time(4.5))
        dials = [effect.endpoint for effect in listener.pass_time(10.0) if isinstance(effect, e.OpenPath)]
        assert dials == ["data://new"]

    def test_newcomer_does_not_dial_everybody_whom_discovery_shows_at_once(self) -> None:
        newcomer = Listener(1)
        for number in range(500):
            newcomer.node.contacts.sighted((f"data://{number}",), node_id(number), newcomer.now_s)
        dials = [effect for effect in newcomer.pass_time(1.0) if isinstance(effect, e.OpenPath)]
        assert len(dials) == FULL_MESH_MAX


class TestListening:
    def test_everybody_is_listened_to_up_to_the_switch(self) -> None:
        listener = Listener(1)
        listener.hear(*(member(number) for number in range(FULL_MESH_MAX - 1)))
        assert len(subscribed(listener.pass_time(1.0))) == FULL_MESH_MAX - 1

    def test_cluster_that_goes_over_the_switch_and_back_keeps_its_mesh(self) -> None:
        listener = Listener(1)
        listener.hear(*(member(number) for number in range(FULL_MESH_MAX - 1)))
        listener.pass_time(1.0)
        for version in range(1, 9, 2):
            listener.hear(*(member(f"more{number}", version) for number in range(10)))
            effects = listener.pass_time(1.0)
            listener.hear(*(member(f"more{number}", version + 1, Phase.LEFT) for number in range(10)))
            effects += listener.pass_time(1.0)
            touched = {effect.endpoint for effect in effects if isinstance(effect, (e.Subscribe, e.Unsubscribe))}
            assert all(endpoint.startswith("gossip://more") for endpoint in touched)

    def test_mesh_is_left_when_the_cluster_grows_well_beyond_the_switch(self) -> None:
        listener = Listener(1)
        listener.hear(*(member(number) for number in range(FULL_MESH_MAX - 1)))
        effects = listener.pass_time(1.0)
        listener.hear(*(member(f"more{number}") for number in range(SHED_ABOVE - FULL_MESH_MAX + 1)))
        effects += listener.pass_time(1.0)
        assert len(subscribed(effects)) <= 20

    def test_mesh_is_whole_again_when_the_cluster_shrinks_to_the_switch(self) -> None:
        listener = Listener(1)
        listener.hear(*(member(number) for number in range(LARGE - 1)))
        effects = listener.pass_time(1.0)
        gone = range(FULL_MESH_MAX - 1, LARGE - 1)
        listener.hear(*(member(number, 2, Phase.LEFT) for number in gone))
        effects += listener.pass_time(1.0)
        assert subscribed(effects) == {f"gossip://{number}" for number in range(FULL_MESH_MAX - 1)}


class TestDeaths:
    def test_death_is_published_by_who_judges_it(self) -> None:
        judge = Listener(2)
        judge.pass_time(1.0)
        judge.node._bury(node_id(0), judge.now_s)
        assert [delta.dead for delta in deltas(judge.node.take_effects())] == [[[node_id(0), 1]]]

    def test_death_that_is_heard_of_is_not_published_in_a_small_cluster(self) -> None:
        listener = Listener(5)
        listener.node.contacts.gossip_down("gossip://0", listener.now_s)
        listener.hear(dead=[[node_id(0), 1]])
        assert listener.node.membership.get(node_id(0)) is None
        assert deltas(listener.pass_time(1.0)) == []

    def test_death_of_a_member_that_is_connected_is_doubted_and_not_told(self) -> None:
        listener = Listener(LARGE)
        accused: NodeId = next(iter(listener.node._listening._heard))
        listener.hear(dead=[[accused, 1]])
        assert listener.node.membership.get(accused) is not None
        assert deltas(listener.pass_time(1.0)) == []


class TestPulling:
    def test_pulls_of_a_large_table_are_rare(self) -> None:
        listener = Listener(1)
        for name in "abc":
            listener.greet(member(name, label=name))
            listener.say(name, f.SyncPush(1, True, [], pack_records([])))
        listener.hear(*(member(number) for number in range(2_000)))
        begun = listener.node.state.counters.pulls
        size = 0
        for _ in range(60):
            listener.pass_time(1.0)
            for name in "abc":
                listener.beat(name)
            sent = listener.node.transmit(listener.now_s)
            size += sum(len(part) for _, parts in sent for part in parts)
        assert listener.node.state.counters.pulls - begun >= 10
        assert size <= 60 * 20_000
