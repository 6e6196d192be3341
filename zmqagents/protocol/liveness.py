"""Whether a member is alive, from the connections with it (SPEC.md section 6.4).

The evidence is libzmq's, which answers ZMTP PINGs from a thread of its own: a program that is busy stays connected. A
connection that was refused tells that nobody listens there any more; one that can't be completed tells the same after
a while. Silence of the gossip alone tells nothing.
"""

from __future__ import annotations

from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.ids import NodeId

UNREACHABLE_AFTER_S = 5.0  # SPEC.md section 6.4; above ZMTP's 1.5 s of silence plus two dials


class GossipDials:
    """The gossip endpoints being dialled, one target a member."""

    def __init__(self) -> None:
        self._dials: dict[NodeId, Dial] = {}
        self._nodes: dict[str, NodeId] = {}

    def get(self, node_id: NodeId) -> Dial | None:
        """How dialling the member's PUB stands."""
        return self._dials.get(node_id)

    def items(self) -> list[tuple[NodeId, Dial]]:
        """All of them, as they are now."""
        return list(self._dials.items())

    def node_at(self, endpoint: str) -> NodeId | None:
        """Whose endpoint that is."""
        return self._nodes.get(endpoint)

    def want(self, node_id: NodeId, endpoints: tuple[str, ...], now_s: float) -> tuple[str | None, str | None]:
        """The member listens there. Returns the endpoint to disconnect and the one to connect, each None if none.

        A port has one owner: the member that was last said to listen at an endpoint has the connection with it, and
        for the one before it the connection is lost.
        """
        known = self._dials.get(node_id)
        if known is not None and known.endpoints == endpoints:
            return (None, None)
        old = self.drop(node_id)
        if not endpoints:
            return (old, None)
        dial = Dial(endpoints, now_s)
        before = self._dials.get(self._nodes.get(dial.endpoint, b""))
        if before is not None:
            dial.up = dial.proven = before.up
            before.lost(now_s)
        self._dials[node_id] = dial
        self._nodes[dial.endpoint] = node_id
        return (old, dial.endpoint)

    def turn(self, node_id: NodeId) -> tuple[str | None, str | None]:
        """The endpoint was refused: what to disconnect and what to connect instead, each None if it stays."""
        dial = self._dials[node_id]
        old = dial.endpoint
        if not dial.turned_away():
            return (None, None)
        self._nodes.pop(old, None)
        if dial.endpoint in self._nodes:
            return (old, None)  # another member is said to listen there
        self._nodes[dial.endpoint] = node_id
        return (old, dial.endpoint)

    def drop(self, node_id: NodeId) -> str | None:
        """The member is gone; returns the endpoint to disconnect."""
        dial = self._dials.pop(node_id, None)
        if dial is None or self._nodes.get(dial.endpoint) != node_id:
            return None
        del self._nodes[dial.endpoint]
        return dial.endpoint


def is_dead(dials: list[Dial], heard_s: float, now_s: float) -> bool:
    """The verdict on a member from the dials towards it and the time it was last heard."""
    if not dials or any(dial.up for dial in dials):
        return False
    if any(dial.refused for dial in dials):
        return True
    down_since_s = max(dial.since_s for dial in dials)
    return now_s - max(down_since_s, heard_s) >= UNREACHABLE_AFTER_S
