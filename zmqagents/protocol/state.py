"""What the parts of one node share: its peers, its table, and what is to leave."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from zmqagents.protocol.calls import PendingCalls, ServedCalls
from zmqagents.protocol.codec import DEFAULT_MAX_PAYLOAD_BYTES
from zmqagents.protocol.directory import Directory
from zmqagents.protocol.effects import CallEnded, Effect, EventsAbandoned, Fate, ServingEnded
from zmqagents.protocol.events import EventLimits, EventOutbox
from zmqagents.protocol.frames import Agent, ControlFrame, Request
from zmqagents.protocol.ids import NodeId, PathId
from zmqagents.protocol.link import Link, LinkLimits, Status
from zmqagents.protocol.membership import Membership
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Record


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLimits:
    """Bounds and times of one node (SPEC.md sections 5, 6 and 10)."""

    link: LinkLimits = field(default_factory=LinkLimits)
    events: EventLimits = field(default_factory=EventLimits)
    max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES
    heartbeat_s: float = 1.0


@dataclass(slots=True)
class NodeCounters:
    """What happened, for metrics and tests."""

    strays: int = 0
    pulls: int = 0
    resets: int = 0


class NodeState:
    """Shared by the parts of one node, which alone touch it."""

    def __init__(self, record: Record, limits: NodeLimits, now_s: float) -> None:
        self.node_id = record.node_id
        self.limits = limits
        self.counters = NodeCounters()
        self.effects: list[Effect] = []
        self.membership = Membership(record)
        self.directory = Directory()
        self.directory.replace(None, record)
        self.pending: PendingCalls[Any] = PendingCalls()
        self.served: ServedCalls[Any] = ServedCalls()
        self.peers: dict[NodeId, Peer] = {}
        self.dirty: dict[NodeId, None] = {}
        """Peers whose link or controls may have something to transmit."""
        self.direct: list[tuple[PathId, list[bytes]]] = []
        """Envelopes bound to one path, such as greetings; they leave first."""
        self.wake_s = now_s
        """When ``tick`` is due at the latest."""
        self._next_session = 1
        self._last_receipt = 0

    def peer(self, node_id: NodeId) -> Peer:
        """The peer of that id, made if need be."""
        peer = self.peers.get(node_id)
        if peer is None:
            record = self.membership.get(node_id)
            peer = self.peers[node_id] = Peer(
                node_id,
                Link(self.node_id, node_id, self._take_session(), self.limits.link),
                EventOutbox(self.limits.events),
                record.instance_id if record is not None else "",
            )
        return peer

    def _take_session(self) -> int:
        session = self._next_session
        self._next_session += 1
        return session

    def take_receipt(self) -> int:
        """A number that no event received here has had."""
        self._last_receipt += 1
        return self._last_receipt

    def control(self, peer: Peer, frame: ControlFrame) -> None:
        """Send ``frame`` on the peer's best path with the next transmission; dropped if there is none, or no link.

        Whatever is news is pulled once the link is up.
        """
        if peer.link.status is Status.UP and peer.path is not None:
            peer.controls.append(frame)
            self.dirty[peer.node_id] = None

    def wake_by(self, at_s: float) -> None:
        """``tick`` is due at ``at_s``, if not before."""
        self.wake_s = min(self.wake_s, at_s)

    def reset_link(self, peer: Peer) -> None:
        """End the link's life (SPEC.md section 4): calls end, unfinished events are handed back."""
        was_up = peer.link.status is Status.UP
        abandoned = peer.link.reset(self._take_session())
        peer.pulled_at_s = -math.inf
        peer.synced = False
        peer.handling.clear()
        peer.done.clear()
        peer.controls.clear()
        self.counters.resets += was_up
        unsent = {entry.frame.call_id for entry in abandoned.never_sent if isinstance(entry.frame, Request | Agent)}
        for call_id, token in self.pending.lose_peer(peer.node_id):
            fate = Fate.UNDELIVERABLE if call_id in unsent else Fate.PEER_LOST
            self.effects.append(CallEnded(token, peer.node_id, fate))
        served = self.served.lose_peer(peer.node_id)
        if served:
            self.effects.append(ServingEnded(served))
        events = peer.outbox.drain()
        if events:
            self.effects.append(EventsAbandoned(peer.node_id, events))
