"""How links end: BYE's acknowledgement tells what was certainly not executed, in whatever order the news comes."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import structs

from tests.simulation.network import Network
from tests.simulation.process import Call, Process, start
from tests.unit.protocol.builders import event, reply, request
from zmqagents.errors import LocalProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.calls import CallLimits
from zmqagents.protocol.codec import Delta, encode_envelope, encode_gossip
from zmqagents.protocol.departures import FAREWELL_S
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.events import EventLimits
from zmqagents.protocol.records import Phase, encode_record
from zmqagents.protocol.state import NodeLimits

LIMITS = NodeLimits(calls=CallLimits(window_calls=4), events=EventLimits(window_events=4))


def ended(*calls: Call) -> bool:
    return all(call.outcomes for call in calls)


def hear_that_left(a: Process, b: Process) -> None:
    """Gossip tells ``a`` that ``b`` has left, before ``b`` does."""
    own = b.node.record
    gone = encode_record(replace(own, phase=Phase.LEFT, version=own.version + 1))
    a.do(lambda: a.receive_gossip([*encode_gossip(Delta(b.node_id, [gone]))]))
    assert a.lost(b)


class Leaving:
    """``a`` has called ``b``, which has read three calls and answered none; three more are on their way."""

    def __init__(self, seed: int = 0) -> None:
        self.network = Network(seed)
        self.a, self.b = start(self.network, "a", "b", handler_s=None)
        self.read = [self.a.call(self.b) for _ in range(3)]
        self.network.run(0.1)
        self.crossing = [self.a.call(self.b) for _ in range(3)]
        self.network.run(0.0)

    def hear_of_it(self) -> None:
        hear_that_left(self.a, self.b)

    def ended(self) -> bool:
        return ended(*self.read, *self.crossing)

    def check(self) -> None:
        """What ``b`` had read may have been executed, the rest was not; and nothing is left of ``b``."""
        assert [call.outcome for call in self.read] == [Fate.PEER_LOST] * 3
        assert [call.outcome for call in self.crossing] == [Fate.UNDELIVERABLE] * 3
        self.network.run(FAREWELL_S)
        assert self.b.executed.total() == 3
        assert self.a.node.state.peers == {}
        assert self.a.node.pending.has_room(self.b.node_id)


@pytest.fixture(params=range(5))
def scene(request: pytest.FixtureRequest) -> Leaving:
    return Leaving(request.param)


def test_calls_that_cross_a_bye_are_undeliverable_and_those_read_before_it_are_lost(scene: Leaving) -> None:
    scene.b.leave()
    scene.network.run_until(scene.ended, within_s=0.1)
    scene.check()


def test_bye_tells_the_same_when_it_comes_before_all_other_news(scene: Leaving) -> None:
    scene.network.gossip_loss = 1.0
    scene.b.node.state.peers[scene.a.node_id].told_version = 1 << 40
    scene.b.leave()
    scene.network.run_until(scene.ended, within_s=0.1)
    assert scene.a.lost(scene.b)
    scene.check()


def test_bye_tells_the_same_when_gossip_of_it_comes_first(scene: Leaving) -> None:
    scene.hear_of_it()
    scene.b.leave()
    assert not scene.ended(), "its own word is waited for"
    scene.network.run_until(scene.ended, within_s=0.1)
    scene.check()


def test_answers_that_are_on_their_way_arrive_though_gossip_says_that_their_sender_left() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=0.02)
    calls = [a.call(b) for _ in range(20)]
    network.run(0.01)
    hear_that_left(a, b)
    network.run_until(lambda: ended(*calls), within_s=0.2)
    assert all(isinstance(call.outcome, f.Reply) for call in calls)


def test_nothing_new_is_sent_to_a_peer_that_is_said_to_have_left(scene: Leaving) -> None:
    scene.hear_of_it()
    with pytest.raises(LocalProtocolError, match="is not a member"):
        scene.a.call(scene.b)
    with pytest.raises(LocalProtocolError, match="is not a member"):
        scene.a.publish(scene.b, "e1")


def test_peer_that_is_said_to_have_left_and_says_nothing_is_lost_after_a_while(scene: Leaving) -> None:
    scene.b.freeze(60.0)
    scene.hear_of_it()
    before_s = scene.network.now_s
    scene.network.run_until(scene.ended, within_s=10.0)
    assert scene.network.now_s - before_s == pytest.approx(FAREWELL_S, abs=0.3)
    assert {call.outcome for call in scene.read + scene.crossing} == {Fate.PEER_LOST}
    assert scene.a.node.state.peers == {}


def test_peer_that_is_said_to_have_left_is_lost_when_its_connection_is_refused(scene: Leaving) -> None:
    scene.hear_of_it()
    scene.b.kill()
    scene.network.run_until(scene.ended, within_s=1.0)
    assert {call.outcome for call in scene.read + scene.crossing} == {Fate.PEER_LOST}


def test_peer_that_owes_nothing_is_forgotten_with_the_news_of_its_leaving() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    network.run(0.5)
    hear_that_left(a, b)
    assert a.node.state.peers == {}


def test_node_that_has_left_reads_nothing_more() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    b.leave()
    calls = [a.call(b) for _ in range(3)]
    c = Process(network, "c")
    c.sight(b)
    network.run(0.09)
    assert b.alive
    assert b.executed.total() == 0
    assert [call.outcome for call in calls] == [Fate.UNDELIVERABLE] * 3
    assert "c" not in b.members


def test_calls_beyond_the_acknowledgement_of_a_protocol_error_are_undeliverable_and_never_executed() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    read = [a.call(b) for _ in range(3)]
    network.run(0.1)
    illegal = structs.replace(a.node.state.peers[b.node_id].link.envelope([f.Pong(1)]), ack=99)
    a.inject(b, encode_envelope(illegal))
    behind = [a.call(b) for _ in range(3)]
    network.run_until(lambda: ended(*read, *behind), within_s=0.1)
    assert [call.outcome for call in read] == [Fate.PEER_LOST] * 3
    assert [call.outcome for call in behind] == [Fate.UNDELIVERABLE] * 3
    network.run(5.0)
    assert b.executed.total() == 3
    call = a.call(b)
    network.run(0.5)
    assert b.executed.total() == 4, "a new link takes the place of the old one"
    last = a.call(b)
    network.run(0.0)
    b.kill()
    network.run_until(lambda: ended(call, last), within_s=1.0)
    assert [call.outcome, last.outcome] == [Fate.PEER_LOST] * 2, "it has said nothing about this life of the link"


def test_answer_that_is_given_with_the_last_breath_arrives_before_the_bye() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    call = a.call(b)
    network.run(0.1)

    def answer_and_leave() -> None:
        b.node.answer(a.node_id, reply(call.call_id))
        b.node.leave()

    b.do(answer_and_leave)
    network.run_until(lambda: ended(call), within_s=0.1)
    assert isinstance(call.outcome, f.Reply)


def limited(network: Network) -> tuple[Process, Process]:
    """Two processes that know each other, of which neither ever answers, with small windows."""
    a, b = (Process(network, name, types=["worker"], handler_s=None, limits=LIMITS) for name in "ab")
    a.sight(b)
    network.run(1.0)
    return a, b


@pytest.mark.parametrize("kind", ["call", "event"])
def test_peer_that_ignores_its_window_loses_its_link(kind: str) -> None:
    network = Network()
    a, b = limited(network)
    link = a.node.state.peers[b.node_id].link
    for number in range(2 * LIMITS.calls.window_calls + 1):
        link.send(request(number) if kind == "call" else event(f"e{number}"))
    a.do(lambda: a.node.state.dirty.update({b.node_id: None}))
    network.run(0.1)
    assert [stray.code for stray in b.strays] == [WireCode.TOO_LARGE]
    assert [refusal.code for refusal in a.refusals] == [WireCode.TOO_LARGE]
    network.run(2.0)
    assert len(b.node.state.peers[a.node_id].handling) == 0


def test_peer_that_uses_a_call_id_twice_loses_its_link() -> None:
    network = Network()
    a, b = start(network, "a", "b", handler_s=None)
    call = a.call(b)
    a.node.state.peers[b.node_id].link.send(request(call.call_id))
    a.call(b)
    network.run(0.1)
    assert [stray.code for stray in b.strays] == [WireCode.BAD_FIELD]
    assert b.executed.total() == 1


def test_node_that_keeps_to_its_call_window_waits_for_handlers_whose_calls_it_has_given_up() -> None:
    network = Network()
    a, b = limited(network)
    calls = [a.call(b, deadline_s=0.1 if number < 2 else None) for number in range(LIMITS.calls.window_calls)]
    assert not a.node.can_send(b.node_id)
    assert a.node.can_publish(b.node_id), "events have a window of their own"
    network.run(0.1)
    assert not a.node.can_send(b.node_id), "given up, and not answered"
    network.run_until(lambda: a.node.can_send(b.node_id), within_s=0.1)
    assert [call.outcome for call in calls] == [Fate.DEADLINE, Fate.DEADLINE, None, None]
    assert a.node.pending.unanswered(b.node_id) == 2


def test_events_beyond_the_window_that_nobody_can_wait_for_are_sent_when_others_have_ended() -> None:
    network = Network()
    a, b = limited(network)
    for number in range(3 * LIMITS.events.window_events):
        a.publish(b, f"e{number}")
    network.run(0.1)
    assert b.heard == [(a.node_id, f"e{number}") for number in range(LIMITS.events.window_events)]
    assert a.node.unfinished_events == 3 * LIMITS.events.window_events
    assert not a.node.can_publish(b.node_id)
    b.handler_s = 0.001
    for receipt in list(b.node.state.peers[a.node_id].handling):
        b.do(lambda receipt=receipt: b.node.event_done(a.node_id, receipt, ["worker/a"]))  # type: ignore[misc]
    network.run_until(lambda: a.node.unfinished_events == 0, within_s=1.0)
    assert b.heard == [(a.node_id, f"e{number}") for number in range(3 * LIMITS.events.window_events)]
    assert b.strays == []
