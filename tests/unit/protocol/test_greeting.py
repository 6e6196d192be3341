"""HELLO and WELCOME (SPEC.md section 4), as the greeter of one node sends and reads them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest

from tests.unit.protocol.builders import make_record, node_id, request
from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import decode_envelope
from zmqagents.protocol.effects import CallEnded, Fate, PeerRefused
from zmqagents.protocol.greeting import GREET_AGAIN_MAX_S, GREET_AGAIN_S, Greeter, is_up
from zmqagents.protocol.ids import PathId
from zmqagents.protocol.link import Status
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import encode_record
from zmqagents.protocol.state import NodeLimits, NodeState

NOW_S = 10.0
PATH = 3
PEER = node_id("peer")


class Side(NamedTuple):
    state: NodeState
    greeter: Greeter
    peer: Peer


@pytest.fixture
def side() -> Side:
    return make_side()


def make_side(protocol: tuple[int, int] = (1, 1)) -> Side:
    state = NodeState(replace(make_record("own"), protocol=protocol), NodeLimits(), NOW_S)
    peer = state.peer(PEER)
    peer.dialled, peer.dialled_up = PATH, True
    return Side(state, Greeter(state), peer)


def hello(known_session: int = 0, *, versions: tuple[int, int] = (1, 1), cluster: str = "default") -> f.Hello:
    return f.Hello(*versions, [], cluster, known_session, encode_record(make_record("peer")))


def welcome(known_session: int) -> f.Welcome:
    return f.Welcome(1, [], "default", known_session, b"")


def sent(side: Side) -> list[tuple[PathId, f.Envelope]]:
    direct, side.state.direct = side.state.direct, []
    return [(path, decode_envelope(parts)) for path, parts in direct]


def bring_up(side: Side, session: int = 1) -> None:
    assert side.greeter.hello(side.peer, PATH, session, hello(), NOW_S)
    sent(side)


def test_hello_says_who_we_are_and_what_we_know(side: Side) -> None:
    side.greeter.greet(side.peer, PATH, NOW_S)
    [(path, envelope)] = sent(side)
    own = side.state.membership
    assert path == PATH
    assert envelope.frames == [f.Hello(1, 1, [], "default", 0, own.own_encoded)]
    assert (envelope.session, envelope.destination) == (side.peer.link.session, PEER)
    assert side.peer.link.status is Status.GREETING


def test_hello_names_the_session_that_is_known_unless_it_is_to_be_forgotten(side: Side) -> None:
    bring_up(side, session=7)
    side.greeter.greet(side.peer, PATH, NOW_S)
    side.greeter.greet(side.peer, PATH, NOW_S, forget=True)
    known = [frame.known_session for _, e in sent(side) for frame in e.frames if isinstance(frame, f.Hello)]
    assert known == [7, 0]


def test_hello_is_repeated_with_growing_waits_until_it_is_answered(side: Side) -> None:
    side.greeter.greet(side.peer, PATH, NOW_S)
    waits = []
    now_s = NOW_S
    for _ in range(7):
        assert side.peer.greet_at_s is not None
        waits.append(side.peer.greet_at_s - now_s)
        now_s = side.peer.greet_at_s
        side.greeter.greet_again(now_s)
    assert waits == [GREET_AGAIN_S, 1, 2, 4, GREET_AGAIN_MAX_S, GREET_AGAIN_MAX_S, GREET_AGAIN_MAX_S]
    assert len(sent(side)) == 8
    side.greeter.welcome(side.peer, PATH, 1, welcome(side.peer.link.session), now_s)
    side.greeter.greet_again(now_s + 60)
    assert sent(side) == []


def test_hello_is_not_repeated_before_its_time(side: Side) -> None:
    side.greeter.greet(side.peer, PATH, NOW_S)
    sent(side)
    side.state.wake_s = NOW_S + 99
    side.greeter.greet_again(NOW_S + GREET_AGAIN_S / 2)
    assert sent(side) == []
    assert side.state.wake_s == NOW_S + GREET_AGAIN_S


def test_hello_is_not_repeated_when_there_is_no_path(side: Side) -> None:
    side.greeter.greet(side.peer, PATH, NOW_S)
    sent(side)
    side.peer.dialled_up = False
    side.greeter.greet_again(NOW_S + 60)
    assert sent(side) == []
    assert side.peer.greet_at_s is None


def test_hello_is_answered_with_welcome_on_the_path_on_which_it_came(side: Side) -> None:
    assert side.greeter.hello(side.peer, PEER, 4, hello(), NOW_S)
    [(path, envelope)] = sent(side)
    assert path == PEER
    assert envelope.frames == [f.Welcome(1, [], "default", 4, side.state.membership.own_encoded)]
    assert (envelope.session, envelope.ack_session) == (side.peer.link.session, 4)
    assert is_up(side.peer)


def test_highest_version_that_both_speak_is_taken() -> None:
    side = make_side(protocol=(1, 3))
    side.greeter.hello(side.peer, PATH, 1, hello(versions=(2, 9)), NOW_S)
    [(_, envelope)] = sent(side)
    [answer] = envelope.frames
    assert isinstance(answer, f.Welcome)
    assert answer.version == 3


def test_hello_of_a_newer_session_resets_the_link_first(side: Side) -> None:
    bring_up(side)
    old_session = side.peer.link.session
    side.state.pending.begin(1, PEER, "token", None)
    side.peer.link.send(request(1))
    assert side.greeter.hello(side.peer, PATH, 2, hello(old_session), NOW_S)
    assert side.state.effects == [CallEnded("token", PEER, Fate.UNDELIVERABLE)]
    assert side.peer.link.session > old_session
    assert (side.peer.link.status, side.peer.link.peer_session) == (Status.UP, 2)


def test_hello_that_speaks_of_a_lost_link_is_answered_with_hello(side: Side) -> None:
    assert not side.greeter.hello(side.peer, PATH, 4, hello(known_session=99), NOW_S)
    [(_, envelope)] = sent(side)
    assert envelope.frames == [f.Hello(1, 1, [], "default", 0, side.state.membership.own_encoded)]
    assert not is_up(side.peer)


def test_welcome_of_a_newer_session_resets_the_link_and_greets_at_once(side: Side) -> None:
    bring_up(side)
    old_session = side.peer.link.session
    assert not side.greeter.welcome(side.peer, PATH, 2, welcome(old_session), NOW_S)
    [(path, envelope)] = sent(side)
    assert (path, envelope.session) == (PATH, side.peer.link.session)
    assert side.peer.link.session > old_session
    assert isinstance(envelope.frames[0], f.Hello)


def test_welcome_that_names_an_old_session_changes_nothing(side: Side) -> None:
    side.greeter.greet(side.peer, PATH, NOW_S)
    assert not side.greeter.welcome(side.peer, PATH, 1, welcome(99), NOW_S)
    assert side.peer.greet_at_s is not None
    assert not is_up(side.peer)


@pytest.mark.parametrize(
    ("frame", "code", "words"),
    [
        (hello(cluster="other"), WireCode.WRONG_CLUSTER, ["'default'", "'other'"]),
        (hello(versions=(2, 5)), WireCode.VERSION_MISMATCH, ["1 to 1", "2 to 5", "upgrade"]),
    ],
)
def test_hello_of_who_cannot_talk_with_us_is_refused_and_reported(
    side: Side, frame: f.Hello, code: WireCode, words: list[str]
) -> None:
    with pytest.raises(RemoteProtocolError) as error:
        side.greeter.check(side.peer, PATH, frame)
    assert error.value.code is code
    [(path, envelope)] = sent(side)
    [bye] = envelope.frames
    assert isinstance(bye, f.Bye)
    assert (path, bye.code) == (PATH, code)
    assert all(word in bye.text for word in words)
    assert side.state.effects == [PeerRefused(PEER, code, bye.text)]


def test_hello_of_overlapping_versions_is_admitted() -> None:
    side = make_side(protocol=(2, 4))
    for versions in ((1, 2), (4, 9), (3, 3), (1, 9)):
        side.greeter.check(side.peer, PATH, hello(versions=versions))
    assert side.state.effects == []
