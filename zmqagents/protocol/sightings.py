"""Nodes that discovery has shown, and which of them are dialled when (SPEC.md section 6.4).

In a small cluster everybody dials everybody whom discovery shows. In a large one that would be a million connections
for a thousand nodes: there a newcomer dials some, and everybody hears of it by gossip. Who is still unknown after a
while belongs to a part of the cluster that gossip does not reach, and is dialled then, by one node after the other.
"""

from __future__ import annotations

from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.overlay import FULL_MESH_MAX, place
from zmqagents.protocol.state import NodeState

MAX_WAITING = 8_192  # the nodes of a table
STRANGER_AFTER_S = 5.0  # a newcomer is known everywhere long before
STRANGER_DIALS_PER_S = 20  # of all nodes of a large cluster together: who is met once is known to all
DIAL_AGAIN_S = 5.0


class Sightings:
    """The nodes that are not dialled at once; the newest are left out when there are too many."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._waiting: dict[NodeId, tuple[tuple[str, ...], float]] = {}  # endpoints, since_s
        self._stranger_at_s = 0.0

    def admits(self, node_id: NodeId, endpoints: tuple[str, ...], dials: int, now_s: float) -> bool:
        """Whether the node is to be dialled now, while there are so many dials; if not, it waits."""
        membership = self._state.membership
        if not membership.is_large and dials < FULL_MESH_MAX:
            return True
        if len(self._waiting) < MAX_WAITING and membership.get(node_id) is None:
            self._waiting.setdefault(node_id, (endpoints, now_s))
        return False

    def due(self, dials: int, now_s: float) -> list[tuple[NodeId, tuple[str, ...]]]:
        """Those to be dialled now, with their endpoints; they wait no longer."""
        if not self._waiting:
            return []
        membership = self._state.membership
        for node_id in list(self._waiting):
            if membership.is_buried(node_id) or (membership.is_large and membership.get(node_id) is not None):
                del self._waiting[node_id]
        if not membership.is_large:
            count = max(0, FULL_MESH_MAX - dials)
        else:
            count = 1 if now_s >= self._stranger_at_s and self._oldest_s() + self._patience_s() <= now_s else 0
            self._stranger_at_s = now_s + DIAL_AGAIN_S if count else self._stranger_at_s
        return [(node_id, self._waiting.pop(node_id)[0]) for node_id in list(self._waiting)[:count]]

    def _oldest_s(self) -> float:
        return next((since_s for _, since_s in self._waiting.values()), float("inf"))

    def _patience_s(self) -> float:
        """The nodes of a large cluster take turns, by their places on the ring."""
        turns_s = self._state.membership.live_count / STRANGER_DIALS_PER_S
        return STRANGER_AFTER_S + place(self._state.node_id) * turns_s
