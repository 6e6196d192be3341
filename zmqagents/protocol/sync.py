"""How records spread: heartbeats, deltas, and pulls of what differs (SPEC.md section 6.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import Delta, Heartbeat, encode_gossip, pack_records, unpack_records
from zmqagents.protocol.effects import Publish
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.link import Status
from zmqagents.protocol.membership import MemberChange
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Record, decode_record
from zmqagents.protocol.state import NodeState

PULL_EVERY_S = 0.5
MISMATCHES_BEFORE_PULL = 2  # one heartbeat may overtake a delta that another node has sent


class Sync:
    """The anti-entropy of one node. ``changed`` is called with every change of a member."""

    def __init__(self, state: NodeState, changed: Callable[[MemberChange, float], None], now_s: float) -> None:
        self._state = state
        self._changed = changed
        self._heartbeat_at_s = now_s
        self._mismatches: dict[NodeId, int] = {}
        self._pulled_at_s: dict[NodeId, float] = {}

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
        encoded = state.membership.own_encoded
        state.effects.append(Publish(encode_gossip(Delta(state.node_id, [encoded]))))
        push = f.SyncPush(0, True, [], pack_records([encoded]))
        for peer in state.peers.values():
            if peer.link.status is Status.UP:
                state.control(peer, push)

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
        state.wake_by(self._heartbeat_at_s)

    def heartbeat(self, beat: Heartbeat, now_s: float) -> Peer | None:
        """Read a HEARTBEAT; returns its sender if our tables differ and it is to be asked."""
        state = self._state
        if beat.source == state.node_id or state.membership.get(beat.source) is None:
            return None
        peer = state.peer(beat.source)
        peer.heard_s = now_s
        if beat.digest == state.membership.digest and beat.live_count == state.membership.live_count:
            self._mismatches.pop(beat.source, None)
            return None
        seen = self._mismatches.get(beat.source, 0) + 1
        self._mismatches[beat.source] = seen
        return peer if seen >= MISMATCHES_BEFORE_PULL else None

    def merge_all(self, records: Iterable[bytes], now_s: float) -> None:
        """Take records from the network.

        Raises RemoteProtocolError at the first illegal one; the ones before it stay.
        """
        for encoded in records:
            self.merge(encoded, now_s)

    def merge(self, encoded: bytes, now_s: float) -> None:
        """Take one record from the network. Raises RemoteProtocolError."""
        state = self._state
        old = state.membership.own
        change = state.membership.merge(encoded, now_s)
        self.own_changed(old)
        if change is not None:
            self._changed(change, now_s)

    def merge_from(self, node_id: NodeId, encoded: bytes, now_s: float) -> None:
        """Take the record with which a peer greets. Raises RemoteProtocolError if it is not the peer's own."""
        if decode_record(encoded).node_id != node_id:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a greeting carries the sender's own record")
        self.merge(encoded, now_s)
        buried = self._state.membership.buried_at(node_id)
        if buried is not None:
            self._state.control(self._state.peer(node_id), f.SyncPush(0, True, [[node_id, buried]], pack_records([])))

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
        if now_s - self._pulled_at_s.get(peer.node_id, -PULL_EVERY_S) < PULL_EVERY_S and peer.pulled:
            return
        self._pulled_at_s[peer.node_id] = now_s
        peer.pulled = True
        self._state.counters.pulls += 1
        self._state.control(peer, f.SyncPull(1, self._state.membership.versions()))

    def pulled(self, peer: Peer, frame: f.SyncPull, now_s: float) -> None:
        """Answer a SYNC_PULL."""
        chunks, deaths, wanted = self._state.membership.newer_than(frame.entries)
        for index, chunk in enumerate(chunks):
            last = index == len(chunks) - 1
            self._state.control(peer, f.SyncPush(frame.token, last, deaths if last else [], pack_records(chunk)))
        if wanted:
            self.pull(peer, now_s)

    def pushed(self, peer: Peer, frame: f.SyncPush, now_s: float) -> None:
        """Take a SYNC_PUSH. Raises RemoteProtocolError."""
        self.merge_all(unpack_records(frame.payload), now_s)
        for node_id, version in frame.dead:
            self.bury(node_id, version, now_s)
        if frame.token and frame.last:
            peer.synced = True

    def forget(self, node_id: NodeId) -> None:
        """The node is gone."""
        self._mismatches.pop(node_id, None)
        self._pulled_at_s.pop(node_id, None)
