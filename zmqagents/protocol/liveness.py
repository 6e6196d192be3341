"""What the connections with a member tell of its life, as seen from here (SPEC.md section 6.4).

The evidence is libzmq's, which answers ZMTP PINGs from a thread of its own: a program that is busy stays connected. A
connection that was refused tells that nobody listens there any more; one that can't be completed tells the same after
a while. Silence of the gossip alone tells nothing. Evidence makes a member suspected, not dead: see suspicion.py.
"""

from __future__ import annotations

from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.ids import NodeId

LOST_AFTER_S = 2.0
"""How long a connection that was complete may be down. A dial is repeated at least once a second, so this is two dials
or more. A frozen or cut-off node is so known dead in under 5 s: ZMTP notices its silence after 0.75 s to 1.5 s, then
these 2.0 s, the next check 0.25 s later at most, and the answers of the others 0.4 s: 4.15 s."""

NEVER_UP_AFTER_S = 5.0
"""How long the first connection may take: a process that has just been started may open its sockets late."""

DESERTED_AFTER_S = 1.0
"""How long a node that nobody can dial may be without the connection that it had made to us: it dials again at once.
With it the death of such a node is known in under 5 s: ZMTP ends the connection after 2.0 s of silence, the next PING
on it shows that within 1.0 s, then these 1.0 s, the next check 0.25 s later at most, and others' answers 0.4 s."""

HEARD_WITHIN_S = 3.0
"""A node that nobody can dial is alive while it is heard on its own connection, this often at least: three heartbeats,
and below the 5 s in which a death is to be known."""

AFTERTASTE_S = 0.05
"""What is read this soon after the loss of a connection may have been sent before: libzmq reads all that has come
before it tells of the loss, and our program reads that in the same round of its loop."""


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

    def restart(self, now_s: float) -> None:
        """What was seen so far tells nothing any more."""
        for dial in self._dials.values():
            dial.restart(now_s)
        self._shared_since_s = dict.fromkeys(self._shared_since_s, now_s)

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
        dial.tried_s = now_s
        return (self._leave(node_id, old), self._use(node_id, dial, now_s))

    def move_on(
        self, node_id: NodeId, heard_s: float, silent_after_s: float, now_s: float
    ) -> tuple[str | None, str | None]:
        """Leave an endpoint where the member's gossip is not heard, if there is another: as ``turn``."""
        dial = self._dials[node_id]
        old = dial.endpoint
        if heard_s > dial.tried_s and not dial.met:
            dial.meets()
        if not dial.is_overdue(now_s, silent_after_s):
            return (None, None)
        dial.move(now_s)
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
        dial.up = dial.complete = dial.proven = self._dials[users[0]].up
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


def lost_since_s(dials: list[Dial]) -> float:
    """When the last of these connections, none of which is up, was lost; or when dialling began, if none ever was."""
    return max(dial.since_s for dial in [dial for dial in dials if dial.complete] or dials)


def is_out_of_reach(dials: list[Dial], heard_s: float, now_s: float) -> bool:
    """Whether a member seems dead by the dials towards it and the time it was last heard."""
    if not dials or any(dial.up for dial in dials):
        return False
    complete = any(dial.complete for dial in dials)
    lost_s = lost_since_s(dials)
    if now_s - heard_s < HEARD_WITHIN_S and (not complete or heard_s > lost_s + AFTERTASTE_S):
        return False
    if any(dial.refused for dial in dials):
        return True
    return now_s - max(lost_s, heard_s) >= (LOST_AFTER_S if complete else NEVER_UP_AFTER_S)
