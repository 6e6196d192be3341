"""What the parts of one node share: its peers, its table, and what is to leave."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from zmqagents.protocol.calls import Adoption, CallLimits, PendingCalls, ServedCalls
from zmqagents.protocol.codec import DEFAULT_MAX_PAYLOAD_BYTES
from zmqagents.protocol.directory import Directory, HostsChanged
from zmqagents.protocol.effects import CallEnded, Effect, Fate, Publish, ServingEnded
from zmqagents.protocol.events import EventInbox, EventLimits, EventOutbox, Sent
from zmqagents.protocol.frames import Agent, ControlFrame, Error, Part, Reply, Request
from zmqagents.protocol.ids import AgentKey, NodeId, PathId
from zmqagents.protocol.link import Link, LinkLimits
from zmqagents.protocol.membership import Membership
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Record
from zmqagents.protocol.tuples import made


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLimits:
    """Bounds and times of one node (SPEC.md sections 5, 6 and 10)."""

    link: LinkLimits = field(default_factory=LinkLimits)
    calls: CallLimits = field(default_factory=CallLimits)
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
        self.on_hosts_changed: Callable[[list[HostsChanged]], None] = _ignore
        """Told when the hosts of agent types have changed."""
        self.on_pins_changed: Callable[[frozenset[AgentKey]], None] = _ignore
        """Told of agents that have been pinned, or are pinned no more."""
        self.on_link_lost: Callable[[NodeId, list[Sent]], None] = _ignore
        """Told of a peer whose link was reset, and of the events that it had not finished."""
        self.on_adoption_ended: Callable[[Adoption, Reply | Error | Fate], None] = _ignore
        self.forwarder_of: Callable[[NodeId], int | None] = _nowhere
        """Gives the path to a forwarder that has the node attached."""
        self.gossip_paths: tuple[int, ...] = ()
        """Paths to the forwarders, which get our gossip."""
        self.pending: PendingCalls[Any] = PendingCalls(limits.calls)
        self.served: ServedCalls[Any] = ServedCalls(limits.calls)
        self.peers: dict[NodeId, Peer] = {}
        self.dirty: dict[NodeId, None] = {}
        """Peers whose link or controls may have something to transmit."""
        self.direct: list[tuple[PathId, list[Part]]] = []
        """Envelopes bound to one path, such as greetings; they leave first."""
        self.wake_s = now_s
        """When ``tick`` is due at the latest."""
        self._next_session = 1
        self._last_receipt = 0
        self._last_path = 0

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
                handling=EventInbox(self.limits.events),
                yields=node_id < self.node_id,
                forwarded=self.forwarder_of(node_id),
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

    def take_path(self) -> int:
        """A number that no dialled path has had."""
        self._last_path += 1
        return self._last_path

    def publish(self, parts: list[bytes]) -> None:
        """Send gossip to whoever listens, directly or at a forwarder."""
        self.effects.append(Publish(parts))
        self.direct += [(path, [*parts]) for path in self.gossip_paths]

    def control(self, peer: Peer, frame: ControlFrame) -> None:
        """Send ``frame`` on the peer's best path with the next transmission; dropped if there is none, or no link.

        Whatever is news is pulled once the link is up.
        """
        if peer.link.up and peer.path is not None:
            peer.controls.append(frame)
            self.dirty[peer.node_id] = None

    def wake_by(self, at_s: float) -> None:
        """``tick`` is due at ``at_s``, if not before."""
        self.wake_s = min(self.wake_s, at_s)

    def replace_record(self, old: Record | None, new: Record | None) -> None:
        """A member's record has changed: the directory follows, and whoever depends on it."""
        changes = self.directory.replace(old, new)
        if changes:
            self.on_hosts_changed(changes)
        pins = (old.pinned if old is not None else frozenset()) ^ (new.pinned if new is not None else frozenset())
        if pins:
            self.on_pins_changed(pins)

    def end_call(self, token: Any, node_id: NodeId, outcome: Reply | Error | Fate) -> None:
        """A pending call has its outcome."""
        if isinstance(token, Adoption):
            self.on_adoption_ended(token, outcome)
        else:
            self.effects.append(made(CallEnded, (token, node_id, outcome)))

    def reset_link(self, peer: Peer) -> None:
        """End the link's life (SPEC.md section 4): calls end, unfinished events are handed back."""
        was_up = peer.link.up
        abandoned = peer.link.reset(self._take_session())
        peer.pulled_at_s = -math.inf
        peer.synced = False
        peer.handling.clear()
        peer.done.clear()
        peer.controls.clear()
        self.counters.resets += was_up
        unread = [*abandoned.maybe_delivered, *abandoned.never_sent] if peer.said_bye else abandoned.never_sent
        peer.said_bye = False
        not_executed = {entry.frame.call_id for entry in unread if isinstance(entry.frame, Request | Agent)}
        for call_id, token in self.pending.lose_peer(peer.node_id):
            fate = Fate.UNDELIVERABLE if call_id in not_executed else Fate.PEER_LOST
            self.end_call(token, peer.node_id, fate)
        served = self.served.lose_peer(peer.node_id)
        if served:
            self.effects.append(ServingEnded(served))
        self.on_link_lost(peer.node_id, peer.outbox.drain())


def _ignore(*_: object) -> None:
    """Nobody has to be told yet."""


def _nowhere(_node_id: NodeId) -> None:
    """There is no forwarder."""
