"""Has members that can't be dialled from here dial us instead (SPEC.md section 6.4).

Of a node behind NAT the others know only addresses that lead nowhere; it can dial them, and what is sent back over its
connection reaches it. It doesn't know who needs that. So whoever finds that a member's endpoints never answer asks
others, who may have a connection with it, to pass on that it is sought; it dials the seeker, whose record it has by
gossip.

Rejected: that each node dials every member at once, which costs a cluster of 60 that never needs it 1,770 connections;
a list of seekers in the heartbeats, which reaches those only who listen to the seeker in a large cluster.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from zmqagents.protocol import frames as f
from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.greeting import is_up
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.state import NodeState

SEEK_AFTER_S = 0.5  # of dialling: above a handshake on a LAN, well below the verdict on a dial that never answers
AGAIN_S = 1.0  # then the wait doubles
LAST_S = 16.0


class Helpers(Protocol):
    """Knows who may help to reach a member."""

    def helpers(self, node_id: NodeId, now_s: float) -> list[Peer]:
        """A few members, others each time."""


class Seeking:
    """One node's search for those that it can't dial, and its help to others with theirs."""

    def __init__(
        self, state: NodeState, helpers: Helpers, reach: Callable[[Peer, tuple[str, ...], float], None]
    ) -> None:
        """``reach`` is called to dial a peer."""
        self._state = state
        self._helpers = helpers
        self._reach = reach

    def seek(self, node_id: NodeId, dial: Dial, now_s: float) -> None:
        """The dial to the member is not up. If it never was, and there is no other path, others are asked for help."""
        if dial.complete or now_s - dial.since_s < SEEK_AFTER_S or self._state.membership.get(node_id) is None:
            return
        peer = self._state.peer(node_id)
        if peer.path is not None:
            peer.seek_wait_s = 0.0
            return
        if now_s < peer.seek_at_s and peer.seek_wait_s:
            return
        peer.seek_wait_s = min(2 * peer.seek_wait_s or AGAIN_S, LAST_S)
        peer.seek_at_s = now_s + peer.seek_wait_s
        for helper in self._helpers.helpers(node_id, now_s):
            self.ask(helper, node_id)

    def ask(self, helper: Peer, node_id: NodeId) -> None:
        """Ask one who may have a connection with the member."""
        self._state.control(helper, f.Seek(node_id, self._state.node_id))

    def asked(self, peer: Peer, frame: f.Seek, now_s: float) -> None:
        """A SEEK came: we are sought, or can pass it on. It goes one step only, so that none circles."""
        state = self._state
        if frame.node == state.node_id:
            record = state.membership.get(frame.seeker)
            if record is not None:
                self._reach(state.peer(frame.seeker), record.endpoints, now_s)
        elif frame.seeker == peer.node_id:
            sought = state.peers.get(frame.node)
            if sought is not None and is_up(sought) and state.membership.get(frame.node) is not None:
                state.control(sought, frame)
