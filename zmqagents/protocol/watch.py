"""Watches the members whose connections are not up (SPEC.md section 6.4): who is suspected, and what must not wait on.

Promised: no call waits for a path longer than STUCK_AFTER_S, plus one check. And a node that has been asleep accuses
nobody for that: what it takes for the silence of the others may be its own, so it starts all its waits anew, and a
refusal counts only if it is fresh (Lifeguard: Dadgar, Phillips, Currey 2018).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import encode_envelope
from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.greeting import is_up
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.liveness import (
    AFTERTASTE_S,
    DESERTED_AFTER_S,
    NEVER_UP_AFTER_S,
    is_out_of_reach,
    lost_since_s,
)
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Record
from zmqagents.protocol.seeking import Seeking
from zmqagents.protocol.state import NodeState
from zmqagents.protocol.suspicion import ANSWER_WITHIN_S, POLL_S, Suspicions

CHECK_S = 0.25
ASLEEP_S = 1.0  # a check that comes so late: well above what a loaded machine makes of 0.25 s, below every wait here
PING_EVERY_S = 1.0  # as often as a heartbeat
BUSY_AFTER_BEATS = 3  # missed heartbeats: a single one may be lost
STUCK_AFTER_S = 4.0  # longer than the verdict on a lost connection takes; with the check below 5 s
UNREACHABLE_STUCK_AFTER_S = 1.0  # for a member that we know we can't reach: time for one dial
_NO_PING = 0  # the token of a PING whose PONG is only to be heard; those of a link begin at 1


class Standing(Enum):
    """How a member stands with this node."""

    UP = "up"
    BUSY = "busy"
    UNREACHABLE = "unreachable"
    SUSPECTED = "suspected"
    KNOWN = "known"


class Dials(Protocol):
    """The connections that this node has dialled."""

    def dials_to(self, node_id: NodeId) -> list[Dial]:
        """Those to the node."""

    def excuses(self, node_id: NodeId, now_s: float) -> bool:
        """Whether it is too early to judge the node."""

    def listens_to(self, node_id: NodeId) -> bool:
        """Whether the node's heartbeats are to be heard here."""

    def reach(self, peer: Peer, endpoints: tuple[str, ...], now_s: float) -> None:
        """Dial the peer if there is no path to it and none is being dialled."""

    def forget(self, node_id: NodeId) -> None:
        """End everything that concerns the node."""

    def restart(self, now_s: float) -> None:
        """What was seen so far of connections that are not up tells nothing any more."""


class Watch:
    """The judge of one node. ``bury`` is called with the id of a member that is dead."""

    def __init__(self, state: NodeState, dials: Dials, bury: Callable[[NodeId, float], None]) -> None:
        self._state = state
        self._dials = dials
        self.suspicions = Suspicions(state, self, dials.reach, bury)
        self.seeking = Seeking(state, self.suspicions, dials.reach)
        self._check_at_s: float | None = None
        self._awake_at_s: float | None = None
        """When what waited to be read while this node was asleep has been read; None if it was not asleep."""
        self._woke_s = -math.inf
        """When this node was last found to have been asleep."""
        self._bury = bury
        self._pinged: dict[NodeId, bool] = {}
        """Who is judged again in a moment, because a PING on its own connection shows whether that is up; and whether
        somebody says that it is dead."""
        self._look_at_s = 0.0

    # -- evidence ----------------------------------------------------------------------------------------------

    def judge(self, node_id: NodeId, now_s: float) -> None:
        """Have the member suspected if the evidence speaks against it."""
        if self.has_stalled(now_s) or self._state.membership.get(node_id) is None:
            return
        if self.is_out_of_reach(node_id, now_s):
            self.suspicions.accuse(node_id, now_s)

    def is_out_of_reach(self, node_id: NodeId, now_s: float) -> bool:
        """Whether nothing leads to the member: no connection that we have dialled, its own with us, or a forwarder."""
        if self._dials.excuses(node_id, now_s):
            return False
        dials = self._dials.dials_to(node_id)
        peer = self._state.peers.get(node_id)
        if peer is not None and _has_deserted(peer, dials, now_s):
            return True
        if not is_out_of_reach(dials, peer.heard_s if peer is not None else 0.0, now_s):
            return False
        return peer is None or self._try_accepted(peer, dials, now_s) is False

    def reaches(self, node_id: NodeId, now_s: float) -> bool | None:
        """Whether there is a connection with the member; None if that will show in a moment."""
        dials = self._dials.dials_to(node_id)
        if any(dial.up for dial in dials):
            return True
        peer = self._state.peers.get(node_id)
        accepted = self._try_accepted(peer, dials, now_s) if peer is not None else False
        if accepted is not False:
            return accepted
        if not dials:
            return None
        tried = any(dial.refused for dial in dials) or now_s - lost_since_s(dials) >= ANSWER_WITHIN_S
        return False if tried else None

    def doubts_death(self, node_id: NodeId, now_s: float) -> bool:
        """Whether we have a connection with a member that others say is dead, as far as we know now."""
        if any(dial.up for dial in self._dials.dials_to(node_id)):
            return True
        peer = self._state.peers.get(node_id)
        accepted = self._try_accepted(peer, self._dials.dials_to(node_id), now_s) if peer is not None else False
        if accepted is None:
            self._pinged[node_id] = True
        return accepted is not False

    def _try_accepted(self, peer: Peer, dials: list[Dial], now_s: float) -> bool | None:
        """Whether the peer's own connection to our ROUTER is up; None if a PING on it shows that in a moment.

        libzmq takes nothing for a connection that is gone, and ends one whose other side is silent. So what it takes
        tells of a connection, even when the peer's program is too busy to answer.
        """
        if not peer.accepted or (not is_up(peer) and peer.greet_at_s is None):  # it has refused us: it is left alone
            return False
        lost_s = lost_since_s(dials) if dials else peer.pinged_s
        if peer.pinged_s < lost_s or now_s - peer.pinged_s >= PING_EVERY_S:
            ping = peer.link.envelope([f.Ping(_NO_PING, 0)])
            self._state.direct.append((peer.node_id, encode_envelope(ping)))
            peer.pinged_s = now_s
        if now_s - peer.pinged_s >= POLL_S:
            return True
        self._pinged.setdefault(peer.node_id, False)
        self._look_at_s = now_s + POLL_S
        self._state.wake_by(self._look_at_s)
        return None

    def standing(self, node_id: NodeId, now_s: float) -> Standing:
        """How the member stands with us, for people."""
        peer = self._state.peers.get(node_id)
        if peer is not None and peer.unreachable:
            return Standing.UNREACHABLE
        if node_id in self.suspicions:
            return Standing.SUSPECTED
        dials = self._dials.dials_to(node_id)
        if not any(dial.up for dial in dials) and not (peer is not None and peer.accepted):
            return Standing.KNOWN
        since_s = max([dial.since_s for dial in dials] + ([peer.heard_s] if peer is not None else []))
        silent = now_s - since_s >= BUSY_AFTER_BEATS * self._state.limits.heartbeat_s
        return Standing.BUSY if silent and self._dials.listens_to(node_id) else Standing.UP

    # -- time --------------------------------------------------------------------------------------------------

    def has_stalled(self, now_s: float) -> bool:
        """Whether this node has been asleep, and has not been awake for a while since."""
        return self._awake_at_s is not None or (self._check_at_s is not None and now_s - self._check_at_s > ASLEEP_S)

    def has_stalled_since(self, since_s: float, now_s: float) -> bool:
        """Whether this node has been asleep since then: what was said to it meanwhile may have come too late."""
        return self._woke_s >= since_s or self.has_stalled(now_s)

    def tick(self, now_s: float) -> bool:
        """Judge whom time has come for; whether everybody was."""
        if self._check_at_s is not None and now_s - self._check_at_s > ASLEEP_S:
            self._woke_s = now_s
            self._awake_at_s = now_s + CHECK_S
            self._forgive(now_s)
        elif self._awake_at_s is not None and self._awake_at_s <= now_s:
            self._awake_at_s = None
            self._forgive(now_s)  # what has been read since then is old, too
        if self._pinged and self._look_at_s <= now_s:
            pinged, self._pinged = self._pinged, {}
            for node_id, said_dead in pinged.items():
                if said_dead and not self.doubts_death(node_id, now_s):
                    self._bury(node_id, now_s)
                else:
                    self.judge(node_id, now_s)
        due = self._check_at_s is None or self._check_at_s <= now_s
        if due:
            self._check_at_s = now_s + CHECK_S
        self.suspicions.tick(now_s)  # drops those that rested on what was forgiven
        self._state.wake_by(self._check_at_s or now_s)
        if self._pinged:
            self._state.wake_by(self._look_at_s)
        return due

    def _forgive(self, now_s: float) -> None:
        self._dials.restart(now_s)
        self._pinged.clear()
        for peer in self._state.peers.values():
            peer.stuck_since_s = None
            if peer.deserted_s is not None:
                peer.deserted_s = now_s

    def tend(self, peer: Peer, now_s: float) -> None:
        """See to a peer: forget who is no member, dial who is awaited, and free what waits for a path too long."""
        record = self._state.membership.get(peer.node_id)
        if record is None:
            pathless = peer.dialled is None and peer.forwarded is None
            if pathless and now_s - peer.heard_s >= NEVER_UP_AFTER_S:
                self._dials.forget(peer.node_id)
            return
        self._tend_accepted(peer, record, now_s)
        waits = not peer.link.is_quiet() or self._state.pending.unanswered(peer.node_id) > 0
        if peer.path is not None or not waits:
            peer.stuck_since_s = None
            return
        self._dials.reach(peer, record.endpoints, now_s)
        if peer.stuck_since_s is None:
            peer.stuck_since_s = now_s
        elif now_s - peer.stuck_since_s >= (UNREACHABLE_STUCK_AFTER_S if peer.unreachable else STUCK_AFTER_S):
            peer.stuck_since_s = None
            self._state.reset_link(peer)

    def _tend_accepted(self, peer: Peer, record: Record, now_s: float) -> None:
        """A peer that can't be dialled: its own connection is all that tells of it, so that is tried regularly."""
        if peer.dialled_up or peer.spared:  # the connection with the PUB of a spared one is up
            peer.deserted_s = None
            return
        if not peer.accepted and peer.deserted_s is None:
            return
        dials = self._dials.dials_to(peer.node_id)
        if any(dial.up for dial in dials):
            peer.deserted_s = None
        elif peer.accepted:
            peer.deserted_s = None
            silent = now_s - lost_since_s(dials) >= PING_EVERY_S if dials else not record.gossip_endpoints
            if silent:
                self._try_accepted(peer, dials, now_s)
        elif not dials:
            self._dials.reach(peer, record.endpoints, now_s)


def _has_deserted(peer: Peer, dials: list[Dial], now_s: float) -> bool:
    """Whether a peer that could not be dialled has lost the connection that it had made, and makes no other."""
    if peer.accepted or peer.deserted_s is None or not dials or any(dial.complete for dial in dials):
        return False
    return now_s - peer.deserted_s >= DESERTED_AFTER_S and peer.heard_s <= peer.deserted_s + AFTERTASTE_S
