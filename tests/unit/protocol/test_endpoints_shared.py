"""Endpoints at which somebody else is, because two hosts have one address, or nobody, because it leads nowhere."""

from __future__ import annotations

import pytest

from tests.unit.protocol.builders import make_record, node_id
from zmqagents.protocol.contacts import MISTAKEN_RETRY_S, SILENT_BEATS, Contacts
from zmqagents.protocol.dialer import TRY_S
from zmqagents.protocol.effects import ClosePath, OpenPath, Subscribe, Unsubscribe
from zmqagents.protocol.greeting import Greeter
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.records import encode_record
from zmqagents.protocol.state import NodeLimits, NodeState

OWN, PEER, OTHER = node_id("own"), node_id("peer"), node_id("other")


class Bench:
    """A node with one member, which has two endpoints of each kind."""

    def __init__(self, own: tuple[str, ...] = ("data://own",)) -> None:
        self.now_s = 100.0
        self.state = NodeState(make_record("own", endpoints=own), NodeLimits(), self.now_s)
        self.buried: list[NodeId] = []
        self.contacts = Contacts(self.state, Greeter(self.state), lambda node_id, _now_s: self.buried.append(node_id))
        self.record = make_record("peer", endpoints=("data://1", "data://2"), gossip_endpoints=("pub://1", "pub://2"))
        self.state.membership.merge(encode_record(self.record), self.now_s)
        self.contacts.tick(self.now_s)

    def reach(self) -> None:
        self.contacts.reach(self.state.peer(PEER), self.record.endpoints, self.now_s)

    def wrong(self, source: NodeId) -> None:
        """The dialled path comes up, and not the member is there."""
        path = self.state.peers[PEER].dialled
        assert path is not None
        self.contacts.path_up(path, self.now_s)
        self.contacts.wrong_node(path, source, self.now_s)

    def pass_time(self, seconds: float) -> None:
        for _ in range(round(seconds / 0.05)):
            self.now_s += 0.05
            self.contacts.tick(self.now_s)

    def done(self) -> list[str]:
        """What was opened, closed, subscribed to and left since the last time."""
        effects, self.state.effects = self.state.effects, []
        told = []
        for effect in effects:
            if isinstance(effect, OpenPath):
                told.append(f"dial {effect.endpoint}")
            elif isinstance(effect, ClosePath):
                told.append("close")
            elif isinstance(effect, Subscribe):
                told.append(f"hear {effect.endpoint}")
            elif isinstance(effect, Unsubscribe):
                told.append(f"leave {effect.endpoint}")
        return told


@pytest.fixture
def bench() -> Bench:
    return Bench()


class TestData:
    @pytest.mark.parametrize("source", [OWN, OTHER], ids=["ourselves", "another"])
    def test_endpoint_of_somebody_else_gives_way_to_the_next_and_buries_nobody(
        self, bench: Bench, source: NodeId
    ) -> None:
        bench.reach()
        bench.wrong(source)
        assert bench.done() == ["dial data://1", "close", "dial data://2"]
        assert bench.buried == []
        assert bench.state.peers[PEER].path is None

    def test_member_whose_endpoints_are_all_of_others_is_judged_and_dialled_again_later(self, bench: Bench) -> None:
        bench.reach()
        bench.wrong(OTHER)
        bench.done()
        bench.wrong(OTHER)
        assert bench.buried == [PEER], "there is nobody to be asked about it"
        assert bench.done() == ["close"]
        bench.pass_time(MISTAKEN_RETRY_S - 0.1)
        assert bench.done() == []
        bench.pass_time(0.3)
        assert bench.done() == ["dial data://1"]

    def test_member_that_was_there_is_gone_when_another_answers(self, bench: Bench) -> None:
        bench.reach()
        path = bench.state.peers[PEER].dialled
        assert path is not None
        bench.contacts.path_up(path, bench.now_s)
        bench.contacts.met(path)
        bench.contacts.wrong_node(path, OTHER, bench.now_s)
        assert bench.buried == [PEER]

    def test_stranger_whose_endpoints_are_all_of_others_is_forgotten(self, bench: Bench) -> None:
        bench.contacts.sighted(("data://9",), OTHER, bench.now_s)
        path = bench.state.peers[OTHER].dialled
        assert path is not None
        bench.contacts.path_up(path, bench.now_s)
        bench.contacts.wrong_node(path, PEER, bench.now_s)
        assert OTHER not in bench.state.peers
        assert bench.done() == ["dial data://9", "close"]

    def test_endpoints_that_are_ours_too_are_not_dialled(self) -> None:
        bench = Bench(own=("data://1", "data://own"))
        bench.reach()
        assert bench.done() == ["dial data://2"]

    def test_silent_endpoint_gives_way_to_the_next(self, bench: Bench) -> None:
        bench.reach()
        bench.pass_time(TRY_S + 0.3)
        assert bench.done() == ["dial data://1", "close", "dial data://2"]


class TestGossip:
    def test_pub_from_which_the_member_is_not_heard_gives_way_to_the_next(self, bench: Bench) -> None:
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_up("pub://1", bench.now_s)
        bench.pass_time(SILENT_BEATS + 0.3)
        assert bench.done() == ["hear pub://1", "leave pub://1", "hear pub://2"]

    def test_pub_from_which_the_member_was_heard_stays_though_it_is_busy(self, bench: Bench) -> None:
        bench.contacts.listen_to(bench.record, bench.now_s)
        bench.contacts.gossip_up("pub://1", bench.now_s)
        bench.pass_time(0.5)
        bench.state.peer(PEER).gossip_heard_s = bench.now_s
        bench.pass_time(60.0)
        assert bench.done() == ["hear pub://1"]

    def test_own_pub_is_not_listened_to(self, bench: Bench) -> None:
        own = bench.state.membership.own.gossip_endpoints
        bench.contacts.listen_to(make_record("peer", gossip_endpoints=own), bench.now_s)
        assert bench.done() == []
