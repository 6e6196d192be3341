"""One node core, spoken to frame by frame; several of them over a network are in tests/simulation."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgpack
import pytest

from tests.unit.protocol.builders import event, make_record, node_id, reply, request
from zmqagents.errors import WireCode
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import (
    Delta,
    Heartbeat,
    decode_envelope,
    decode_gossip,
    encode_envelope,
    encode_gossip,
    unpack_records,
)
from zmqagents.protocol.events import EventLimits
from zmqagents.protocol.greeting import is_up
from zmqagents.protocol.ids import ANYONE, PathId
from zmqagents.protocol.link import LinkLimits
from zmqagents.protocol.membership import Change, MemberChange
from zmqagents.protocol.node import MAX_CONTROLS, Node
from zmqagents.protocol.records import Phase, Record, decode_record, encode_record
from zmqagents.protocol.state import NodeLimits

OWN, PEER = node_id("own"), node_id("peer")


class Wire:
    """A node, and a peer at the other end of the connection that it has made to us."""

    def __init__(self, limits: NodeLimits | None = None) -> None:
        self.now_s = 100.0
        self.node = Node(make_record("own", label="own", types=["worker"]), limits, now_s=self.now_s)
        self.record = make_record("peer", label="peer", endpoints=("data://peer",), gossip_endpoints=("gossip://peer",))
        self.session = 1
        self.sent_numbers = 0

    def say(self, *frames: f.Frame, source: bytes = PEER, destination: bytes = OWN, path: PathId | None = None) -> None:
        """The peer sends control frames."""
        session, ack_session = (self.session, self.node_session) if source == PEER else (1, 0)
        envelope = f.Envelope(source, destination, session, 0, ack_session, self.acknowledged, list(frames))
        self.node.receive(source if path is None else path, encode_envelope(envelope), self.now_s)

    def send(self, *frames: f.Frame) -> None:
        """The peer sends data frames."""
        envelope = f.Envelope(
            PEER, OWN, self.session, self.sent_numbers + 1, self.node_session, self.acknowledged, list(frames)
        )
        self.sent_numbers += len(frames)
        self.node.receive(PEER, encode_envelope(envelope), self.now_s)

    node_session = 0
    acknowledged = 0

    def hear(self) -> list[f.Envelope]:
        """What the node sends."""
        envelopes = [decode_envelope(parts) for _, parts in self.node.transmit(self.now_s)]
        for envelope in envelopes:
            self.node_session = envelope.session or self.node_session
            if envelope.first:
                self.acknowledged = max(self.acknowledged, envelope.first + len(envelope.frames) - 1)
        return envelopes

    def frames(self) -> list[f.Frame]:
        return [frame for envelope in self.hear() for frame in envelope.frames]

    def bring_up(self) -> None:
        """The peer greets; nothing is left to be sent, and no effects."""
        self.say(self.hello())
        self.hear()
        self.say(f.SyncPush(1, True, [], b"\x90"))
        self.hear()
        self.node.take_effects()

    def hello(self) -> f.Hello:
        return f.Hello(1, 1, [], "default", self.node_session, encode_record(self.record))

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.node.tick(self.now_s)

    def effects(self, *kinds: type) -> list[e.Effect]:
        return [effect for effect in self.node.take_effects() if isinstance(effect, kinds)]

    @property
    def is_up(self) -> bool:
        peer = self.node.state.peers.get(PEER)
        return peer is not None and is_up(peer)


@pytest.fixture
def wire() -> Wire:
    wire = Wire()
    wire.bring_up()
    return wire


def published(effects: Iterable[e.Effect]) -> list[object]:
    return [decode_gossip(effect.parts) for effect in effects if isinstance(effect, e.Publish)]


def path_to_peer(wire: Wire) -> PathId | None:
    return wire.node.state.peers[PEER].path


def heartbeat_of(node: bytes) -> list[bytes]:
    """One whose digest is like nobody's."""
    return encode_gossip(Heartbeat(node, 1, 9, bytes(8), 0))


def pushed_records(frame: f.Frame) -> list[Record]:
    assert isinstance(frame, f.SyncPush)
    return [decode_record(encoded) for encoded in unpack_records(frame.payload)]


class TestMeeting:
    def test_peer_that_greets_is_welcomed_asked_and_listened_to(self) -> None:
        wire = Wire()
        wire.say(wire.hello())
        assert [type(frame) for frame in wire.frames()] == [f.Welcome, f.SyncPull]
        joined, subscribe = wire.effects(e.MemberChanged, e.Subscribe)
        assert isinstance(joined, e.MemberChanged)
        assert (joined.change.change, joined.change.record) == (Change.JOINED, wire.record)
        assert subscribe == e.Subscribe("gossip://peer")
        assert wire.is_up

    def test_node_is_synchronised_once_the_pull_is_answered_to_its_end(self) -> None:
        wire = Wire()
        wire.say(wire.hello())
        assert wire.node.unsynchronised() == ["peer (6e2d2d2d)"]
        wire.say(f.SyncPush(1, False, [], b"\x90"))
        assert not wire.node.is_synchronised()
        wire.say(f.SyncPush(1, True, [], b"\x90"))
        assert wire.node.is_synchronised()

    def test_pull_is_repeated_when_it_is_not_answered(self) -> None:
        wire = Wire()
        wire.say(wire.hello())
        wire.hear()
        wire.pass_time(1.0)
        assert any(isinstance(frame, f.SyncPull) for frame in wire.frames())

    def test_answered_greeting_is_not_repeated(self) -> None:
        wire = Wire()
        wire.node.contacts.sighted(("data://peer",), PEER, wire.now_s)
        wire.node.contacts.path_up(1, wire.now_s)
        assert isinstance(wire.frames()[0], f.Hello)
        wire.say(f.Welcome(1, [], "default", wire.node_session, encode_record(wire.record)), path=1)
        for _ in range(10):
            wire.pass_time(1.0)
            assert not any(isinstance(frame, f.Hello) for frame in wire.frames())

    def test_greeting_is_repeated_soon_on_a_new_path_however_long_the_waits_were(self) -> None:
        wire = Wire()
        wire.node.contacts.sighted(("data://peer",), PEER, wire.now_s)
        wire.node.contacts.path_up(1, wire.now_s)
        for _ in range(40):
            wire.pass_time(0.5)
            wire.hear()
        wire.node.contacts.path_down(1, wire.now_s)
        wire.node.contacts.path_up(1, wire.now_s)
        assert len(wire.hear()) == 1
        wire.pass_time(0.5)
        assert len(wire.hear()) == 1

    def test_ping_to_whoever_reads_it_is_answered_with_who_reads_it(self) -> None:
        wire = Wire()
        wire.say(f.Ping(5, 0), source=node_id("seeker"), destination=ANYONE)
        [envelope] = wire.hear()
        assert (envelope.source, envelope.frames) == (OWN, [f.Pong(5)])
        assert wire.node.state.peers == {}

    def test_message_for_another_node_is_answered_with_wrong_node(self) -> None:
        wire = Wire()
        wire.say(wire.hello(), destination=node_id("gone"))
        [bye] = wire.frames()
        assert isinstance(bye, f.Bye)
        assert bye.code == WireCode.WRONG_NODE
        [stray] = wire.effects(e.Strayed)
        assert isinstance(stray, e.Strayed)
        assert stray.code is WireCode.WRONG_NODE

    def test_bye_for_another_node_is_not_answered(self) -> None:
        wire = Wire()
        wire.say(f.Bye(1, ""), destination=node_id("gone"))
        assert wire.hear() == []

    def test_seed_that_answers_is_greeted_even_when_the_answer_comes_on_another_path(self) -> None:
        wire = Wire()
        wire.node.contacts.sighted(("data://seed",), None, wire.now_s)
        [opened] = wire.effects(e.OpenPath)
        assert isinstance(opened, e.OpenPath)
        wire.node.contacts.path_up(opened.path, wire.now_s)
        [ping] = wire.frames()
        assert isinstance(ping, f.Ping)
        pong = f.Envelope(PEER, OWN, 0, 0, 0, 0, [f.Pong(ping.token)])
        wire.node.receive(opened.path + 1, encode_envelope(pong), wire.now_s)
        [(path, parts)] = wire.node.transmit(wire.now_s)
        assert path == opened.path
        assert isinstance(decode_envelope(parts).frames[0], f.Hello)

    def test_endpoint_of_a_seed_at_which_some_have_died_is_dialled_once(self) -> None:
        """Each connection would end the one before, which would come back, before anybody could answer."""
        wire = Wire()
        contacts = wire.node.contacts
        contacts.sighted(("data://x",), None, wire.now_s)
        for name in ("one", "two"):
            dead = make_record(name, endpoints=("data://x",))
            contacts.changed(MemberChange(Change.DIED, dead, dead), wire.now_s)
        wire.pass_time(3.0)
        seed, *graves = [effect.path for effect in wire.effects(e.OpenPath) if isinstance(effect, e.OpenPath)]
        for path in (graves[0], seed, graves[1]):
            contacts.path_up(path, wire.now_s)
        assert wire.effects(e.ClosePath) == [e.ClosePath(path) for path in graves]
        asked = [path for path, parts in wire.node.transmit(wire.now_s) if isinstance(path, int)]
        assert asked == [seed]

    def test_members_that_are_said_to_be_at_one_endpoint_are_looked_for_there_in_turn(self) -> None:
        wire = Wire()
        node, contacts = wire.node, wire.node.contacts
        node.state.forwarder_of = lambda *_: 99
        ids = [node_id(name) for name in ("one", "two")]
        for name in ("one", "two"):
            node.membership.merge(encode_record(make_record(name, endpoints=("data://x",))), wire.now_s)
            node.state.peer(node_id(name)).forwarded = 99
        wire.pass_time(0.5)
        paths = [effect.path for effect in wire.effects(e.OpenPath) if isinstance(effect, e.OpenPath)]
        for path in paths:
            contacts.path_up(path, wire.now_s)
        assert wire.effects(e.ClosePath) == [e.ClosePath(paths[1])]
        contacts.identify(paths[0], ids[1], wire.now_s)  # it is the other that is there
        opened: list[e.Effect] = []
        while not opened and wire.now_s < 103:
            wire.pass_time(0.25)
            opened = wire.effects(e.OpenPath)
        [dial] = opened
        assert isinstance(dial, e.OpenPath)
        contacts.path_up(dial.path, wire.now_s)
        contacts.identify(dial.path, ids[1], wire.now_s)
        assert node.state.peers[ids[1]].dialled == dial.path


class TestPaths:
    def test_own_dialled_path_is_better_than_the_peers_connection(self, wire: Wire) -> None:
        contacts = wire.node.contacts
        contacts.send_failed(PEER, wire.now_s)
        contacts.sighted(("data://peer",), PEER, wire.now_s)
        paths = [path_to_peer(wire)]
        contacts.path_up(1, wire.now_s)
        paths.append(path_to_peer(wire))
        wire.say(f.Ack(gap=False))
        paths.append(path_to_peer(wire))
        contacts.path_down(1, wire.now_s)
        paths.append(path_to_peer(wire))
        assert paths == [None, 1, 1, PEER]

    def test_peer_of_smaller_id_is_reached_by_its_own_connection_while_that_takes_what_comes(self, wire: Wire) -> None:
        peer = wire.node.state.peers[PEER]
        peer.yields = True
        wire.node.contacts.dial(peer, ("data://peer",), wire.now_s)
        wire.node.contacts.path_up(1, wire.now_s)
        wire.frames()
        paths = [path_to_peer(wire)]
        wire.node.contacts.send_failed(PEER, wire.now_s)
        paths.append(path_to_peer(wire))
        wire.node.tick(wire.now_s)
        assert any(isinstance(frame, f.Hello) for frame in wire.frames())  # so that what was lost is sent again at once
        assert paths == [PEER, 1]

    def test_connection_that_took_nothing_is_no_path_until_the_peer_is_heard_again(self, wire: Wire) -> None:
        paths = [path_to_peer(wire)]
        wire.node.contacts.send_failed(PEER, wire.now_s)
        paths.append(path_to_peer(wire))
        wire.say(f.Ack(gap=False))
        paths.append(path_to_peer(wire))
        assert paths == [PEER, None, PEER]

    def test_member_whose_connection_is_gone_is_dialled_while_something_waits_for_it(self, wire: Wire) -> None:
        wire.node.call(PEER, request(1), "token", None, wire.now_s)
        wire.node.contacts.send_failed(PEER, wire.now_s)
        wire.pass_time(1.0)
        assert e.OpenPath(1, "data://peer") in wire.node.take_effects()

    def test_unacknowledged_frames_are_sent_again_on_a_new_path(self, wire: Wire) -> None:
        wire.node.call(PEER, request(1), "token", None, wire.now_s)
        wire.hear()
        wire.acknowledged = 0
        wire.say(wire.hello())
        assert request(1) in wire.frames()


def test_node_that_has_yet_to_say_that_an_event_is_done_is_not_quiet(wire: Wire) -> None:
    wire.send(event("e", ["worker/a"]))
    [came] = wire.effects(e.Incoming)
    assert isinstance(came, e.Incoming)
    quiet_before = wire.node.is_quiet()
    wire.node.event_done(PEER, came.number, ["worker/a"])
    assert (quiet_before, wire.node.is_quiet()) == (True, False)


class TestTime:
    def test_heartbeat_is_published_every_second_and_tells_of_the_table(self) -> None:
        wire = Wire()
        wire.pass_time(0.0)
        [first] = published(wire.node.take_effects())
        assert first == Heartbeat(OWN, 1, 1, wire.node.membership.digest, 0)
        wire.pass_time(0.99)
        assert published(wire.node.take_effects()) == []
        wire.pass_time(0.01)
        assert len(published(wire.node.take_effects())) == 1

    @pytest.mark.parametrize(("passed_s", "along"), [(0.49, False), (0.51, True)])
    def test_heartbeat_goes_along_with_that_of_another_when_half_the_time_has_passed(
        self, wire: Wire, passed_s: float, along: bool
    ) -> None:
        wire.pass_time(1.0)  # ours
        wire.node.take_effects()
        wire.now_s += passed_s
        wire.node.receive_gossip(heartbeat_of(PEER), wire.now_s)
        assert [type(gossip) for gossip in published(wire.node.take_effects())] == [Heartbeat] * along
        wire.pass_time(0.52)
        assert [type(gossip) for gossip in published(wire.node.take_effects())] == [Heartbeat] * (not along)

    def test_heartbeat_that_shows_nothing_new_leaves_nothing_to_do(self, wire: Wire) -> None:
        wire.pass_time(1.0)
        wire.hear()
        wire.node.take_effects()
        membership = wire.node.membership
        beat = Heartbeat(PEER, 1, membership.live_count, membership.digest, 0)
        wire.node.receive_gossip(encode_gossip(beat), wire.now_s)
        assert not wire.node.has_output
        wire.node.call(PEER, request(1), "token", None, wire.now_s)
        assert wire.node.has_output

    def test_tick_is_safe_to_call_early_and_twice(self, wire: Wire) -> None:
        wire.pass_time(0.0)
        wire.node.take_effects()
        for _ in range(3):
            wire.pass_time(0.0)
        assert wire.node.take_effects() == []
        assert wire.hear() == []

    def test_node_always_knows_when_to_wake(self, wire: Wire) -> None:
        for _ in range(20):
            assert wire.now_s - 1 < wire.node.wake_s < math.inf
            wire.pass_time(max(0.0, wire.node.wake_s - wire.now_s))
            wire.hear()
            assert wire.node.wake_s > wire.now_s

    def test_acknowledgement_wakes_the_node_in_20_ms(self, wire: Wire) -> None:
        wire.send(f.Cancel(1))
        wire.hear()
        assert wire.node.wake_s <= wire.now_s + 0.02
        wire.pass_time(0.02)
        assert f.Ack(gap=False) in wire.frames()

    def test_deadline_of_a_call_wakes_the_node(self, wire: Wire) -> None:
        wire.pass_time(0.0)
        wire.node.call(PEER, request(1), "token", wire.now_s + 0.1, wire.now_s)
        assert wire.node.wake_s <= wire.now_s + 0.1
        wire.hear()
        wire.pass_time(0.1)
        assert e.CallEnded("token", PEER, e.Fate.DEADLINE) in wire.node.take_effects()
        assert f.Cancel(1) in wire.frames()


class TestCalls:
    def test_answer_goes_to_who_waits_for_it(self, wire: Wire) -> None:
        wire.send(request(7))
        assert wire.effects(e.Incoming) == [e.Incoming(PEER, 1, request(7))]
        wire.node.answer(PEER, reply(7))
        wire.node.answer(PEER, reply(7))
        assert wire.frames() == [reply(7)]

    def test_answer_that_nobody_waits_for_is_not_sent(self, wire: Wire) -> None:
        wire.node.answer(PEER, reply(7))
        wire.node.answer(node_id("unknown"), reply(7))
        assert wire.hear() == []

    def test_late_answer_is_counted(self, wire: Wire) -> None:
        wire.send(reply(3), f.Error(4, 1, "E", "", b""))
        assert wire.node.pending.late_answers == 2
        assert wire.effects(e.CallEnded) == []

    def test_caller_waits_when_the_window_is_full(self) -> None:
        wire = Wire(NodeLimits(link=LinkLimits(window_frames=2)))
        wire.bring_up()
        for number in (1, 2):
            assert wire.node.can_send(PEER)
            wire.node.call(PEER, request(number), number, None, wire.now_s)
        wire.hear()
        assert not wire.node.can_send(PEER)
        assert not wire.node.is_quiet()
        wire.say(f.Ack(gap=False))
        assert wire.node.can_send(PEER)
        assert wire.node.is_quiet()


class TestEvents:
    def test_publisher_waits_when_the_event_window_is_full(self) -> None:
        wire = Wire(NodeLimits(events=EventLimits(window_events=1)))
        wire.bring_up()
        wire.node.publish(PEER, event("e1"), wire.now_s)
        wire.hear()
        wire.say(f.Ack(gap=False))
        assert wire.node.can_send(PEER)
        assert not wire.node.can_publish(PEER)
        wire.send(f.EventDone([1]))
        assert wire.node.can_publish(PEER)
        assert wire.node.unfinished_events == 0

    def test_finished_events_are_told_with_their_sequence_numbers_once(self, wire: Wire) -> None:
        wire.send(f.Cancel(1), event("e1"), event("e2"))
        events = [effect for effect in wire.effects(e.Incoming) if isinstance(effect, e.Incoming)][1:]
        for incoming in (*events, *events):
            wire.node.event_done(PEER, incoming.number, ["worker/a"])
        wire.node.event_done(node_id("unknown"), 1, ["worker/a"])
        assert wire.frames() == [f.EventDone([2, 3])]

    def test_many_finished_events_are_told_in_several_frames(self, wire: Wire) -> None:
        for _ in range(15):
            wire.send(*(event("e") for _ in range(100)))
        for incoming in wire.effects(e.Incoming):
            assert isinstance(incoming, e.Incoming)
            wire.node.event_done(PEER, incoming.number, ["worker/a"])
        done = [frame for frame in wire.frames() if isinstance(frame, f.EventDone)]
        assert [len(frame.numbers) for frame in done] == [1024, 476]


class TestNews:
    def test_record_that_has_changed_goes_ahead_of_data(self, wire: Wire) -> None:
        wire.node.call(PEER, request(1), "token", None, wire.now_s)
        wire.node.publish_record(make_record("own", types=["painter"]))
        push, call = wire.frames()
        assert [set(record.types) for record in pushed_records(push)] == [{"painter"}]
        assert call == request(1)

    def test_control_frames_do_not_pile_up_while_there_is_no_path(self, wire: Wire) -> None:
        wire.node.contacts.send_failed(PEER, wire.now_s)
        for number in range(100):
            wire.node.publish_record(make_record("own", types=[f"type{number}"]))
            wire.node.state.control(wire.node.state.peers[PEER], f.Ack(gap=False))
            assert wire.hear() == []
        assert wire.node.state.peers[PEER].controls == []

    def test_several_changes_between_two_transmissions_are_told_as_one(self, wire: Wire) -> None:
        for number in range(5):
            wire.node.publish_record(make_record("own", types=[f"type{number}"]))
        [push] = wire.frames()
        assert [set(record.types) for record in pushed_records(push)] == [{"type4"}]
        deltas = [one for one in published(wire.node.take_effects()) if isinstance(one, Delta)]
        assert len(deltas) == 5

    def test_record_that_changed_during_the_greeting_is_told_once_the_link_is_up(self) -> None:
        wire = Wire()
        wire.node.contacts.sighted(("data://peer",), PEER, wire.now_s)
        wire.node.contacts.path_up(1, wire.now_s)
        wire.hear()
        wire.node.publish_record(make_record("own", types=["painter"]))
        welcome = f.Welcome(1, [], "default", wire.node_session, encode_record(wire.record))
        wire.say(welcome, path=1)
        [push] = [frame for frame in wire.frames() if isinstance(frame, f.SyncPush)]
        assert [set(record.types) for record in pushed_records(push)] == [{"painter"}]

    def test_peer_of_which_a_greeting_was_missed_is_greeted_once(self, wire: Wire) -> None:
        """It has lost the link, says so no more, and takes nothing that speaks of the session it had before."""
        wire.session = 2
        for token in (1, 2):
            wire.say(f.Ping(token, 0))
        assert [frame.known_session for frame in wire.frames() if isinstance(frame, f.Hello)] == [1]
        wire.send(request(1))
        assert not any(isinstance(frame, f.Hello) for frame in wire.frames())

    def test_control_frames_are_cut_into_envelopes(self, wire: Wire) -> None:
        for _ in range(MAX_CONTROLS + 1):
            wire.say(f.SyncPull(1, []))
        assert [len(envelope.frames) for envelope in wire.hear()] == [MAX_CONTROLS, 1]

    def test_node_that_leaves_tells_its_record_and_then_goodbye(self, wire: Wire) -> None:
        wire.node.leave()
        push, bye = wire.frames()
        assert [record.phase for record in pushed_records(push)] == [Phase.LEFT]
        assert bye == f.Bye(0, "left")

    def test_heartbeat_that_differs_twice_is_followed_by_a_pull(self, wire: Wire) -> None:
        for expected in (0, 1, 1):
            wire.pass_time(1.0)
            wire.node.receive_gossip(heartbeat_of(PEER), wire.now_s)
            assert sum(isinstance(frame, f.SyncPull) for frame in wire.frames()) == expected

    def test_heartbeats_of_many_cause_one_pull_at_a_time(self) -> None:
        wire = Wire()
        names = [f"other{number}" for number in range(5)]
        for name in names:
            hello = f.Hello(1, 1, [], "default", 0, encode_record(make_record(name)))
            wire.say(hello, f.SyncPush(1, True, [], b"\x90"), source=node_id(name))
        assert wire.node.is_synchronised()
        wire.pass_time(1.0)
        pulls = wire.node.state.counters.pulls
        for name in (*names, *names, *names):
            wire.node.receive_gossip(heartbeat_of(node_id(name)), wire.now_s)
        assert wire.node.state.counters.pulls == pulls + 1


class TestGoodbye:
    def test_peer_that_says_goodbye_is_gone(self, wire: Wire) -> None:
        wire.say(f.Bye(0, "left"))
        [changed] = wire.effects(e.MemberChanged)
        assert isinstance(changed, e.MemberChanged)
        assert changed.change.change is Change.DIED
        assert wire.node.state.peers == {}

    def test_link_that_the_peer_closed_is_greeted_anew_a_little_later(self, wire: Wire) -> None:
        wire.say(f.Bye(WireCode.BAD_FIELD, "what was that?"))
        assert wire.effects(e.PeerRefused) == [e.PeerRefused(PEER, WireCode.BAD_FIELD, "what was that?")]
        assert not wire.is_up
        assert wire.hear() == []
        wire.pass_time(0.5)
        assert any(isinstance(frame, f.Hello) for frame in wire.frames())

    def test_link_that_the_peer_refused_is_not_greeted_anew_on_the_same_path(self, wire: Wire) -> None:
        wire.say(f.Bye(WireCode.VERSION_MISMATCH, "too old"))
        for _ in range(40):
            wire.pass_time(0.5)
            assert wire.hear() == []

    def test_goodbye_about_an_earlier_life_of_the_link_changes_nothing(self, wire: Wire) -> None:
        wire.session += 1
        wire.say(f.Bye(WireCode.BAD_FIELD, "old"))
        assert wire.is_up
        assert wire.effects(e.PeerRefused) == []

    def test_text_of_a_refusal_is_cut(self, wire: Wire) -> None:
        wire.say(f.Bye(WireCode.BAD_FIELD, "x" * 60_000))
        [refused] = wire.effects(e.PeerRefused)
        assert isinstance(refused, e.PeerRefused)
        assert len(refused.text) == 1_000


class TestLaterVersions:
    def test_optional_frames_are_ignored_and_counted_in_the_order_of_data(self, wire: Wire) -> None:
        control = msgpack.packb([1, PEER, OWN, 1, 0, wire.node_session, 0, [[70, "later"], [100]]])
        data = msgpack.packb([1, PEER, OWN, 1, 1, wire.node_session, 0, [[64], [19, 5], [96, "later"]]])
        wire.node.receive(PEER, [control, b"payload"], wire.now_s)
        wire.node.receive(PEER, [data, b"payload"], wire.now_s)
        assert [type(effect) for effect in wire.node.take_effects()] == [e.Incoming]
        wire.pass_time(0.02)
        [envelope] = [one for one in wire.hear() if f.Ack(gap=False) in one.frames]
        assert envelope.ack == 3


class TestBrokenRules:
    def test_acknowledgement_of_what_was_never_sent_closes_the_link(self, wire: Wire) -> None:
        wire.acknowledged = 5
        wire.say(f.Ack(gap=False))
        [stray] = wire.effects(e.Strayed)
        assert isinstance(stray, e.Strayed)
        assert (stray.peer, stray.code) == (PEER, WireCode.BAD_FIELD)
        [bye] = wire.frames()
        assert isinstance(bye, f.Bye)
        assert bye.code == WireCode.BAD_FIELD
        assert not wire.is_up
        assert wire.node.membership.get(PEER) is not None, "it is a member all the same"

    def test_stranger_that_does_not_greet_is_dropped_and_counted(self) -> None:
        wire = Wire()
        wire.say(f.SyncPull(1, []))
        assert wire.hear() == []
        assert wire.node.state.peers == {}
        assert wire.node.state.counters.strays == 1

    def test_member_without_a_link_that_does_not_greet_is_greeted(self) -> None:
        wire = Wire()
        wire.node._sync.merge(encode_record(wire.record), wire.now_s)
        wire.send(request(1))
        [hello] = wire.frames()
        assert isinstance(hello, f.Hello)
        assert hello.known_session == 0
        assert wire.effects(e.Incoming) == []
