"""Calls and events of one node, on its links (SPEC.md sections 5 and 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.agency import Agency
from zmqagents.protocol.calls import Adoption
from zmqagents.protocol.effects import EventsAbandoned, Fate, Incoming
from zmqagents.protocol.events import Origin, Sent
from zmqagents.protocol.greeting import is_up
from zmqagents.protocol.ids import AgentKey, CallId, NodeId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.state import NodeState
from zmqagents.protocol.windows import weight_bytes, weight_of_event

MAX_WAITING = 8_192  # events whose way is not free, in all: as many as a peer may have unfinished

_OF_DIRECTORY = (f.Census, f.Claim, f.Rival, f.Yield, f.Disclaim, f.Moved)


class Traffic:
    """Puts messages on links and takes them off; ``agency`` decides where they go.

    ``reachable`` gives the peer of a member, and sees to a path to it; None for who is no member.
    """

    def __init__(self, state: NodeState, reachable: Callable[[NodeId, float], Peer | None], now_s: float) -> None:
        self._state = state
        self._reachable = reachable
        self._now_s = now_s
        """The time of the last input."""
        self.agency = Agency(state, self._tell, self._send_event, self._begin_adoption, self._finished)
        self._on_frame: dict[type[Any], Callable[[Peer, int, Any], None]] = {
            f.Request: self._asked,
            f.Agent: self._asked,
            f.Reply: self._answered,
            f.Error: self._answered,
            f.Cancel: self._cancelled,
            f.Event: self._event_came,
            f.EventDone: self._events_done,
            f.Unknown: self._ignored,
            **dict.fromkeys(_OF_DIRECTORY, self._of_directory),
        }
        state.on_hosts_changed = self.agency.hosts_changed
        state.on_pins_changed = self.agency.pins_changed
        state.on_link_lost = self._link_lost
        state.on_adoption_ended = self.agency.moves.adoption_ended

    # -- calls -------------------------------------------------------------------------------------------------

    def call(
        self, node_id: NodeId, frame: f.Request | f.Agent, token: Any, deadline_s: float | None, now_s: float
    ) -> bool:
        """Send a call, whose id is ``pending.next_id()``; its end is a CallEnded with ``token``.

        False, and nothing was done, if the node is no member.
        """
        peer = self._reachable(node_id, now_s)
        if peer is None:
            return False
        weight = weight_bytes(frame)
        self._state.pending.begin(frame.call_id, node_id, token, deadline_s, weight)
        if deadline_s is not None:
            self._state.wake_by(deadline_s)
        peer.link.send(frame, weight)
        self._state.dirty[node_id] = None
        return True

    def _begin_adoption(self, node_id: NodeId, frame: f.Agent, token: Adoption) -> bool:
        return self.call(node_id, frame, token, None, self._now_s)

    def cancel(self, call_id: CallId) -> None:
        """Give up a call: no CallEnded follows, and the handler is asked to stop."""
        pending = self._state.pending.abandon(call_id)
        if pending is not None:
            self._send_cancel(pending.peer, call_id)

    def _send_cancel(self, node_id: NodeId, call_id: CallId) -> None:
        peer = self._state.peers.get(node_id)
        if peer is not None:
            peer.link.send(f.Cancel(call_id))
            self._state.dirty[node_id] = None

    def answer(self, node_id: NodeId, frame: f.Reply | f.Error) -> None:
        """Answer a served call; nothing is sent if nobody waits for it any more."""
        peer = self._state.peers.get(node_id)
        if self._state.served.end(node_id, frame.call_id) and peer is not None:
            peer.link.send(frame, weight_bytes(frame))
            self._state.dirty[node_id] = None
        self.agency.arrivals.answered(node_id, frame)

    def can_send(self, node_id: NodeId) -> bool:
        """Whether a call to the peer would leave at once, and its call window has room; else the caller should wait."""
        peer = self._state.peers.get(node_id)
        return peer is None or (peer.link.has_room() and self._state.pending.has_room(node_id))

    # -- events ------------------------------------------------------------------------------------------------

    def deliver(self, event: f.Event, now_s: float) -> None:
        """Send an event to its recipients, wherever they are; those here come back as Incoming from this node."""
        self._now_s = now_s
        self.agency.routes.send(event)

    def publish(self, node_id: NodeId, event: f.Event, now_s: float) -> bool:
        """Send an event to a member, and keep it until it is finished there. False if the node is no member."""
        self._now_s = now_s
        return self._send_event(node_id, event, None)

    def _send_event(self, node_id: NodeId, event: f.Event, origin: Origin | None) -> bool:
        peer = self._reachable(node_id, self._now_s)
        if peer is None:
            return False
        weight = weight_of_event(event)
        if peer.outbox.has_room(event.hops):
            self._put(peer, event, weight, origin)
        else:
            peer.outbox.keep(event, weight, origin)
        return True

    def _put(self, peer: Peer, event: f.Event, weight: int, origin: Origin | None) -> None:
        peer.outbox.sent(peer.link.send(event, weight), event, weight, origin)
        self._state.dirty[peer.node_id] = None

    def event_done(self, node_id: NodeId, receipt: int, recipients: list[AgentKey]) -> None:
        """The handlers of these recipients of an event have ended; ``receipt`` came with it."""
        for key in recipients:
            self.agency.arrivals.left(key)
        self._finish(node_id, receipt, len(recipients))

    def _finished(self, origin: Origin, recipients: int) -> None:
        self._finish(origin.peer, origin.receipt, recipients)

    def _finish(self, node_id: NodeId, receipt: int, recipients: int) -> None:
        """So many recipients of an event that came from a peer have finished it. Of a life that is over: ignored."""
        peer = self._state.peers.get(node_id)
        number = peer.handling.finished(receipt, recipients) if peer is not None else None
        if peer is not None and number is not None:
            peer.done.append(number)
            self._state.dirty[node_id] = None

    def can_publish(self, node_id: NodeId) -> bool:
        """Whether an event to the peer would leave at once, and its event window has room."""
        peer = self._state.peers.get(node_id)
        if self.agency.routes.waiting >= MAX_WAITING:
            return False
        return peer is None or (peer.link.has_room() and peer.outbox.has_room())

    @property
    def unfinished_events(self) -> int:
        """Events that this node has sent, or is to send, and whose handlers have not all ended."""
        return self.agency.routes.waiting + sum(len(peer.outbox) for peer in self._state.peers.values())

    # -- what comes --------------------------------------------------------------------------------------------

    def receive(self, peer: Peer, number: int, frame: f.DataFrame, now_s: float) -> None:
        """A data frame came. Raises RemoteProtocolError if the peer ignores its windows."""
        self._now_s = now_s
        self._on_frame[type(frame)](peer, number, frame)

    def _answered(self, peer: Peer, _number: int, frame: f.Reply | f.Error) -> None:
        pending = self._state.pending.end(frame.call_id, peer.node_id)
        if pending is not None:
            self._state.end_call(pending.token, peer.node_id, frame)

    def _asked(self, peer: Peer, number: int, frame: f.Request | f.Agent) -> None:
        self._state.served.arrived(peer.node_id, frame.call_id, weight_bytes(frame))
        self.agency.arrivals.call(peer.node_id, number, frame, self._now_s)

    def _cancelled(self, peer: Peer, number: int, frame: f.Cancel) -> None:
        if not self.agency.arrivals.cancelled(peer.node_id, frame.call_id):
            self._state.effects.append(Incoming(peer.node_id, number, frame))

    def _event_came(self, peer: Peer, number: int, frame: f.Event) -> None:
        receipt = self._state.take_receipt()
        peer.handling.came(receipt, number, weight_of_event(frame), len(frame.recipients), frame.hops)
        self.agency.arrivals.event(peer.node_id, receipt, frame, self._now_s)

    def _events_done(self, peer: Peer, _number: int, frame: f.EventDone) -> None:
        for sent in peer.outbox.done(frame.numbers):
            self.agency.routes.done(sent)
        while (kept := peer.outbox.take()) is not None:
            self._put(peer, *kept)

    def _of_directory(self, peer: Peer, _number: int, frame: f.DataFrame) -> None:
        self.agency.take(peer.node_id, frame, self._now_s)

    def _ignored(self, peer: Peer, number: int, frame: f.Unknown) -> None:
        """An optional frame of a later version."""

    def _tell(self, node_id: NodeId, frame: f.DataFrame) -> bool:
        """Send to a member, or to whoever has a link with us: its record may be older news than what it asks."""
        peer = self._state.peers.get(node_id)
        if peer is None or not is_up(peer):
            peer = self._reachable(node_id, self._now_s)
        if peer is None:
            return False
        peer.link.send(frame, weight_bytes(frame))
        self._state.dirty[node_id] = None
        return True

    def _link_lost(self, node_id: NodeId, unfinished: list[Sent]) -> None:
        own = [sent for sent in unfinished if sent.origin is None]
        if own:
            self._state.effects.append(EventsAbandoned(node_id, len(own)))
        self.agency.link_lost(node_id, unfinished)

    def tick(self, now_s: float) -> None:
        """End what has passed its deadline, and do what time asks of agents."""
        self._now_s = now_s
        state = self._state
        for call_id, pending in state.pending.expire(now_s):
            state.end_call(pending.token, pending.peer, Fate.DEADLINE)
            self._send_cancel(pending.peer, call_id)
        deadline_s = state.pending.deadline_s()
        if deadline_s is not None:
            state.wake_by(deadline_s)
        self.agency.tick(now_s)
