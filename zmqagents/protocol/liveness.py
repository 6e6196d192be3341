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
    """The gossip endpoints being dialled, one target a member.

    Two members may be said to listen at one endpoint, when a process has died and another has taken its port. They
    share the connection then, and that it is up tells of neither: the one that is not heard is dead.
    """

    def __init__(self) -> None:
        self._dials: dict[NodeId, Dial] = {}
        self._users: dict[str, list[NodeId]] = {}
        self._shared_since_s: dict[str, float] = {}

    def get(self, node_id: NodeId) -> Dial | None:
        """What dialling the member's PUB says about it."""
        dial = self._dials.get(node_id)
        if dial is None or len(self._users.get(dial.endpoint, ())) < 2 or dial.refused:
            return dial
        return Dial(dial.endpoints, self._shared_since_s[dial.endpoint])

    def nodes(self) -> list[NodeId]:
        """The members that are listened to, as they are now."""
        return list(self._dials)

    def at(self, endpoint: str) -> list[tuple[NodeId, Dial]]:
        """Whose endpoint that is."""
        return [(node_id, self._dials[node_id]) for node_id in self._users.get(endpoint, ())]

    def want(self, node_id: NodeId, endpoints: tuple[str, ...], now_s: float) -> tuple[str | None, str | None]:
        """The member listens there. Returns the endpoint to disconnect and the one to connect, each None if none."""
        known = self._dials.get(node_id)
        if known is not None and known.endpoints == endpoints:
            return (None, None)
        old = self.drop(node_id)
        if not endpoints:
            return (old, None)
        dial = self._dials[node_id] = Dial(endpoints, now_s)
        return (old, self._use(node_id, dial, now_s))

    def turn(self, node_id: NodeId, now_s: float) -> tuple[str | None, str | None]:
        """The endpoint was refused: what to disconnect and what to connect instead, each None if it stays."""
        dial = self._dials[node_id]
        old = dial.endpoint
        if not dial.turned_away():
            return (None, None)
        return (self._leave(node_id, old), self._use(node_id, dial, now_s))

    def drop(self, node_id: NodeId) -> str | None:
        """The member is gone; returns the endpoint to disconnect."""
        dial = self._dials.pop(node_id, None)
        return self._leave(node_id, dial.endpoint) if dial is not None else None

    def _use(self, node_id: NodeId, dial: Dial, now_s: float) -> str | None:
        """Listen at the dial's endpoint; returns it if it has to be connected."""
        users = self._users.setdefault(dial.endpoint, [])
        users.append(node_id)
        if len(users) == 1:
            return dial.endpoint
        dial.up = dial.proven = self._dials[users[0]].up
        self._shared_since_s[dial.endpoint] = now_s
        return None

    def _leave(self, node_id: NodeId, endpoint: str) -> str | None:
        """Listen there no more; returns the endpoint if it has to be disconnected."""
        users = self._users[endpoint]
        users.remove(node_id)
        if len(users) < 2:
            self._shared_since_s.pop(endpoint, None)
        if users:
            return None
        del self._users[endpoint]
        return endpoint


def is_dead(dials: list[Dial], heard_s: float, now_s: float) -> bool:
    """The verdict on a member from the dials towards it and the time it was last heard."""
    if not dials or any(dial.up for dial in dials):
        return False
    if any(dial.refused for dial in dials):
        return True
    down_since_s = max(dial.since_s for dial in dials)
    return now_s - max(down_since_s, heard_s) >= UNREACHABLE_AFTER_S
