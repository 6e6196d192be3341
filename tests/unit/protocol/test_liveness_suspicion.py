"""Whom a node asks about a member that it can't reach, what it makes of the answers, and how it answers itself."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.unit.protocol.builders import make_record, node_id, request
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.link import Greeting
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import encode_record
from zmqagents.protocol.state import NodeLimits, NodeState
from zmqagents.protocol.suspicion import (
    ANSWER_WITHIN_S,
    HELPERS,
    MAX_QUESTIONS,
    PROBE_WAIT_S,
    QUICK_S,
    Suspicions,
)

SUSPECT = node_id("suspect")


class Bench:
    """Suspicions of a node that has links with all members but those that a test cuts off."""

    def __init__(self, helpers: int = 5) -> None:
        self.now_s = 100.0
        self.state = NodeState(make_record("own"), NodeLimits(), self.now_s)
        self.out_of_reach = {SUSPECT}
        self.reached: dict[NodeId, bool | None] = {}
        self.stalled = False
        self.buried: list[NodeId] = []
        self.dialled: list[NodeId] = []
        self.suspicions = Suspicions(self.state, self, self._dial, self._bury)
        for name in ("suspect", *range(helpers)):
            self.add(name)

    def add(self, name: str | int) -> Peer:
        self.state.membership.merge(encode_record(make_record(name)), self.now_s)
        peer = self.state.peer(node_id(name))
        peer.dialled, peer.dialled_up, peer.heard_s = 1, True, self.now_s
        peer.link.path_usable()
        assert peer.link.hello(1, 0) is Greeting.ADOPTED
        return peer

    def _dial(self, peer: Peer, endpoints: tuple[str, ...], now_s: float) -> None:
        self.dialled.append(peer.node_id)

    def _bury(self, node_id: NodeId, now_s: float) -> None:
        self.buried.append(node_id)
        self.suspicions.forget(node_id)

    def is_out_of_reach(self, node_id: NodeId, now_s: float) -> bool:
        return node_id in self.out_of_reach

    def reaches(self, node_id: NodeId, now_s: float) -> bool | None:
        return self.reached.get(node_id, False)

    def has_stalled(self, now_s: float) -> bool:
        return self.stalled

    def accuse(self) -> dict[NodeId, f.Probe]:
        self.suspicions.accuse(SUSPECT, self.now_s)
        return self.probes()

    def probes(self) -> dict[NodeId, f.Probe]:
        """The PROBEs made since the last time, and whom they go to."""
        return {peer: frame for peer, frame in self.controls() if isinstance(frame, f.Probe)}

    def controls(self) -> list[tuple[NodeId, f.ControlFrame]]:
        made = [(peer.node_id, frame) for peer in self.state.peers.values() for frame in peer.controls]
        for peer in self.state.peers.values():
            peer.controls.clear()
        return made

    def answer(self, helper: NodeId, probe: f.Probe, *, connected: bool) -> None:
        self.suspicions.answered(self.state.peers[helper], f.Probed(probe.token, probe.node, connected), self.now_s)

    def pass_time(self, seconds: float) -> None:
        self.now_s += seconds
        self.state.wake_s = float("inf")
        self.suspicions.tick(self.now_s)


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestAccusing:
    def test_suspect_is_asked_about_at_three_others(self, bench: Bench) -> None:
        probes = bench.accuse()
        assert len(probes) == HELPERS
        assert SUSPECT not in probes
        assert {probe.node for probe in probes.values()} == {SUSPECT}

    def test_suspect_is_accused_once(self, bench: Bench) -> None:
        bench.accuse()
        assert bench.accuse() == {}

    def test_suspect_is_buried_at_once_when_there_is_nobody_to_ask(self) -> None:
        bench = Bench(helpers=0)
        assert bench.accuse() == {}
        assert bench.buried == [SUSPECT]

    def test_suspect_is_buried_when_the_last_helper_denies_it(self, bench: Bench) -> None:
        *others, last = bench.accuse().items()
        for helper, probe in others:
            bench.answer(helper, probe, connected=False)
        assert bench.buried == []
        bench.answer(*last, connected=False)
        assert bench.buried == [SUSPECT]

    def test_suspect_is_buried_when_nobody_has_answered_in_time(self, bench: Bench) -> None:
        bench.accuse()
        assert bench.state.wake_s <= bench.now_s + PROBE_WAIT_S
        bench.pass_time(PROBE_WAIT_S - 0.01)
        assert bench.buried == []
        bench.pass_time(0.01)
        assert bench.buried == [SUSPECT]

    def test_suspect_that_is_within_reach_again_is_suspected_no_more(self, bench: Bench) -> None:
        bench.accuse()
        bench.out_of_reach.clear()
        bench.pass_time(0.1)
        assert SUSPECT not in bench.suspicions
        bench.pass_time(10.0)
        assert bench.buried == []

    def test_answers_that_were_not_asked_for_change_nothing(self, bench: Bench) -> None:
        probes = bench.accuse()
        stranger = next(peer for peer in bench.state.peers if peer not in probes)
        probe = next(iter(probes.values()))
        bench.answer(stranger, probe, connected=True)
        for helper in probes:
            bench.answer(helper, replace(probe, token=probe.token + 7), connected=False)
            bench.answer(helper, replace(probe, node=helper), connected=False)
        bench.pass_time(PROBE_WAIT_S)
        assert bench.buried == [SUSPECT]

    def test_one_helper_that_denies_three_times_counts_once(self, bench: Bench) -> None:
        (helper, probe), *_ = bench.accuse().items()
        for _ in range(HELPERS):
            bench.answer(helper, probe, connected=False)
        assert bench.buried == []

    def test_answers_that_waited_while_this_node_was_asleep_change_nothing(self, bench: Bench) -> None:
        probes = bench.accuse()
        bench.stalled = True
        for helper, probe in probes.items():
            bench.answer(helper, probe, connected=False)
        assert bench.buried == []

    def test_helpers_are_those_that_were_heard_lately(self, bench: Bench) -> None:
        for name in (0, 2):
            bench.state.peers[node_id(name)].heard_s -= 10.0
        assert bench.accuse().keys() == {node_id(1), node_id(3), node_id(4)}

    def test_no_suspect_is_asked_about_another(self, bench: Bench) -> None:
        for name in (0, 1):
            bench.out_of_reach.add(node_id(name))
            bench.suspicions.accuse(node_id(name), bench.now_s)
        bench.controls()
        assert bench.accuse().keys() == {node_id(2), node_id(3), node_id(4)}

    def test_helper_without_a_link_is_dialled_and_asked_once_it_has_one(self) -> None:
        bench = Bench(helpers=1)
        helper = bench.state.peers[node_id(0)]
        helper.link.reset(99)
        bench.reached[node_id(0)] = True
        assert bench.accuse() == {}
        assert bench.dialled == [node_id(0)]
        helper.link.path_usable()
        helper.link.hello(2, 0)
        bench.pass_time(0.1)
        assert bench.probes().keys() == {node_id(0)}


class TestSupport:
    def support(self, bench: Bench) -> None:
        (helper, probe), *_ = bench.accuse().items() if SUSPECT not in bench.suspicions else bench.probes().items()
        bench.answer(helper, probe, connected=True)

    def test_supported_suspect_is_unreachable_and_its_calls_end(self, bench: Bench) -> None:
        peer = bench.state.peers[SUSPECT]
        bench.state.pending.begin(1, SUSPECT, "token", None)
        peer.link.send(request(1))
        self.support(bench)
        assert peer.unreachable
        assert [effect.outcome for effect in bench.state.effects if isinstance(effect, e.CallEnded)] == [
            e.Fate.UNDELIVERABLE
        ]
        bench.pass_time(PROBE_WAIT_S)
        assert bench.buried == []

    def test_supported_suspect_is_asked_about_again_soon_and_then_less_and_less_often(self, bench: Bench) -> None:
        waits: list[float] = []
        self.support(bench)
        session = bench.state.peers[SUSPECT].link.session
        bench.pass_time(QUICK_S)
        for _ in range(8):
            self.support(bench)
            bench.pass_time(0.0)
            waits.append(bench.state.wake_s - bench.now_s)
            bench.pass_time(waits[-1])
        assert waits == pytest.approx([0.2, 0.2, 1.0, 2.0, 4.0, 8.0, 8.0, 8.0])
        assert bench.state.peers[SUSPECT].link.session == session, "it is reset once"

    def test_other_helpers_are_asked_in_the_next_round(self, bench: Bench) -> None:
        first = bench.accuse()
        for helper, probe in first.items():
            bench.answer(helper, probe, connected=True)
        bench.pass_time(QUICK_S)
        assert bench.probes().keys() != first.keys()

    def test_suspect_that_nobody_supports_any_more_is_buried(self, bench: Bench) -> None:
        self.support(bench)
        bench.pass_time(QUICK_S)
        for helper, probe in bench.probes().items():
            bench.answer(helper, probe, connected=False)
        assert bench.buried == [SUSPECT]
        assert not bench.state.peers[SUSPECT].unreachable


class TestAnswering:
    def asked(self, bench: Bench, about: NodeId = SUSPECT, token: int = 7) -> list[tuple[NodeId, f.ControlFrame]]:
        bench.suspicions.asked(bench.state.peers[node_id(0)], f.Probe(token, about), bench.now_s)
        return bench.controls()

    @pytest.mark.parametrize("reached", [True, False])
    def test_probe_is_answered_at_once_with_what_is_known(self, bench: Bench, reached: bool) -> None:
        bench.reached[SUSPECT] = reached
        assert self.asked(bench) == [(node_id(0), f.Probed(7, SUSPECT, reached))]

    def test_probe_about_ourselves_is_answered_with_yes(self, bench: Bench) -> None:
        assert self.asked(bench, bench.state.node_id) == [(node_id(0), f.Probed(7, bench.state.node_id, True))]

    def test_probe_about_nobody_we_know_is_answered_with_no_and_costs_nothing(self, bench: Bench) -> None:
        unknown = node_id("unknown")
        assert self.asked(bench, unknown) == [(node_id(0), f.Probed(7, unknown, False))]
        assert unknown not in bench.state.peers

    @pytest.mark.parametrize("reached", [True, False])
    def test_member_that_we_have_no_connection_with_is_dialled_before_the_answer(
        self, bench: Bench, reached: bool
    ) -> None:
        bench.reached[SUSPECT] = None
        assert self.asked(bench) == []
        assert bench.dialled == [SUSPECT]
        bench.reached[SUSPECT] = reached
        bench.pass_time(0.05)
        assert bench.controls() == [(node_id(0), f.Probed(7, SUSPECT, reached))]

    def test_answer_is_no_when_the_dial_takes_too_long(self, bench: Bench) -> None:
        bench.reached[SUSPECT] = None
        self.asked(bench)
        bench.pass_time(ANSWER_WITHIN_S - 0.01)
        assert bench.controls() == []
        bench.pass_time(0.01)
        assert bench.controls() == [(node_id(0), f.Probed(7, SUSPECT, False))]
        bench.pass_time(1.0)
        assert bench.controls() == []

    def test_questions_beyond_the_bound_are_answered_at_once(self, bench: Bench) -> None:
        bench.reached[SUSPECT] = None
        for token in range(MAX_QUESTIONS):
            assert self.asked(bench, token=token) == []
        assert self.asked(bench, token=MAX_QUESTIONS) == [(node_id(0), f.Probed(MAX_QUESTIONS, SUSPECT, False))]
