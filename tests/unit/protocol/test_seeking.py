"""Members that can't be dialled are asked, by way of others, to dial us; and how a node helps others with that."""

from __future__ import annotations

import pytest

from tests.unit.protocol.builders import make_record, node_id
from zmqagents.protocol import frames as f
from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import encode_record
from zmqagents.protocol.seeking import AGAIN_S, LAST_S, SEEK_AFTER_S, Seeking
from zmqagents.protocol.state import NodeLimits, NodeState

OWN, SOUGHT, HELPER, ASKER = node_id("own"), node_id("sought"), node_id("helper"), node_id("asker")


class Bench:
    """A node with two members that it has links with, and one that it can't dial."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.state = NodeState(make_record("own"), NodeLimits(), self.now_s)
        self.dialled: list[NodeId] = []
        self.seeking = Seeking(self.state, self, lambda peer, _endpoints, _now_s: self.dialled.append(peer.node_id))
        for name in ("sought", "helper", "asker"):
            self.state.membership.merge(encode_record(make_record(name)), self.now_s)
        for node in (HELPER, ASKER):
            self.link(node)
        self.dial = Dial(("data://sought",), self.now_s)

    def link(self, node: NodeId) -> Peer:
        peer = self.state.peer(node)
        peer.dialled, peer.dialled_up = 1, True
        peer.link.path_usable()
        peer.link.hello(1, 0)
        return peer

    def helpers(self, node_id: NodeId, now_s: float) -> list[Peer]:
        return [self.state.peers[HELPER]]

    def seek(self, seconds: float) -> list[tuple[NodeId, f.ControlFrame]]:
        """What is sent while the dial isn't up for so long."""
        for _ in range(round(seconds / 0.25)):
            self.now_s += 0.25
            self.seeking.seek(SOUGHT, self.dial, self.now_s)
        return self.sent()

    def sent(self) -> list[tuple[NodeId, f.ControlFrame]]:
        made = [(peer.node_id, frame) for peer in self.state.peers.values() for frame in peer.controls]
        for peer in self.state.peers.values():
            peer.controls.clear()
        return made


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_member_that_does_not_answer_is_sought_soon_and_then_more_and_more_seldom(bench: Bench) -> None:
    assert bench.seek(SEEK_AFTER_S - 0.25) == []
    assert bench.seek(0.25) == [(HELPER, f.Seek(SOUGHT, OWN))]
    assert len(bench.seek(AGAIN_S)) == 1
    bench.seek(60.0)
    assert len(bench.seek(10 * LAST_S)) == 10


def test_member_that_was_connected_once_is_not_sought(bench: Bench) -> None:
    bench.dial.succeeded()
    bench.dial.lost(bench.now_s)
    assert bench.seek(60.0) == []


def test_member_that_has_dialled_us_is_sought_no_more_until_it_is_lost(bench: Bench) -> None:
    bench.seek(20.0)
    peer = bench.state.peer(SOUGHT)
    peer.accepted = True
    assert bench.seek(60.0) == []
    peer.accepted = False
    assert len(bench.seek(0.25)) == 1


def test_node_that_is_sought_dials_the_seeker(bench: Bench) -> None:
    bench.seeking.asked(bench.state.peers[HELPER], f.Seek(OWN, ASKER), bench.now_s)
    assert bench.dialled == [ASKER]


def test_node_that_is_sought_by_somebody_unknown_does_nothing(bench: Bench) -> None:
    bench.seeking.asked(bench.state.peers[HELPER], f.Seek(OWN, node_id("stranger")), bench.now_s)
    assert bench.dialled == []


def test_question_is_passed_on_to_a_member_with_a_link_and_no_further(bench: Bench) -> None:
    asker = bench.state.peers[ASKER]
    bench.seeking.asked(asker, f.Seek(HELPER, ASKER), bench.now_s)
    assert bench.sent() == [(HELPER, f.Seek(HELPER, ASKER))]
    bench.seeking.asked(asker, f.Seek(SOUGHT, ASKER), bench.now_s)
    bench.seeking.asked(bench.state.peers[HELPER], f.Seek(ASKER, SOUGHT), bench.now_s)
    assert bench.sent() == []
