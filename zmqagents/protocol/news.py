"""What this node has learned and tells on in DELTAs (SPEC.md section 6.3)."""

from __future__ import annotations

import math

from zmqagents.protocol.codec import Delta, encode_gossip
from zmqagents.protocol.frames import DeathEntry
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.membership import in_chunks
from zmqagents.protocol.state import NodeState

GATHER_S = 0.02  # what comes within it leaves in one DELTA; a tenth of a second over the five hops of 1,000 nodes
DELTA_EVERY_S = 0.1  # under load: 10 DELTAs a second at most to each listener, however much changes
MAX_DEATHS = 4_096  # in one DELTA: 110 kB; more are left to the anti-entropy


class News:
    """Records and deaths that are to be told once: at once in small clusters, gathered for a moment in large ones."""

    def __init__(self, state: NodeState) -> None:
        self._state = state
        self._records: dict[NodeId, bytes] = {}
        self._deaths: dict[NodeId, int] = {}
        self._last_s = -math.inf
        self._due_s: float | None = None

    def record(self, node_id: NodeId, encoded: bytes) -> None:
        """The node has this record now; it may say that the node has left."""
        self._records[node_id] = encoded
        self._deaths.pop(node_id, None)

    def death(self, node_id: NodeId, version: int) -> None:
        """The node is dead as of that version."""
        self._records.pop(node_id, None)
        if len(self._deaths) < MAX_DEATHS:
            self._deaths[node_id] = version

    def flush(self, now_s: float) -> None:
        """Publish what there is, if it is time."""
        if not self._records and not self._deaths:
            return
        if self._due_s is None:
            large = self._state.membership.is_large
            self._due_s = max(now_s + GATHER_S, self._last_s + DELTA_EVERY_S) if large else now_s
        if now_s < self._due_s:
            self._state.wake_by(self._due_s)
            return
        deaths: list[DeathEntry] = [[node_id, version] for node_id, version in self._deaths.items()]
        for chunk in in_chunks(list(self._records.values())):
            self._state.publish(encode_gossip(Delta(self._state.node_id, chunk, deaths)))
            deaths = []
        self._records.clear()
        self._deaths.clear()
        self._last_s = now_s
        self._due_s = None
