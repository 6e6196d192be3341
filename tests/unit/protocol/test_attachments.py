"""What a node says to forwarders, and makes of what they say."""

from __future__ import annotations

import pytest

from tests.unit.protocol.builders import make_record, node_id, request
from zmqagents.errors import WireCode
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.attachments import (
    ASK_AGAIN_S,
    ASK_LATER_S,
    MAX_FORWARDERS,
    MAX_ROSTER,
    MEET_SOME,
    SILENT_AFTER_S,
)
from zmqagents.protocol.codec import GOSSIP_PREFIX, Heartbeat, decode_envelope, encode_envelope, encode_gossip
from zmqagents.protocol.ids import ANYONE, NodeId
from zmqagents.protocol.link import Status
from zmqagents.protocol.node import Node
from zmqagents.protocol.records import encode_record

OWN, PEER = node_id("own"), node_id("peer")
FORWARDER, OTHER = node_id("forwarder"), node_id("other")
RECORD = make_record("peer", endpoints=("data://peer",), gossip_endpoints=("gossip://peer",))


class Wire:
    """A node and what it does; whatever it dials is only up once a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.node = Node(make_record("own", endpoints=("data://own",)), now_s=self.now_s)
        self.paths: dict[str, int] = {}
        self.effects: list[e.Effect] = []
        self.settle()

    def settle(self) -> list[tuple[int | bytes, list[f.Part]]]:
        """What is sent."""
        for effect in self.node.take_effects():
            self.effects.append(effect)
            if isinstance(effect, e.OpenPath):
                self.paths[effect.endpoint] = effect.path
        return self.node.transmit(self.now_s)

    def said(self) -> list[f.Frame]:
        """The frames that are sent; gossip is left out."""
        sent = [parts for _, parts in self.settle() if parts[0] != GOSSIP_PREFIX]
        return [frame for parts in sent for frame in decode_envelope(parts).frames]

    def pass_time(self, seconds: float) -> list[f.Frame]:
        """What is said meanwhile."""
        said: list[f.Frame] = []
        for _ in range(round(seconds / 0.25)):
            self.now_s += 0.25
            self.node.tick(self.now_s)
            said += self.said()
        return said

    def up(self, endpoint: str = "f1") -> list[f.Frame]:
        """A forwarder is named, and answers; what it is asked."""
        self.node.contacts.attachments.add(endpoint, self.now_s)
        self.settle()
        self.node.contacts.path_up(self.paths[endpoint], self.now_s)
        return self.said()

    def hear(self, *frames: f.Frame, source: NodeId = FORWARDER, endpoint: str = "f1", session: int = 0) -> None:
        envelope = f.Envelope(source, OWN, session, 0, 0, 0, list(frames))
        self.node.receive(self.paths[endpoint], encode_envelope(envelope), self.now_s)

    def listing(self, *nodes: NodeId, endpoint: str = "f1", source: NodeId = FORWARDER) -> None:
        """It answers with who is attached."""
        self.hear(f.Roster(1, True, True, [OWN, *nodes], []), endpoint=endpoint, source=source)

    def change(self, attached: list[NodeId], gone: list[NodeId]) -> None:
        self.hear(f.Roster(0, False, True, attached, gone))

    def meet(self) -> None:
        """The peer greets by the forwarder, and the link is up."""
        hello = f.Hello(1, 1, [], "default", 0, encode_record(RECORD))
        self.hear(hello, source=PEER, session=7)
        session = self.node.state.peers[PEER].link.session
        self.hear(f.Welcome(1, [], "default", session, encode_record(RECORD)), source=PEER, session=7)
        assert self.node.state.peers[PEER].link.status is Status.UP
        self.said()

    def strays(self) -> list[str]:
        return [effect.text for effect in self.effects if isinstance(effect, e.Strayed)]

    @property
    def attached(self) -> bool:
        return not self.node.contacts.attachments.missing()


@pytest.fixture
def wire() -> Wire:
    return Wire()


def greeted(said: list[f.Frame]) -> int:
    return sum(isinstance(frame, f.Hello) for frame in said)


class TestAttaching:
    def test_forwarder_is_asked_as_soon_as_it_answers_the_dial(self, wire: Wire) -> None:
        assert wire.up() == [f.Attach(1, 1, "default", 1)]

    def test_question_goes_to_whoever_reads_it(self, wire: Wire) -> None:
        wire.node.contacts.attachments.add("f1", wire.now_s)
        wire.settle()
        wire.node.contacts.path_up(wire.paths["f1"], wire.now_s)
        [(path, parts)] = wire.settle()
        assert path == wire.paths["f1"]
        assert decode_envelope(parts).destination == ANYONE

    def test_question_is_repeated_until_it_is_answered(self, wire: Wire) -> None:
        wire.up()
        assert len([frame for frame in wire.pass_time(3 * ASK_AGAIN_S) if isinstance(frame, f.Attach)]) == 3
        wire.listing()
        assert not any(isinstance(frame, f.Attach) for frame in wire.pass_time(SILENT_AFTER_S))

    def test_node_is_synchronised_once_a_forwarder_has_told_who_is_there(self, wire: Wire) -> None:
        wire.up()
        assert not wire.node.is_synchronised()
        wire.listing()
        assert wire.node.is_synchronised()

    @pytest.mark.parametrize("code", [WireCode.WRONG_CLUSTER, WireCode.VERSION_MISMATCH])
    def test_forwarder_that_can_not_serve_us_is_not_asked_again_before_its_connection_is_new(
        self, wire: Wire, code: WireCode
    ) -> None:
        wire.up()
        wire.hear(f.Bye(code, "no"))
        assert wire.pass_time(60) == []
        assert e.ForwarderLost("f1", "no") in wire.effects
        assert wire.node.is_synchronised()
        wire.node.contacts.path_down(wire.paths["f1"], wire.now_s)
        wire.node.contacts.path_up(wire.paths["f1"], wire.now_s)
        assert wire.said() == [f.Attach(1, 1, "default", 2)]

    def test_full_forwarder_is_asked_again_later(self, wire: Wire) -> None:
        wire.up()
        wire.hear(f.Bye(WireCode.FULL, "full"))
        assert wire.pass_time(ASK_LATER_S - 0.5) == []
        assert wire.pass_time(1.0) == [f.Attach(1, 1, "default", 2)]

    def test_forwarder_that_has_forgotten_us_is_asked_at_once(self, wire: Wire) -> None:
        wire.up()
        wire.listing()
        wire.pass_time(1.0)
        wire.hear(f.Bye(WireCode.ILLEGAL_NOW, "attach first"))
        assert any(isinstance(frame, f.Attach) for frame in wire.pass_time(0.25))

    def test_silent_forwarder_is_pinged_and_then_not_used(self, wire: Wire) -> None:
        wire.up()
        wire.listing()
        said = wire.pass_time(SILENT_AFTER_S)
        assert f.Ping(0, 0) in said
        assert wire.attached
        wire.pass_time(0.5)
        assert not wire.attached

    def test_forwarder_that_answers_pings_is_used(self, wire: Wire) -> None:
        wire.up()
        wire.listing()
        for _ in range(10):
            if f.Ping(0, 0) in wire.pass_time(1.0):
                wire.hear(f.Pong(0))
        assert wire.attached

    def test_no_more_forwarders_are_dialled_than_there_is_room_for(self, wire: Wire) -> None:
        for number in range(MAX_FORWARDERS):
            wire.up(f"f{number}")
        wire.node.contacts.attachments.add("f16", wire.now_s)
        wire.settle()
        assert len(wire.node.contacts.attachments) == MAX_FORWARDERS
        assert "f16" not in wire.paths

    def test_forwarder_that_is_away_gives_way_to_one_that_a_name_leads_to_now(self, wire: Wire) -> None:
        for number in range(MAX_FORWARDERS):
            wire.up(f"f{number}")
        wire.node.contacts.path_down(wire.paths["f3"], wire.now_s)
        wire.up("new")
        assert e.ClosePath(wire.paths["f3"]) in wire.effects


class TestRoster:
    def test_strangers_are_greeted(self, wire: Wire) -> None:
        wire.up()
        wire.listing(PEER, node_id("b"))
        assert greeted(wire.said()) == 2

    def test_newcomer_is_greeted(self, wire: Wire) -> None:
        wire.up()
        wire.listing()
        wire.said()
        wire.change([PEER], [])
        assert greeted(wire.said()) == 1

    def test_a_few_are_greeted_in_a_large_cluster_and_newcomers_are_left_to_gossip(self, wire: Wire) -> None:
        wire.up()
        wire.listing(*(node_id(number) for number in range(500)))
        assert greeted(wire.said()) == MEET_SOME
        wire.change([PEER], [])
        assert greeted(wire.said()) == 0

    def test_listing_in_pages_counts_once_it_is_complete(self, wire: Wire) -> None:
        wire.up()
        wire.hear(f.Roster(1, True, False, [PEER], []))
        assert not wire.attached
        wire.hear(f.Roster(1, True, True, [node_id("b")], []))
        assert greeted(wire.said()) == 2

    def test_listing_replaces_what_was_known(self, wire: Wire) -> None:
        wire.up()
        wire.listing(PEER)
        wire.meet()
        wire.listing(node_id("b"))
        assert wire.node.state.peers[PEER].path is None

    def test_listing_is_bounded(self, wire: Wire) -> None:
        wire.up()
        for page in range(4):
            ids = [node_id(4_096 * page + number) for number in range(4_096)]
            wire.hear(f.Roster(1, True, page == 3, ids, []))
        [attachment] = wire.node.contacts.attachments._serving
        assert len(attachment.roster) <= MAX_ROSTER
        wire.change([node_id(f"x{number}") for number in range(4_096)], [])
        assert len(attachment.roster) <= MAX_ROSTER

    def test_node_can_not_speak_for_the_forwarder(self, wire: Wire) -> None:
        wire.up()
        wire.listing(PEER)
        wire.said()
        wire.hear(f.Roster(0, True, True, [], []), source=OTHER)
        wire.settle()
        assert wire.strays() == ["ILLEGAL_NOW: a ROSTER that is not the forwarder's"]
        assert wire.node.state.peers[PEER].path == wire.paths["f1"]

    def test_goodbye_of_a_node_is_not_the_forwarders(self, wire: Wire) -> None:
        wire.up()
        wire.listing(PEER)
        wire.hear(f.Bye(0, "left"), source=OTHER)
        assert wire.attached

    def test_peer_that_refuses_us_is_not_greeted_again_while_it_stays(self, wire: Wire) -> None:
        wire.up()
        wire.listing(PEER)
        wire.said()
        wire.hear(f.Bye(WireCode.VERSION_MISMATCH, "no"), source=PEER)
        assert PEER not in wire.node.state.peers
        assert greeted(wire.pass_time(3.0)) == 0
        wire.change([], [PEER])
        wire.change([PEER], [])
        assert greeted(wire.said()) == 1


class TestPaths:
    def test_call_goes_to_the_forwarder(self, wire: Wire) -> None:
        wire.up()
        wire.listing(PEER)
        wire.meet()
        wire.node.call(PEER, request(1), "token", None, wire.now_s)
        [(path, parts)] = wire.settle()
        assert path == wire.paths["f1"]
        assert decode_envelope(parts).destination == PEER

    def test_what_is_unacknowledged_goes_to_the_other_forwarder_after_a_greeting(self, wire: Wire) -> None:
        wire.up("f1")
        wire.up("f2")
        wire.listing(PEER, endpoint="f1")
        wire.meet()
        wire.listing(PEER, endpoint="f2", source=OTHER)
        wire.node.call(PEER, request(1), "token", None, wire.now_s)
        wire.said()
        wire.node.contacts.path_down(wire.paths["f1"], wire.now_s)
        [(path, parts)] = [one for one in wire.settle() if one[1][0] != GOSSIP_PREFIX]
        assert path == wire.paths["f2"]
        [hello] = decode_envelope(parts).frames
        assert isinstance(hello, f.Hello)
        assert hello.known_session == 7

    def test_gossip_is_sent_to_each_forwarder_and_taken_from_it(self, wire: Wire) -> None:
        wire.up("f1")
        wire.up("f2")
        wire.listing(PEER, endpoint="f1")
        wire.meet()
        wire.listing(endpoint="f2", source=OTHER)
        wire.node.publish_record(wire.node.record)
        sent = [path for path, parts in wire.settle() if parts[0] == GOSSIP_PREFIX]
        assert sorted(map(str, sent)) == sorted(str(wire.paths[name]) for name in ("f1", "f2"))
        beat = encode_gossip(Heartbeat(PEER, 1, 1, b"8 bytes.", 3))
        wire.node.receive(wire.paths["f1"], beat, wire.now_s)
        assert wire.node.state.peers[PEER].load == 3
        assert wire.strays() == []

    def test_gossip_on_another_path_is_stray(self, wire: Wire) -> None:
        wire.node.receive(PEER, encode_gossip(Heartbeat(PEER, 1, 1, b"8 bytes.", 3)), wire.now_s)
        wire.settle()
        assert len(wire.strays()) == 1

    def test_gossip_of_a_member_that_is_not_heard_is_asked_for(self, wire: Wire) -> None:
        wire.up()
        wire.listing(PEER)
        wire.meet()
        assert f.Listen(True, [PEER], []) in wire.pass_time(0.5)
        for _ in range(4):  # its PUB is heard
            wire.node.contacts.gossip_up("gossip://peer", wire.now_s)
            wire.node.receive_gossip(encode_gossip(Heartbeat(PEER, 1, 1, b"8 bytes.", 3)), wire.now_s)
            said = wire.pass_time(0.5)
            wire.change([], [])
            if f.Listen(False, [], [PEER]) in said:
                return
        raise AssertionError("it was not told to stop")

    def test_envelope_that_can_not_be_read_ends_the_link_of_its_author(self, wire: Wire) -> None:
        wire.up()
        wire.listing(PEER)
        wire.meet()
        [header] = encode_envelope(f.Envelope(PEER, OWN, 7, 1, 0, 0, [request(1)]))
        wire.node.receive(wire.paths["f1"], [header[:-1]], wire.now_s)
        wire.settle()
        assert wire.node.state.peers[PEER].link.status is not Status.UP
        assert wire.attached
