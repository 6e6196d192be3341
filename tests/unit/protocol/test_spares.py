"""Which of the two connections of a pair is closed, when, and when it is dialled again."""

from __future__ import annotations

import pytest

from tests.unit.protocol.builders import make_record, node_id, request
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import decode_envelope
from zmqagents.protocol.contacts import Contacts
from zmqagents.protocol.effects import ClosePath, OpenPath
from zmqagents.protocol.greeting import Greeter
from zmqagents.protocol.ids import NodeId, PathId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import encode_record
from zmqagents.protocol.spares import CALM_S
from zmqagents.protocol.state import NodeLimits, NodeState

OWN, LOWER, GREATER = 5, 4, 6
DATA, GOSSIP = "data://peer", "gossip://peer"


class Bench:
    """A node that has a connection with one member each way; ``other`` names that member."""

    def __init__(self, other: int = LOWER) -> None:
        self.now_s = 100.0
        self.state = NodeState(make_record(OWN), NodeLimits(), self.now_s)
        self.contacts = Contacts(self.state, Greeter(self.state), lambda _node_id, _now_s: None)
        record = make_record(other, endpoints=(DATA,), gossip_endpoints=(GOSSIP,))
        self.node_id: NodeId = node_id(other)
        self.state.membership.merge(encode_record(record), self.now_s)
        self.contacts.listen_to(record, self.now_s)
        self.contacts.gossip_up(GOSSIP, self.now_s)
        self.peer: Peer = self.state.peer(self.node_id)
        self.contacts.reach(self.peer, record.endpoints, self.now_s)
        self.dialled = self.peer.dialled or 0
        self.contacts.path_up(self.dialled, self.now_s)
        self.peer.link.hello(1, 0)
        self.peer.accepted = True
        self.contacts.tick(self.now_s)
        self.take()

    def take(self) -> list[tuple[PathId, f.Frame]]:
        """What is sent, since the last time."""
        direct, self.state.direct = self.state.direct, []
        return [(path, frame) for path, parts in direct for frame in decode_envelope(parts).frames]

    def done(self) -> list[object]:
        """What is opened and closed, since the last time."""
        effects, self.state.effects = self.state.effects, []
        return [effect for effect in effects if isinstance(effect, (OpenPath, ClosePath))]

    def wait(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.25)):
            self.now_s += 0.25
            self.contacts.tick(self.now_s)

    def answer(self, path: PathId | None = None) -> None:
        self.contacts.spares.answered(self.peer, self.node_id if path is None else path, self.now_s)

    def spare(self) -> None:
        """Let the pair come to rest, and the dialled connection be closed."""
        self.wait(CALM_S + 0.5)
        self.answer()
        assert self.peer.spared
        self.take()
        self.done()


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_own_connection_of_a_peer_is_tried_when_the_pair_has_been_calm(bench: Bench) -> None:
    bench.wait(CALM_S - 0.25)
    assert bench.take() == []
    bench.wait(0.5)
    assert bench.take() == [(bench.node_id, f.Ping(0, 0))]


def test_dialled_connection_is_closed_and_the_peer_greeted_when_its_own_answers(bench: Bench) -> None:
    bench.done()
    bench.wait(CALM_S + 0.5)
    bench.take()

    bench.answer()

    assert bench.done() == [ClosePath(bench.dialled)]
    assert [(path, type(frame)) for path, frame in bench.take()] == [(bench.node_id, f.Hello)]
    assert bench.peer.path == bench.node_id


def test_nothing_is_closed_without_an_answer_on_the_peers_own_connection(bench: Bench) -> None:
    bench.wait(CALM_S + 0.5)
    bench.answer(bench.dialled)
    bench.wait(60.0)

    assert (bench.peer.dialled, bench.peer.dialled_up) == (bench.dialled, True)
    assert 25 <= len(bench.take()) <= 31


def test_answer_that_nobody_asked_for_closes_nothing(bench: Bench) -> None:
    bench.answer()
    bench.wait(CALM_S / 2)
    bench.answer()

    assert (bench.peer.dialled, bench.peer.dialled_up) == (bench.dialled, True)


def test_answer_that_comes_when_the_pair_is_at_work_again_closes_nothing(bench: Bench) -> None:
    bench.wait(CALM_S + 0.5)
    bench.peer.link.send(request(1))
    bench.answer()

    assert (bench.peer.dialled, bench.peer.dialled_up) == (bench.dialled, True)


def test_node_with_the_lower_id_keeps_what_it_has_dialled() -> None:
    bench = Bench(GREATER)
    bench.wait(60.0)
    bench.answer()

    assert bench.take() == []
    assert bench.peer.path == bench.dialled


@pytest.mark.parametrize("lack", ["own connection", "gossip", "membership", "direct meeting"])
def test_connection_is_kept_where_it_is_not_a_mere_spare(bench: Bench, lack: str) -> None:
    if lack == "own connection":
        bench.peer.accepted = False
    elif lack == "gossip":
        bench.contacts.gossip_down(GOSSIP, bench.now_s)
    elif lack == "membership":
        bench.state.membership.mark_dead(bench.node_id, 1, bench.now_s)
    else:
        bench.peer.forwarded = 77

    bench.wait(4 * CALM_S)
    bench.answer()

    assert not bench.peer.spared
    assert bench.peer.dialled == bench.dialled


def test_data_frames_put_off_the_end_of_the_spare(bench: Bench) -> None:
    link = bench.peer.link
    for number in range(1, 9):
        bench.wait(CALM_S / 2)
        frames = f.Envelope(bench.node_id, bench.state.node_id, 1, number, link.session, 0, [f.Cancel(number)])
        assert len(link.receive(frames, bench.now_s)) == 1

    assert not any(type(frame) is f.Ping for _, frame in bench.take())


def test_peer_is_dialled_at_once_when_its_own_connection_takes_nothing(bench: Bench) -> None:
    bench.spare()

    bench.contacts.send_failed(bench.node_id, bench.now_s)

    assert [effect.endpoint for effect in bench.done() if isinstance(effect, OpenPath)] == [DATA]


def test_peer_is_dialled_at_once_when_the_connection_with_its_pub_is_lost(bench: Bench) -> None:
    bench.spare()

    bench.contacts.gossip_down(GOSSIP, bench.now_s)

    assert [effect.endpoint for effect in bench.done() if isinstance(effect, OpenPath)] == [DATA]


def test_peer_that_is_listened_to_no_more_is_dialled_soon(bench: Bench) -> None:
    bench.spare()
    bench.contacts.stop_listening(bench.node_id)

    bench.wait(0.5)

    assert [effect.endpoint for effect in bench.done() if isinstance(effect, OpenPath)] == [DATA]


def test_spare_is_closed_again_after_the_trouble(bench: Bench) -> None:
    bench.spare()
    bench.contacts.send_failed(bench.node_id, bench.now_s)
    bench.contacts.path_up(bench.peer.dialled or 0, bench.now_s)
    bench.peer.accepted = True

    bench.spare()


def test_member_at_rest_is_not_dialled_again_when_discovery_shows_it(bench: Bench) -> None:
    bench.spare()

    bench.contacts.sighted((DATA,), bench.node_id, bench.now_s)
    bench.wait(60.0)

    assert bench.done() == []
    assert bench.peer.spared
