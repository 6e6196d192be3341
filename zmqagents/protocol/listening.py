"""Keeps the gossip connections to those members that the overlay names (SPEC.md section 6.3)."""

from __future__ import annotations

from zmqagents.protocol.contacts import Contacts
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.membership import Change, MemberChange
from zmqagents.protocol.overlay import Ring
from zmqagents.protocol.state import NodeState

REVIEW_EVERY_S = 0.1  # in large clusters: a burst of joins moves connections once, not once for each
SHED_ABOVE = 80
"""Live members up to which nobody is left: a cluster that goes back and forth over FULL_MESH_MAX keeps its mesh."""


class Listening:
    """Whom this node listens to."""

    def __init__(self, state: NodeState, contacts: Contacts) -> None:
        self._state = state
        self._contacts = contacts
        self._ring = Ring()
        self._ring.add(state.node_id)
        self._heard: set[NodeId] = set()
        self._stale = False
        self._review_at_s = 0.0

    def changed(self, change: MemberChange, now_s: float) -> None:
        """A member joined, changed or is gone; ``settle`` follows."""
        node_id = change.record.node_id
        if change.change is Change.UPDATED:
            if node_id in self._heard:
                self._contacts.listen_to(change.record, now_s)
            return
        if change.change is Change.JOINED:
            self._ring.add(node_id)
        else:
            self._ring.discard(node_id)
            self._heard.discard(node_id)
        self._stale = True

    def settle(self, now_s: float) -> None:
        """Connect and disconnect as the changes ask, at once in small clusters."""
        if not self._stale:
            return
        if self._state.membership.is_large and now_s < self._review_at_s:
            self._state.wake_by(self._review_at_s)
            return
        self._stale = False
        self._review_at_s = now_s + REVIEW_EVERY_S
        wanted = self._ring.neighbours(self._state.node_id)
        for node_id in sorted(wanted - self._heard):
            record = self._state.membership.get(node_id)
            if record is not None:
                self._contacts.listen_to(record, now_s)
                self._heard.add(node_id)
        if len(self._ring) > SHED_ABOVE:
            for node_id in sorted(self._heard - wanted):
                self._contacts.stop_listening(node_id)
            self._heard &= wanted
