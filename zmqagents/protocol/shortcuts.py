"""When to dial directly the members that are reached by a forwarder (SPEC.md section 12).

Two that met at a forwarder may be on one network, and a direct path that was broken may be whole again. So each is
dialled at once, and again after longer and longer waits. What a record says of endpoints need not hold here: behind NAT
the same address is another process, perhaps of our own cluster. So such a dial leads to nobody until who is there has
said who it is; only then it is the peer's path, and tells anything of its life.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.state import NodeState

MAX_TRIES = 16  # sockets that dial at a time: a thousand members behind NAT need not be tried at once
TRY_S = 5.0  # two handshakes of 2 s
FIRST_WAIT_S = 5.0  # after a dial that failed; doubles
LAST_WAIT_S = 60.0
SOON_S = 2.0  # the same where there is no other path


@dataclass(slots=True)
class _Try:
    at_s: float
    wait_s: float = FIRST_WAIT_S
    ended_s: float = 0.0
    path: int | None = None


class Sockets(Protocol):
    """What dials."""

    def dial_shortcut(self, node_id: NodeId, endpoints: tuple[str, ...], now_s: float) -> int:
        """Dial where the member may be; returns the path, which leads to nobody yet."""

    def abandon(self, path: int, now_s: float) -> None:
        """End such a dial; ``failed`` follows."""

    def data_dial(self, node_id: NodeId) -> Dial | None:
        """Our DEALER to the node, if there is one."""

    def leave_direct(self, peer: Peer, now_s: float) -> None:
        """End our DEALER to a peer; ``failed`` follows."""


class Shortcuts:
    """The dials that are under way, and when the next ones are due; one entry for each such member."""

    def __init__(self, state: NodeState, sockets: Sockets) -> None:
        self._state = state
        self._sockets = sockets
        self._tries: dict[NodeId, _Try] = {}
        self._under_way = 0

    def tend(self, now_s: float) -> None:
        """End the dials that lead nowhere, and begin those that are due."""
        if self._under_way:
            late = [one.path for one in self._tries.values() if one.path is not None and one.at_s <= now_s]
            for path in late:
                self._sockets.abandon(path, now_s)
        for peer in self._state.peers.values():
            if not peer.met_by_forwarder:
                continue
            dial = self._sockets.data_dial(peer.node_id)
            if dial is not None and peer.forwarded is not None and not dial.up and now_s - dial.since_s >= TRY_S:
                self._sockets.leave_direct(peer, now_s)
            self.attempt(peer, now_s)

    def attempt(self, peer: Peer, now_s: float) -> None:
        """Dial a member that is reached by a forwarder, or was, if it is time."""
        record = self._state.membership.get(peer.node_id)
        if record is None or not record.endpoints or peer.dialled is not None or peer.accepted:
            return
        if self._due(peer.node_id, now_s, pathless=peer.path is None):
            path = self._sockets.dial_shortcut(peer.node_id, record.endpoints, now_s)
            one = self._tries.setdefault(peer.node_id, _Try(now_s))
            one.path, one.at_s = path, now_s + TRY_S
            self._under_way += 1

    def _due(self, node_id: NodeId, now_s: float, *, pathless: bool) -> bool:
        """Whether to dial the member now; ``pathless``: it has no path at all."""
        if self._under_way >= MAX_TRIES:
            return False
        known = self._tries.get(node_id)
        if known is None:
            return True
        if known.path is not None:
            return False
        return known.at_s <= now_s or (pathless and now_s - known.ended_s >= SOON_S)

    def path_switched(self, old: int, new: int) -> None:
        """What was dialled on ``old`` is so on ``new``."""
        for one in self._tries.values():
            if one.path == old:
                one.path = new

    def failed(self, node_id: NodeId, now_s: float) -> None:
        """The member was not found, or is lost there: it is dialled again after a while."""
        one = self._tries.setdefault(node_id, _Try(now_s))
        self._end(one)
        one.at_s, one.ended_s = now_s + one.wait_s, now_s
        one.wait_s = min(2 * one.wait_s, LAST_WAIT_S)

    def gives_way(self, node_id: NodeId, now_s: float) -> None:
        """Another member is looked for at the same endpoint: the node has its turn soon."""
        one = self._tries[node_id]
        self._end(one)
        one.at_s, one.ended_s = now_s + SOON_S, now_s

    def hurry(self, node_id: NodeId, now_s: float) -> None:
        """Something shows that the member can be reached: dial it as soon as may be."""
        one = self._tries.get(node_id)
        if one is not None and one.path is None:
            one.at_s = min(one.at_s, now_s)

    def drop(self, node_id: NodeId) -> int | None:
        """The member is found, or gone. Returns the path on which it was being dialled."""
        one = self._tries.pop(node_id, None)
        if one is None:
            return None
        path = one.path
        self._end(one)
        return path

    def _end(self, one: _Try) -> None:
        if one.path is not None:
            one.path = None
            self._under_way -= 1
