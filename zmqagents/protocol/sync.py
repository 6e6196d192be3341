"""How records spread: heartbeats, deltas, and pulls of what differs (SPEC.md section 6.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import Delta, Heartbeat, encode_gossip, pack_records, unpack_records
from zmqagents.protocol.effects import Publish, Strayed
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.link import Status
from zmqagents.protocol.membership import MemberChange
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Record, decode_record
from zmqagents.protocol.state import NodeState

PULL_EVERY_S = 0.5
MISMATCHES_BEFORE_PULL = 2  # one heartbeat may overtake a delta that another node has sent


class Sync:
    """The anti-entropy of one node.

    ``changed`` is called with every change of a member; ``doubts`` is asked whether what others say of a member's death
    is to be put to the member itself.
    """

    def __init__(
        self,
        state: NodeState,
        changed: Callable[[MemberChange, float], None],
        doubts: Callable[[NodeId, float], bool],
        now_s: float,
    ) -> None:
        self._state = state
        self._changed = changed
        self._doubts = doubts
        self._heartbeat_at_s = now_s
        self._mismatches: dict[NodeId, int] = {}
        self._asked_at_s = -math.inf

    # -- our record --------------------------------------------------------------------------------------------

    def publish(self, record: Record) -> None:
        """Replace our record; its version is counted up, and everybody is told."""
        old = self._state.membership.own
        self._state.membership.publish(record)
        self.own_changed(old)

    def own_changed(self, old: Record) -> None:
        """Tell everybody about our record if it is not ``old`` any more."""
        state = self._state
        own = state.membership.own
        if own is old:
            return
        state.directory.replace(old, own)
        state.effects.append(Publish(encode_gossip(Delta(state.node_id, [state.membership.own_encoded]))))
        for node_id in state.peers:
            state.dirty[node_id] = None

    def tell_news(self, peer: Peer) -> None:
        """Put our record ahead of what is sent to the peer next, if it has not been told of it; and its own death."""
        if peer.accused_version:
            peer.controls.append(f.SyncPush(0, True, [[peer.node_id, peer.accused_version]], pack_records([])))
            peer.accused_version = 0
        own = self._state.membership.own
        if peer.told_version < own.version:
            peer.told_version = own.version
            peer.controls.insert(0, f.SyncPush(0, True, [], pack_records([self._state.membership.own_encoded])))

    # -- gossip ------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Send the heartbeat that is due."""
        state = self._state
        if self._heartbeat_at_s <= now_s:
            self._heartbeat_at_s = now_s + state.limits.heartbeat_s
            own = state.membership.own
            beat = Heartbeat(
                state.node_id, own.version, state.membership.live_count, state.membership.digest, len(state.served)
            )
            state.effects.append(Publish(encode_gossip(beat)))
            state.membership.expire(now_s)
            for peer in state.peers.values():
                if not peer.synced:
                    self.pull(peer, now_s)  # the answer to the first one may have been lost with its path
        state.wake_by(self._heartbeat_at_s)

    def heartbeat(self, beat: Heartbeat, now_s: float) -> Peer | None:
        """Read a HEARTBEAT; returns its sender if our tables differ and it is to be asked.

        At most one sender every PULL_EVERY_S, for when a table differs from everybody's, one answer repairs it.
        """
        state = self._state
        if beat.source == state.node_id or state.membership.get(beat.source) is None:
            return None
        peer = state.peer(beat.source)
        peer.heard_s = now_s
        if beat.digest == state.membership.digest and beat.live_count == state.membership.live_count:
            self._mismatches.pop(beat.source, None)
            peer.synced = True
            return None
        seen = self._mismatches.get(beat.source, 0) + 1
        self._mismatches[beat.source] = seen
        if seen < MISMATCHES_BEFORE_PULL or now_s - self._asked_at_s < PULL_EVERY_S:
            return None
        self._asked_at_s = now_s
        return peer

    def merge_all(self, records: Iterable[bytes], source: NodeId, now_s: float) -> None:
        """Take records that ``source`` passes on. An illegal one is told as Strayed and disturbs no other."""
        for encoded in records:
            try:
                self.merge(encoded, now_s)
            except RemoteProtocolError as error:
                self._strayed(source, error)

    def _strayed(self, source: NodeId, error: RemoteProtocolError) -> None:
        self._state.counters.strays += 1
        self._state.effects.append(Strayed(source, error.code, f"passed on: {error}"))

    def merge(self, encoded: bytes, now_s: float) -> None:
        """Take one record from the network. Raises RemoteProtocolError."""
        state = self._state
        old = state.membership.own
        change = state.membership.merge(encoded, now_s)
        self.own_changed(old)
        if change is not None:
            self._changed(change, now_s)

    def merge_from(self, node_id: NodeId, encoded: bytes, now_s: float) -> None:
        """Take the record with which a peer greets, and tell the others of a newcomer.

        Raises RemoteProtocolError if it is not the peer's own.
        """
        if decode_record(encoded).node_id != node_id:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a greeting carries the sender's own record")
        state = self._state
        new = state.membership.get(node_id) is None
        self.merge(encoded, now_s)
        if new and state.membership.get(node_id) is not None:
            state.effects.append(Publish(encode_gossip(Delta(state.node_id, [encoded]))))

    def bury(self, node_id: NodeId, version: int, now_s: float) -> None:
        """The node is dead as of ``version``; if it is us, that is refuted."""
        state = self._state
        old = state.membership.own
        change = state.membership.mark_dead(node_id, version, now_s)
        self.own_changed(old)
        if change is not None:
            self._changed(change, now_s)

    # -- anti-entropy on links ---------------------------------------------------------------------------------

    def pull(self, peer: Peer, now_s: float) -> None:
        """Ask the peer for whatever it knows and we don't; at most once every PULL_EVERY_S."""
        if peer.link.status is not Status.UP or peer.path is None:
            return  # it is asked when the link is up
        if now_s - peer.pulled_at_s < PULL_EVERY_S:
            return
        peer.pulled_at_s = now_s
        self._state.counters.pulls += 1
        self._state.control(peer, f.SyncPull(1, self._state.membership.versions()))

    def link_up(self, peer: Peer, now_s: float) -> None:
        """The link is up: tell the peer if it is held for dead here, and ask for what it knows."""
        buried = self._state.membership.buried_at(peer.node_id)
        if buried is not None:
            self._state.control(peer, f.SyncPush(0, True, [[peer.node_id, buried]], pack_records([])))
        if not peer.synced:
            self.pull(peer, now_s)

    def pulled(self, peer: Peer, frame: f.SyncPull, now_s: float) -> None:
        """Answer a SYNC_PULL."""
        chunks, deaths, wanted = self._state.membership.newer_than(frame.entries)
        for index, chunk in enumerate(chunks):
            last = index == len(chunks) - 1
            self._state.control(peer, f.SyncPush(frame.token, last, deaths if last else [], pack_records(chunk)))
        if wanted:
            self.pull(peer, now_s)

    def pushed(self, peer: Peer, frame: f.SyncPush, now_s: float) -> None:
        """Take a SYNC_PUSH. Raises RemoteProtocolError if it doesn't hold records at all."""
        self.merge_all(unpack_records(frame.payload), peer.node_id, now_s)
        for node_id, version in frame.dead:
            try:
                self._heard_of_death(node_id, version, now_s)
            except RemoteProtocolError as error:
                self._strayed(peer.node_id, error)
        if frame.token and frame.last:
            peer.synced = True

    def _heard_of_death(self, node_id: NodeId, version: int, now_s: float) -> None:
        record = self._state.membership.get(node_id)
        if record is None or node_id == self._state.node_id or not self._doubts(node_id, now_s):
            self.bury(node_id, version, now_s)
        elif record.version <= version:
            self._state.peer(node_id).accused_version = version
            self._state.dirty[node_id] = None

    def forget(self, node_id: NodeId) -> None:
        """The node is gone."""
        self._mismatches.pop(node_id, None)
