"""Peers of which the gossip says that they have left while our link with them is up (SPEC.md section 6.4).

The news may overtake the peer's own last words: answers that are on their way, and the BYE whose acknowledgement tells
which calls it certainly has not executed. So the peer is no member any more, and nothing new is sent to it, but the
link stays until the BYE is read or its connection is refused, and for FAREWELL_S at most.
"""

from __future__ import annotations

from collections.abc import Callable

from zmqagents.protocol.greeting import is_up
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.state import NodeState

FAREWELL_S = 2.0  # what is on its way comes within milliseconds; longer than a busy program takes as a rule


class Departures:
    """The links that outlive the membership of their peers. ``forget`` ends everything that concerns a node."""

    def __init__(self, state: NodeState, forget: Callable[[NodeId], None]) -> None:
        self._state = state
        self._forget = forget
        self._until_s: dict[NodeId, float] = {}

    def left(self, node_id: NodeId, now_s: float) -> None:
        """The node has left, says the gossip: its link ends now, or when it has said so itself."""
        peer = self._state.peers.get(node_id)
        if peer is None or not is_up(peer) or not self._awaits(peer):
            self._forget(node_id)
            return
        self._until_s[node_id] = now_s + FAREWELL_S
        self._state.wake_by(now_s + FAREWELL_S)

    def _awaits(self, peer: Peer) -> bool:
        """Whether the peer's last words tell anything that we want to know."""
        return bool(self._state.pending.unanswered(peer.node_id) or peer.outbox or not peer.link.is_quiet())

    def tick(self, now_s: float) -> None:
        """End the links whose peers have said nothing for too long."""
        for node_id, until_s in list(self._until_s.items()):
            if node_id not in self._state.peers or self._state.membership.get(node_id) is not None:
                del self._until_s[node_id]
            elif until_s <= now_s:
                del self._until_s[node_id]
                self._forget(node_id)
            else:
                self._state.wake_by(until_s)
