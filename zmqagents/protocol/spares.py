"""Closes the second of the two data connections that a pair of nodes has (SPEC.md section 6.4).

Each of two that meet dials the other, since neither can know whether the other is able to. So most pairs have two
connections, of which each carries PINGs both ways and wakes libzmq's threads on both sides, busy or not: a good part of
what an idle process costs. Once a pair is calm, the one of the two with the greater id closes what it has dialled.

**Promised.** The only path is never closed: it is the other one that answered a PING just before. Nor does a verdict on
the peer's life come later: a dialled connection stays, that with its PUB. As soon as anything speaks against one of
these two the peer is dialled anew, at the latest by the first envelope that its connection does not take; and what had
no answer is sent again, as with every change of paths.

Rejected: to dial one way from the start, which makes every meeting wait for the one, and fails where only the other can
dial; a frame by which both agree to close, for which the PING and the ids do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import encode_envelope
from zmqagents.protocol.greeting import Greeter
from zmqagents.protocol.ids import NodeId, PathId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.state import NodeState

CALM_S = 2.0  # without a data frame: those who work together in earnest are left alone
_TOKEN = 0  # of a PING whose PONG is only to be heard


class Sockets(Protocol):
    """What dials."""

    def hears_pub(self, node_id: NodeId) -> bool:
        """Whether the connection with the member's own PUB is up."""

    def dial(self, peer: Peer, endpoints: tuple[str, ...], now_s: float) -> None:
        """Dial the peer, unless it is being dialled."""

    def hang_up(self, path: int) -> None:
        """End a dialled path."""


@dataclass(slots=True)
class _Calm:
    """A pair with two connections, and nothing to do."""

    progress: tuple[int, int, int]
    """What had gone over its link when the calm began."""
    since_s: float
    asked: bool = False
    """Whether the peer's own connection was tried."""


class Spares:
    """The connections that one node closes and opens again."""

    def __init__(self, state: NodeState, greeter: Greeter, sockets: Sockets) -> None:
        self._state = state
        self._greeter = greeter
        self._sockets = sockets
        self._calm: dict[NodeId, _Calm] = {}

    def tend(self, peer: Peer, now_s: float) -> None:
        """Try whether the peer's own connection can serve alone; or dial the peer again if it no longer should."""
        if peer.spared:
            if not self._serves_alone(peer):
                self.take_back(peer, now_s)
            return
        if not self._is_spare(peer):
            self._calm.pop(peer.node_id, None)
            return
        calm = self._calm.get(peer.node_id)
        progress = peer.link.progress
        if calm is None or calm.progress != progress:
            self._calm[peer.node_id] = _Calm(progress, now_s)
        elif now_s - calm.since_s >= CALM_S:
            calm.since_s, calm.asked = now_s, True  # asked again after as long, if the answer does not come
            ping = peer.link.envelope([f.Ping(_TOKEN, 0)])
            self._state.direct.append((peer.node_id, encode_envelope(ping)))

    def answered(self, peer: Peer, path: PathId, now_s: float) -> None:
        """PONG has come on ``path``: if on the peer's own connection, ours can go."""
        calm = self._calm.get(peer.node_id)
        own = peer.dialled
        if calm is None or not calm.asked or own is None or not isinstance(path, bytes) or not self._is_spare(peer):
            return
        del self._calm[peer.node_id]
        self._sockets.hang_up(own)
        peer.spared = True
        self._greeter.greet(peer, path, now_s)

    def take_back(self, peer: Peer, now_s: float) -> None:
        """Dial the peer if that was given up because its own connection served, and is not done yet."""
        if not peer.spared:
            return
        peer.spared = False
        record = self._state.membership.get(peer.node_id)
        if record is not None:
            self._sockets.dial(peer, record.endpoints, now_s)

    def forget(self, node_id: NodeId) -> None:
        """The node is gone."""
        self._calm.pop(node_id, None)

    def _is_spare(self, peer: Peer) -> bool:
        """Whether the connection that we have dialled is ours to close, as far as can be seen from here."""
        state = self._state
        return (
            peer.node_id < state.node_id
            and peer.dialled_up
            and peer.link.up
            and self._serves_alone(peer)
            and not peer.met_by_forwarder
            and peer.link.is_quiet()
            and not state.pending.unanswered(peer.node_id)
            and state.membership.get(peer.node_id) is not None
        )

    def _serves_alone(self, peer: Peer) -> bool:
        return peer.accepted and self._sockets.hears_pub(peer.node_id)
