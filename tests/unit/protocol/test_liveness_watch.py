"""Peers that we have no connection with, while their own to us may be up; and how a member stands with us."""

from __future__ import annotations

import pytest

from tests.unit.protocol.builders import make_record, node_id, request
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import decode_envelope
from zmqagents.protocol.contacts import Contacts
from zmqagents.protocol.effects import CallEnded, Fate
from zmqagents.protocol.greeting import Greeter
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import encode_record
from zmqagents.protocol.state import NodeLimits, NodeState
from zmqagents.protocol.watch import STUCK_AFTER_S, Standing

PEER = node_id("peer")
GOSSIP = "gossip://peer"


class Bench:
    """A node with one member; its link is up over the member's own connection to our ROUTER."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.state = NodeState(make_record("own"), NodeLimits(), self.now_s)
        self.buried: list[NodeId] = []
        self.contacts = Contacts(self.state, Greeter(self.state), lambda node_id, _now_s: self.buried.append(node_id))
        self.watch = self.contacts.watch
        self.record = make_record("peer", endpoints=("data://peer",), gossip_endpoints=(GOSSIP,))
        self.state.membership.merge(encode_record(self.record), self.now_s)
        self.contacts.tick(self.now_s)

    def accept(self) -> Peer:
        peer = self.state.peer(PEER)
        peer.accepted = True
        peer.link.path_usable()
        peer.link.hello(1, 0)
        return peer

    def pings(self) -> int:
        """How many PINGs have left on the member's own connection since the last time."""
        direct, self.state.direct = self.state.direct, []
        envelopes = [decode_envelope(parts) for path, parts in direct if path == PEER]
        return sum(type(frame) is f.Ping for envelope in envelopes for frame in envelope.frames)

    def pass_time(self, seconds: float, *, step_s: float = 0.05) -> None:
        for _ in range(round(seconds / step_s)):
            self.now_s += step_s
            self.contacts.tick(self.now_s)

    def standing(self) -> Standing:
        return self.watch.standing(PEER, self.now_s)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestOwnConnectionOfThePeer:
    def test_connection_that_takes_a_ping_is_up_though_nobody_answers(self, bench: Bench) -> None:
        bench.accept()
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        bench.pass_time(60.0)
        assert bench.buried == []
        assert 55 <= bench.pings() <= 61

    def test_member_is_dead_soon_after_its_connection_took_no_ping(self, bench: Bench) -> None:
        bench.accept()
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        assert bench.pings() == 1
        bench.contacts.send_failed(PEER, bench.now_s)
        assert bench.state.wake_s <= bench.now_s + 0.05
        bench.pass_time(0.05)
        assert bench.buried == [PEER]

    def test_message_that_was_read_late_makes_no_dead_connection_live(self, bench: Bench) -> None:
        peer = bench.accept()
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        bench.contacts.send_failed(PEER, bench.now_s)
        bench.pings()
        peer.accepted = True
        bench.pass_time(0.05)
        assert bench.pings() == 1, "it is tried again at once"
        bench.contacts.send_failed(PEER, bench.now_s)
        bench.pass_time(0.1)
        assert bench.buried == [PEER]

    def test_peer_that_has_refused_us_is_sent_nothing(self, bench: Bench) -> None:
        peer = bench.state.peer(PEER)
        peer.accepted = True
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        assert bench.pings() == 0
        assert bench.buried == [PEER]


class TestDeathsThatOthersTellOf:
    def test_member_that_we_are_connected_with_is_doubted_to_be_dead(self, bench: Bench) -> None:
        bench.contacts.listen_to(bench.record, bench.now_s)
        assert not bench.watch.doubts_death(PEER, bench.now_s)
        bench.contacts.gossip_up(GOSSIP, bench.now_s)
        assert bench.watch.doubts_death(PEER, bench.now_s)

    def test_member_that_has_a_connection_with_us_is_doubted_to_be_dead(self, bench: Bench) -> None:
        bench.accept()
        assert bench.watch.doubts_death(PEER, bench.now_s)
        bench.pass_time(1.0)
        assert bench.buried == []

    def test_member_whose_connection_shows_to_be_gone_is_dead(self, bench: Bench) -> None:
        bench.accept()
        assert bench.watch.doubts_death(PEER, bench.now_s)
        bench.contacts.send_failed(PEER, bench.now_s)
        bench.pass_time(0.05)
        assert bench.buried == [PEER]


class TestStanding:
    def test_member_without_a_connection_is_known(self, bench: Bench) -> None:
        assert bench.standing() is Standing.KNOWN
        bench.contacts.listen_to(bench.record, bench.now_s)
        assert bench.standing() is Standing.KNOWN

    def test_member_that_is_silent_for_three_heartbeats_is_busy(self, bench: Bench) -> None:
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_up(GOSSIP, bench.now_s)
        bench.state.peer(PEER).heard_s = bench.now_s
        bench.pass_time(2.9)
        assert bench.standing() is Standing.UP
        bench.pass_time(0.2)
        assert bench.standing() is Standing.BUSY
        bench.state.peer(PEER).heard_s = bench.now_s
        assert bench.standing() is Standing.UP

    def test_member_whose_heartbeats_are_not_listened_to_is_up_however_silent(self, bench: Bench) -> None:
        bench.accept()
        bench.pass_time(30.0)
        assert bench.standing() is Standing.UP

    def test_member_that_others_are_asked_about_is_suspected(self, bench: Bench) -> None:
        bench.state.membership.merge(encode_record(make_record("helper")), bench.now_s)
        helper = bench.state.peer(node_id("helper"))
        helper.accepted = True
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        assert bench.standing() is Standing.SUSPECTED


class TestAsleep:
    @pytest.fixture
    def bench(self) -> Bench:
        bench = Bench()
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_up(GOSSIP, bench.now_s)
        bench.pass_time(1.0)
        return bench

    def test_refusals_that_waited_to_be_read_count_for_nothing_and_a_fresh_one_counts(self, bench: Bench) -> None:
        bench.now_s += 5.0
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        bench.contacts.tick(bench.now_s)
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        bench.pass_time(1.0)
        assert bench.buried == []
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        assert bench.buried == [PEER]

    def test_waits_begin_anew(self, bench: Bench) -> None:
        bench.contacts.gossip_down(GOSSIP, bench.now_s)
        bench.pass_time(1.5)
        bench.now_s += 5.0
        bench.pass_time(1.9)
        assert bench.buried == []
        bench.pass_time(0.7)
        assert bench.buried[0] == PEER

    def test_suspicions_are_dropped(self, bench: Bench) -> None:
        bench.state.membership.merge(encode_record(make_record("helper")), bench.now_s)
        bench.state.peer(node_id("helper")).accepted = True
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        assert bench.standing() is Standing.SUSPECTED
        bench.now_s += 5.0
        bench.contacts.tick(bench.now_s)
        assert bench.standing() is Standing.KNOWN
        assert bench.buried == []

    def test_process_that_is_a_little_late_has_not_been_asleep(self, bench: Bench) -> None:
        bench.now_s += 0.9
        bench.contacts.gossip_refused(GOSSIP, bench.now_s)
        assert bench.buried == [PEER]

    def test_process_that_waits_for_others_can_tell_whether_it_was_asleep_meanwhile(self, bench: Bench) -> None:
        began_s = bench.now_s
        bench.pass_time(2.0)
        awake = bench.watch.has_stalled_since(began_s, bench.now_s)
        bench.now_s += 2.0
        before_it_has_noticed = bench.watch.has_stalled_since(began_s, bench.now_s)
        bench.pass_time(5.0)
        after = bench.watch.has_stalled_since(began_s, bench.now_s)
        assert (awake, before_it_has_noticed, after) == (False, True, True)
        assert not bench.watch.has_stalled_since(bench.now_s - 4.0, bench.now_s)


class TestStuck:
    def test_call_that_no_path_takes_ends(self, bench: Bench) -> None:
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_up(GOSSIP, bench.now_s)
        bench.state.pending.begin(1, PEER, "token", None)
        bench.state.peer(PEER).link.send(request(1))
        bench.pass_time(STUCK_AFTER_S)
        assert not [effect for effect in bench.state.effects if isinstance(effect, CallEnded)]
        bench.pass_time(0.5)
        assert [effect.outcome for effect in bench.state.effects if isinstance(effect, CallEnded)] == [
            Fate.UNDELIVERABLE
        ]
