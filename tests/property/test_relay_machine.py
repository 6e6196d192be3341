"""A forwarder under anything that nodes may do: rosters end up true, nothing goes astray, all is bounded."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tests.property.strategies import control_frames, damaged
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import GOSSIP_PREFIX, Delta, decode_envelope, encode_envelope, encode_gossip
from zmqagents.protocol.ids import ANYONE, NodeId
from zmqagents.protocol.relay import Relay
from zmqagents.protocol.relay_state import RelayLimits
from zmqagents.protocol.rosters import KEEP_S

FORWARDER = b"F" * 16
NODES = [bytes([65 + number]) * 16 for number in range(6)]
LIMITS = RelayLimits(max_nodes=4, max_listened=3, max_listened_in_all=6, max_sends=200)

nodes = st.sampled_from(NODES)
destinations = st.sampled_from([*NODES, FORWARDER, ANYONE])


def parts_of(envelope: f.Envelope) -> list[bytes]:
    return [bytes(part) for part in encode_envelope(envelope)]


class Forwarding(RuleBasedStateMachine):
    """The relay, and what each node has heard of it on a connection that loses nothing while it is there."""

    def __init__(self) -> None:
        super().__init__()
        self.relay = Relay(FORWARDER, "c", LIMITS)
        self.now_s = 0.0
        self.connected: set[NodeId] = set(NODES)
        self.known: dict[NodeId, set[NodeId]] = {node: set() for node in NODES}
        self.paging: dict[NodeId, set[NodeId]] = {}
        self.heard_s: dict[NodeId, float] = dict.fromkeys(NODES, 0.0)
        self.sent: tuple[NodeId, list[Any]] | None = None

    def receive(self, sender: NodeId, parts: list[bytes]) -> None:
        self.connected.add(sender)
        self.sent = (sender, parts)
        self.relay.receive(sender, parts, self.now_s)
        self.deliver()
        self.sent = None

    def deliver(self) -> None:
        """As a shell does: to whoever is connected; of others the relay is told."""
        while sends := self.relay.take():
            assert len(sends) <= LIMITS.max_sends + 2 * len(NODES)
            for receiver, parts in sends:
                if receiver not in self.connected:
                    self.relay.unreachable(receiver, self.now_s)
                    continue
                self.heard_s[receiver] = self.now_s
                if parts[0] == GOSSIP_PREFIX or parts[0][4:20] != FORWARDER:
                    self.check_relayed(receiver, parts)
                else:
                    self.hear(receiver, parts)

    def check_relayed(self, receiver: NodeId, parts: list[bytes]) -> None:
        assert self.sent is not None
        sender, sent = self.sent
        assert parts is sent
        assert sender != receiver or parts[0] == GOSSIP_PREFIX
        assert parts[0] == GOSSIP_PREFIX or (parts[0][4:20], parts[0][22:38]) == (sender, receiver)

    def hear(self, receiver: NodeId, parts: list[bytes]) -> None:
        envelope = decode_envelope(parts)
        assert envelope.destination == receiver
        for frame in envelope.frames:
            if isinstance(frame, f.Roster) and frame.whole:
                page = self.paging.setdefault(receiver, set())
                page |= set(frame.attached)
                if frame.last:
                    self.known[receiver] = self.paging.pop(receiver)
            elif isinstance(frame, f.Roster):
                self.known[receiver] |= set(frame.attached)
                self.known[receiver] -= set(frame.gone)

    @rule(node=nodes, cluster=st.sampled_from(["c", "c", "c", "d"]), highest=st.sampled_from([1, 1, 0]))
    def attach(self, node: NodeId, cluster: str, highest: int) -> None:
        frame = f.Attach(highest, highest, cluster, 1)
        self.receive(node, parts_of(f.Envelope(node, ANYONE, 0, 0, 0, 0, [frame])))

    @rule(source=nodes, claimed=nodes, destination=destinations, payload=st.binary(max_size=5_000))
    def write(self, source: NodeId, claimed: NodeId, destination: NodeId, payload: bytes) -> None:
        frame = f.Reply(1, "T", "b", payload)
        parts = parts_of(f.Envelope(claimed, NODES[0], 1, 1, 0, 0, [frame]))
        parts[0] = parts[0][:22] + destination + parts[0][38:]
        self.receive(source, parts)

    @rule(node=nodes, frames=st.lists(control_frames, min_size=1, max_size=3))
    def say(self, node: NodeId, frames: list[f.Frame]) -> None:
        self.receive(node, parts_of(f.Envelope(node, FORWARDER, 0, 0, 0, 0, frames)))

    @rule(node=nodes, whole=st.booleans(), wanted=st.lists(nodes), dropped=st.lists(nodes))
    def listen(self, node: NodeId, whole: bool, wanted: list[NodeId], dropped: list[NodeId]) -> None:
        frame = f.Listen(whole, wanted, dropped)
        self.receive(node, parts_of(f.Envelope(node, FORWARDER, 0, 0, 0, 0, [frame])))

    @rule(node=nodes, source=nodes)
    def gossip(self, node: NodeId, source: NodeId) -> None:
        self.receive(node, encode_gossip(Delta(source, [b"record"])))

    @rule(node=nodes, data=st.data())
    def break_rules(self, node: NodeId, data: st.DataObject) -> None:
        whole = st.sampled_from(parts_of(f.Envelope(node, NODES[0], 0, 0, 0, 0, [f.Pong(1)])))
        self.receive(node, data.draw(st.lists(st.binary(max_size=60) | damaged(whole), max_size=4)))

    @precondition(lambda self: self.connected)
    @rule(data=st.data())
    def lose_connection(self, data: st.DataObject) -> None:
        node = data.draw(st.sampled_from(sorted(self.connected)))
        self.connected.remove(node)
        self.relay.disconnected(self.now_s)

    @rule(node=nodes)
    def connect(self, node: NodeId) -> None:
        """Its libzmq has dialled again, and its program says nothing yet."""
        self.connected.add(node)

    @rule(node=nodes)
    def overflow(self, node: NodeId) -> None:
        self.relay.overflowed(node, self.now_s)
        self.known[node] = set()

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        until_s = self.now_s + seconds
        while self.relay.wake_s <= until_s:
            self.now_s = max(self.now_s, self.relay.wake_s)
            self.relay.tick(self.now_s)
            self.deliver()
            assert self.relay.wake_s > self.now_s, "a shell would spin"
        self.now_s = until_s
        for node in self.relay.attached:
            assert self.heard_s[node] > self.now_s - KEEP_S - 1e-9

    @rule()
    def settle(self) -> None:
        """When nothing happens for a while, everybody who is attached knows who is."""
        self.wait(2.0)
        attached = set(self.relay.attached)
        assert attached <= self.connected
        for node in attached:
            assert self.known[node] - {node} == attached - {node}

    @invariant()
    def state_is_bounded(self) -> None:
        assert len(self.relay.attached) <= LIMITS.max_nodes
        assert self.relay.listened <= LIMITS.max_listened_in_all
        assert len(self.relay.take_news()) <= 1_024


TestForwarding = Forwarding.TestCase
TestForwarding.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
