"""Nodes that a forwarder has lost, and that may be back without saying so (SPEC.md section 12.4).

A node whose connection has ended is dialled for by its libzmq, at once and from a thread of its own; but only its
program can say ATTACH again, and that may be busy for a while, which is no death. So the forwarder tries to send it
something for a while. What a connection takes shows that the node is there.
"""

from __future__ import annotations

import math

from zmqagents.protocol.ids import NodeId

RETURN_WITHIN_S = 2.0  # as long as its peers give it (section 6.4)
TRY_S = 0.1
TRY_EACH_S = 1e-4  # and longer for each that is away: of a whole rack, they cost no more than a tenth of the time


class Returns:
    """Those that are away: ``tick`` says who is back, and whom to send something; ``failed`` that it was not taken."""

    def __init__(self) -> None:
        self._until_s: dict[NodeId, float] = {}
        self._tried: dict[NodeId, None] = {}
        """Those to whom something was sent, and taken so far."""
        self.wake_s = math.inf
        """When ``tick`` is due."""

    def __len__(self) -> int:
        return len(self._until_s)

    def lost(self, node_id: NodeId, now_s: float) -> None:
        """The node's connection has ended."""
        self._until_s[node_id] = now_s + RETURN_WITHIN_S
        self.wake_s = min(self.wake_s, now_s + TRY_S)

    def forget(self, node_id: NodeId) -> None:
        """The node is attached again, has left, or can't be served."""
        self._until_s.pop(node_id, None)
        self._tried.pop(node_id, None)

    def failed(self, node_id: NodeId) -> None:
        """It has no connection yet."""
        self._tried.pop(node_id, None)

    def tick(self, now_s: float) -> tuple[list[NodeId], list[NodeId]]:
        """Who is back, and to whom something is to be sent."""
        if now_s < self.wake_s:
            return [], []
        back = list(self._tried)
        for node_id in back:
            del self._until_s[node_id]
        self._until_s = {node_id: until_s for node_id, until_s in self._until_s.items() if until_s > now_s}
        self._tried = dict.fromkeys(self._until_s)
        self.wake_s = now_s + TRY_S + TRY_EACH_S * len(self._until_s) if self._until_s else math.inf
        return back, list(self._tried)
