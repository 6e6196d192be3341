"""A forwarder's decisions (SPEC.md section 12)."""

from __future__ import annotations

from typing import Any

import pytest

from zmqagents.errors import WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import Delta, Heartbeat, decode_envelope, encode_envelope, encode_gossip
from zmqagents.protocol.ids import ANYONE, NodeId
from zmqagents.protocol.relay import Relay
from zmqagents.protocol.relay_state import Attached, Detached, Refused, RelayLimits, Stray
from zmqagents.protocol.returns import RETURN_WITHIN_S, TRY_S
from zmqagents.protocol.rosters import COALESCE_S, KEEP_S, PROBE_AGAIN_S

FORWARDER = b"forwarder".ljust(16, b".")
CLUSTER = "tests"


def node(name: str) -> NodeId:
    return name.encode().ljust(16, b".")


A, B, C, D = (node(name) for name in "abcd")


def envelope(source: NodeId, destination: NodeId, *frames: f.Frame, session: int = 0, first: int = 0) -> list[bytes]:
    return [
        bytes(part) for part in encode_envelope(f.Envelope(source, destination, session, first, 0, 0, list(frames)))
    ]


def request(source: NodeId, destination: NodeId, payload: bytes = b"") -> list[bytes]:
    frame = f.Request(1, "worker/a", "m", None, "Task", "application/json", None, 0, None, payload)
    return envelope(source, destination, frame, session=1, first=1)


class Bench:
    """A relay, its clock, and what it has sent."""

    def __init__(self, **limits: int) -> None:
        self.relay = Relay(FORWARDER, CLUSTER, RelayLimits(**limits))
        self.now_s = 0.0
        self.away: set[NodeId] = set()
        """Who has no connection."""

    def receive(self, sender: NodeId, parts: list[Any]) -> list[tuple[NodeId, list[Any]]]:
        self.relay.receive(sender, parts, self.now_s)
        return self.relay.take()

    def say(self, sender: NodeId, *frames: f.Frame, to: NodeId = FORWARDER) -> list[tuple[NodeId, f.Frame]]:
        """What the forwarder answers to these frames."""
        return said(self.receive(sender, envelope(sender, to, *frames)))

    def attach(self, *nodes: NodeId) -> None:
        for each in nodes:
            self.receive(each, envelope(each, ANYONE, f.Attach(1, 1, CLUSTER, 1)))
        self.relay.tick(self.now_s + COALESCE_S)
        self.relay.take()
        self.now_s += COALESCE_S

    def settle(self) -> list[tuple[NodeId, f.Frame]]:
        """What is said until nothing is left to tell."""
        return self.wait(COALESCE_S)

    def wait(self, seconds: float) -> list[tuple[NodeId, f.Frame]]:
        """What is said within that time."""
        until = self.now_s + seconds
        heard: list[tuple[NodeId, f.Frame]] = []
        while self.relay.wake_s <= until:
            self.now_s = max(self.now_s, self.relay.wake_s)
            self.relay.tick(self.now_s)
            heard += said(self.deliver())
        self.now_s = until
        return heard

    def deliver(self) -> list[tuple[NodeId, list[Any]]]:
        """What reaches somebody; of the rest the relay is told."""
        reached = []
        for receiver, parts in self.relay.take():
            if receiver in self.away:
                self.relay.unsent(receiver)
                self.relay.unreachable(receiver, self.now_s)
            else:
                reached.append((receiver, parts))
        return reached

    def lose(self, node_id: NodeId) -> None:
        """The node's connection ends, and something was to be sent there."""
        self.away.add(node_id)
        self.relay.unreachable(node_id, self.now_s)


def said(sends: list[tuple[NodeId, list[bytes]]]) -> list[tuple[NodeId, f.Frame]]:
    """The frames of the forwarder's own envelopes, by receiver."""
    heard = []
    for receiver, parts in sends:
        decoded = decode_envelope(parts)
        assert (decoded.source, decoded.destination) == (FORWARDER, receiver)
        heard += [(receiver, frame) for frame in decoded.frames]
    return heard


def change(*attached: NodeId, gone: list[NodeId] | None = None) -> f.Roster:
    return f.Roster(0, False, True, list(attached), gone or [])


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestAttaching:
    def test_answer_lists_everybody_with_the_token(self, bench: Bench) -> None:
        bench.attach(B)
        assert bench.say(A, f.Attach(1, 1, CLUSTER, 7), to=ANYONE) == [(A, f.Roster(7, True, True, [B, A], []))]
        assert set(bench.relay.attached) == {A, B}

    def test_all_are_told_of_those_who_come_in_one_message(self, bench: Bench) -> None:
        bench.attach(A)
        for each in (B, C):
            bench.say(each, f.Attach(1, 1, CLUSTER, 1), to=ANYONE)
        assert bench.settle() == [(each, change(B, C)) for each in (A, B, C)]

    def test_second_attach_is_answered_and_changes_nothing(self, bench: Bench) -> None:
        bench.attach(A)
        assert bench.say(A, f.Attach(1, 1, CLUSTER, 9)) == [(A, f.Roster(9, True, True, [A], []))]
        assert bench.settle() == []

    def test_long_list_comes_in_pages(self) -> None:
        bench = Bench(max_nodes=5_000)
        bench.attach(*(node(f"n{number}") for number in range(4_099)))
        answer = [frame for _, frame in bench.say(A, f.Attach(1, 1, CLUSTER, 1), to=ANYONE)]
        assert [(len(page.attached), page.last, page.whole) for page in answer if isinstance(page, f.Roster)] == [
            (4_096, False, True),
            (4, True, True),
        ]

    @pytest.mark.parametrize(
        ("frame", "code"),
        [
            (f.Attach(1, 1, "another", 1), WireCode.WRONG_CLUSTER),
            (f.Attach(2, 3, CLUSTER, 1), WireCode.VERSION_MISMATCH),
            (f.Attach(0, 0, CLUSTER, 1), WireCode.VERSION_MISMATCH),
        ],
    )
    def test_attach_that_does_not_fit_is_refused(self, bench: Bench, frame: f.Attach, code: WireCode) -> None:
        [(receiver, bye)] = bench.say(A, frame, to=ANYONE)
        assert isinstance(bye, f.Bye)
        assert (receiver, bye.code) == (A, code)
        assert not bench.relay.attached
        assert bench.relay.counters.refused == {code.name: 1}
        assert [type(news) for news in bench.relay.take_news()] == [Refused]

    def test_node_beyond_the_bound_is_refused_until_another_leaves(self) -> None:
        bench = Bench(max_nodes=2)
        bench.attach(A, B)
        [(_, bye)] = bench.say(C, f.Attach(1, 1, CLUSTER, 1), to=ANYONE)
        assert isinstance(bye, f.Bye)
        assert bye.code == WireCode.FULL
        assert bench.say(A, f.Attach(1, 1, CLUSTER, 2))
        bench.say(A, f.Bye(0, ""))
        bench.attach(C)
        assert set(bench.relay.attached) == {B, C}

    def test_stranger_is_told_once_in_a_while_to_attach(self, bench: Bench) -> None:
        bench.attach(B)
        [(_, bye)] = said(bench.receive(A, request(A, B)))
        assert isinstance(bye, f.Bye)
        assert bye.code == WireCode.ILLEGAL_NOW
        assert bench.receive(A, request(A, B)) == bench.receive(A, [b"garbage"]) == bench.receive(A, []) == []
        bench.wait(1.0)
        assert len(bench.receive(A, request(A, B))) == 1
        assert bench.relay.counters.strays == 5

    def test_attach_in_the_name_of_another_is_not_taken(self, bench: Bench) -> None:
        bench.receive(A, envelope(B, ANYONE, f.Attach(1, 1, CLUSTER, 1)))
        assert not bench.relay.attached


class TestRelaying:
    def test_envelope_goes_on_as_it_is(self, bench: Bench) -> None:
        bench.attach(A, B)
        parts: list[Any] = [*request(A, B, b"x" * 5_000), object()]
        parts.pop()
        sends = bench.receive(A, parts)
        assert sends == [(B, parts)]
        assert sends[0][1][1] is parts[1]
        assert bench.relay.counters.envelopes == 1
        assert bench.relay.counters.relayed_bytes == sum(map(len, parts))

    def test_payload_is_not_looked_at(self, bench: Bench) -> None:
        bench.attach(A, B)
        parts = [request(A, B)[0][:38] + b"\xc1 not msgpack", b"more", b""]
        assert bench.receive(A, parts) == [(B, parts)]

    @pytest.mark.parametrize(
        "damage",
        [
            lambda head: head[:37],
            lambda head: b"\xdc\x00\x08" + head[1:],
            lambda head: head[:1] + b"\x02" + head[2:],
            lambda head: head[:20] + b"\xc4\x0f" + head[22:],
            lambda head: head[:4] + B + head[20:],
            lambda head: head[:22] + A + head[38:],
            lambda head: head + bytes(1 << 20),
            lambda head: b"",
        ],
        ids=["short", "long form", "layout", "no id", "source", "to itself", "large", "empty"],
    )
    def test_header_that_breaks_a_rule_goes_nowhere(self, bench: Bench, damage: Any) -> None:
        bench.attach(A, B)
        bench.relay.take_news()
        assert bench.receive(A, [damage(request(A, B)[0])]) == []
        assert bench.relay.counters.strays == 1
        assert [type(news) for news in bench.relay.take_news()] == [Stray]

    def test_sender_learns_who_is_not_attached_in_one_message(self, bench: Bench) -> None:
        bench.attach(A)
        for destination in (B, C, B):
            assert bench.receive(A, request(A, destination)) == []
        assert bench.wait(0) == [(A, change(gone=[B, C]))]
        assert bench.relay.counters.dropped == {"not attached": 3}

    def test_sends_that_nobody_takes_are_bounded(self) -> None:
        bench = Bench(max_sends=3)
        bench.attach(A, B)
        for _ in range(5):
            bench.relay.receive(A, request(A, B), 1.0)
        assert len(bench.relay.take()) == 3
        assert bench.relay.counters.dropped == {"overloaded": 2}

    def test_ping_is_answered(self, bench: Bench) -> None:
        bench.attach(A)
        assert bench.say(A, f.Ping(5, 0), to=ANYONE) == [(A, f.Pong(5))]

    def test_frame_that_is_not_for_forwarders_is_stray(self, bench: Bench) -> None:
        bench.attach(A)
        assert bench.say(A, f.Hello(1, 1, [], CLUSTER, 0, b"")) == []
        assert bench.receive(A, envelope(A, FORWARDER)) == []
        assert bench.relay.counters.strays == 2


class TestGossip:
    def test_gossip_goes_to_those_who_listen(self, bench: Bench) -> None:
        bench.attach(A, B, C)
        bench.say(B, f.Listen(True, [A, D], []))
        bench.say(C, f.Listen(True, [B], []))
        for gossip in (Heartbeat(A, 1, 1, b"8" * 8, 0), Delta(A, [b"record"])):
            parts = encode_gossip(gossip)
            assert bench.receive(A, parts) == [(B, parts)]
        assert bench.relay.counters.gossip == 2

    def test_change_adds_and_drops(self, bench: Bench) -> None:
        bench.attach(A, B, C)
        bench.say(C, f.Listen(True, [A], []))
        bench.say(C, f.Listen(False, [B], [A]))
        assert bench.receive(A, encode_gossip(Delta(A, []))) == []
        assert len(bench.receive(B, encode_gossip(Delta(B, [])))) == 1
        bench.say(C, f.Listen(True, [], []))
        assert bench.receive(B, encode_gossip(Delta(B, []))) == []
        assert bench.relay.listened == 0

    @pytest.mark.parametrize(
        "parts",
        [
            encode_gossip(Heartbeat(B, 1, 1, b"8" * 8, 0)),
            encode_gossip(Delta(A, []))[:1],
            [*encode_gossip(Delta(A, [])), b""],
            [b"zmqagents/1", b"\x93"],
        ],
        ids=["of another", "no body", "four parts", "short"],
    )
    def test_gossip_that_breaks_a_rule_goes_nowhere(self, bench: Bench, parts: list[bytes]) -> None:
        bench.attach(A, B, C)
        bench.say(C, f.Listen(True, [A, B], []))
        assert bench.receive(A, parts) == []
        assert bench.relay.counters.strays == 1

    def test_listening_is_bounded(self) -> None:
        bench = Bench(max_listened=2, max_listened_in_all=3)
        bench.attach(A, B, C, D)
        bench.say(A, f.Listen(True, [B, C, D], []))
        bench.say(B, f.Listen(False, [C, D], []))
        assert bench.relay.listened == 3
        assert bench.relay.counters.dropped == {"listens": 2}
        bench.say(A, f.Bye(0, ""))
        assert bench.relay.listened == 1


class TestLosing:
    def test_unreachable_node_is_gone_for_all(self, bench: Bench) -> None:
        bench.attach(A, B)
        bench.relay.take_news()
        bench.lose(A)
        bench.relay.unreachable(A, bench.now_s)
        assert bench.settle() == [(B, change(gone=[A]))]
        assert bench.relay.take_news() == [Detached(A, "its connection has ended")]

    def test_node_that_leaves_is_gone_for_all(self, bench: Bench) -> None:
        bench.attach(A, B)
        assert bench.say(A, f.Bye(0, "bye"), f.Ping(1, 0), to=ANYONE) == []
        assert bench.settle() == [(B, change(gone=[A]))]

    def test_node_that_comes_back_at_once_is_said_to_be_there(self, bench: Bench) -> None:
        bench.attach(A, B)
        bench.relay.unreachable(A, bench.now_s)
        bench.say(A, f.Attach(1, 1, CLUSTER, 2), to=ANYONE)
        assert bench.settle() == [(B, change(A)), (A, change(A))]
        assert [type(news) for news in bench.relay.take_news()] == [Attached, Attached, Detached, Attached]

    def test_node_whose_connection_is_back_is_attached_though_its_program_says_nothing(self, bench: Bench) -> None:
        bench.attach(A, B)
        bench.lose(A)
        bench.wait(0.5)
        bench.relay.take_news()
        bench.away.clear()
        heard = bench.wait(2 * TRY_S + COALESCE_S)
        assert [frame for receiver, frame in heard if receiver == B] == [change(A)]
        to_a = [frame for receiver, frame in heard if receiver == A]
        assert to_a[:2] == [change(), f.Roster(0, True, True, [B, A], [])], "ahead of what is relayed to it"
        assert bench.relay.take_news() == [Attached(A)]

    def test_node_that_was_away_too_long_has_to_attach(self, bench: Bench) -> None:
        bench.attach(A, B)
        bench.lose(A)
        bench.wait(RETURN_WITHIN_S + TRY_S)
        bench.away.clear()
        assert {receiver for receiver, _ in bench.wait(5)} == {B}

    @pytest.mark.parametrize(
        "last",
        [
            pytest.param([f.Bye(0, "bye")], id="leaves"),
            pytest.param([f.Attach(1, 1, "another", 1)], id="is refused"),
            pytest.param([f.Attach(1, 1, CLUSTER, 2), f.Bye(0, "bye")], id="is back and leaves"),
        ],
    )
    def test_node_that_has_gone_for_good_is_not_called_back(self, bench: Bench, last: list[f.ControlFrame]) -> None:
        bench.attach(A, B)
        bench.lose(A)
        bench.away.clear()
        for frame in last:
            bench.say(A, frame, to=ANYONE)
        bench.wait(RETURN_WITHIN_S)
        assert set(bench.relay.attached) == {B}

    def test_node_that_is_back_when_the_places_are_taken_has_to_attach(self) -> None:
        bench = Bench(max_nodes=2)
        bench.attach(A, B)
        bench.lose(A)
        bench.attach(C)
        bench.away.clear()
        bench.wait(RETURN_WITHIN_S)
        assert set(bench.relay.attached) == {B, C}

    def test_many_that_are_away_are_tried_less_often(self) -> None:
        bench = Bench(max_nodes=2_000)
        many = [node(f"{number}") for number in range(1_500)]
        bench.attach(*many)
        for each in many:
            bench.lose(each)
        tries = 0
        for _ in range(200):
            bench.now_s += 0.01
            bench.relay.tick(bench.now_s)
            sends = bench.relay.take()
            tries += len(sends) > 0
            for receiver, _ in sends:
                bench.relay.unsent(receiver)
        assert 6 <= tries <= 9

    def test_no_more_are_called_back_than_there_are_places(self) -> None:
        bench = Bench(max_nodes=2)
        for name in "abcdef":
            bench.attach(node(name))
            bench.lose(node(name))
        assert len(bench.relay._returns) == 2

    def test_end_of_a_connection_has_all_tried_at_once_and_again(self, bench: Bench) -> None:
        bench.attach(A, B)
        bench.relay.disconnected(bench.now_s)
        bench.relay.disconnected(bench.now_s)
        assert bench.wait(0) == [(A, change()), (B, change())]
        assert bench.wait(PROBE_AGAIN_S) == [(A, change()), (B, change())]

    def test_many_ends_cause_ten_rounds_a_second(self, bench: Bench) -> None:
        bench.attach(A)
        tries = 0
        for _ in range(1_000):
            bench.relay.disconnected(bench.now_s)
            tries += len(bench.wait(0.001))
        assert 9 <= tries <= 12

    def test_silent_nodes_are_sent_something_within_a_second(self, bench: Bench) -> None:
        bench.attach(A, B, node("\x01\xff"))
        for _ in range(5):
            assert {receiver for receiver, _ in bench.wait(KEEP_S)} == set(bench.relay.attached)
        bench.lose(A)
        bench.settle()
        assert len(bench.wait(10 * KEEP_S)) < 2 * 16

    def test_node_that_is_sent_other_things_is_not_sent_more(self, bench: Bench) -> None:
        bench.attach(A, B)
        heard = []
        for _ in range(20):
            bench.receive(A, request(A, B))
            heard += bench.wait(0.1)
        assert {receiver for receiver, _ in heard} == {A}


class TestDraining:
    def test_drain_sends_all_away_and_relays_on(self, bench: Bench) -> None:
        bench.attach(A, B)
        bench.relay.drain(bench.now_s)
        bench.relay.drain(bench.now_s)
        heard = said(bench.relay.take())
        assert heard[0] == (A, f.Roster(0, True, True, [], []))
        assert isinstance(heard[1][1], f.Bye)
        assert heard[1][1].code == 0
        assert len(heard) == 4
        assert len(bench.receive(A, request(A, B))) == 1
        bench.say(B, f.Bye(0, ""))
        assert bench.wait(5.0) == []

    def test_nobody_is_let_in_while_it_drains(self, bench: Bench) -> None:
        bench.relay.drain(bench.now_s)
        [(_, bye)] = bench.say(A, f.Attach(1, 1, CLUSTER, 1), to=ANYONE)
        assert isinstance(bye, f.Bye)
        assert bye.code == 0
        assert not bench.relay.attached
