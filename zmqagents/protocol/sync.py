"""How records spread: heartbeats, deltas, and pulls of what differs (SPEC.md section 6.3).

In a small cluster everybody hears everybody, so what an author publishes needs no relay. In a large one each node
publishes once again what has changed its own table, and nothing else: a change crosses each connection once, and dies
out where it is known. What a node is told when it joins is not news to anybody, and is not relayed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import Delta, Heartbeat, encode_gossip, pack_records, unpack_records
from zmqagents.protocol.effects import Strayed
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.listening import Listening
from zmqagents.protocol.membership import MemberChange
from zmqagents.protocol.news import News
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Record, decode_record
from zmqagents.protocol.state import NodeState

PULL_EVERY_S = 0.5
PULL_BYTES_PER_S = 16_384  # a pull names every node: 1,000 of them are asked for every 1.8 s, 8,192 every 15 s
ENTRY_BYTES = 29  # of a SYNC_PULL
MISMATCHES_BEFORE_PULL = 2  # one heartbeat may overtake a delta that another node has sent
JOINS_WITHIN = 0.5
"""Part of the heartbeat's interval: who has not sent its own for so long sends it beside that of another. So those of
all come together after an interval or two, as fireflies flash, and a process at rest wakes once for all of them. Half
is the least with which no two groups can remain."""
ENOUGH_TELL = 3
"""In a large cluster a newcomer that so many have told what they know is synchronised, and asks no more."""


class Sync:
    """The anti-entropy of one node.

    ``changed`` is called with every change of a member; ``doubts`` is asked whether what others say of a member's death
    is to be put to the member itself.
    """

    def __init__(
        self,
        state: NodeState,
        listening: Listening,
        changed: Callable[[MemberChange, float], None],
        doubts: Callable[[NodeId, float], bool],
        now_s: float,
    ) -> None:
        self._state = state
        self._listening = listening
        self._news = News(state)
        self._changed = changed
        self._doubts = doubts
        self._heartbeat_at_s = now_s
        self._mismatches: dict[NodeId, int] = {}
        self._asked: NodeId | None = None
        """Who was last chosen because its digest differs; it is asked as soon as there is a link."""
        self._asked_at_s = -math.inf
        self._first_pull_at_s = -math.inf
        self._told_by: set[NodeId] = set()

    @property
    def has_enough(self) -> bool:
        """Whether enough members of a large cluster have told what they know."""
        return len(self._told_by) >= ENOUGH_TELL and self._state.membership.is_large

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
        state.replace_record(old, own)
        state.publish(encode_gossip(Delta(state.node_id, [state.membership.own_encoded])))
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
            self._beat(now_s)
            state.membership.expire(now_s)
            if not self.has_enough:
                self._pull_unsynced(now_s)  # an answer may have been lost with its path
        state.wake_by(self._heartbeat_at_s)
        self._settle(now_s)

    def _beat(self, now_s: float) -> None:
        """Send a heartbeat."""
        state = self._state
        self._heartbeat_at_s = now_s + state.limits.heartbeat_s
        own = state.membership.own
        beat = Heartbeat(
            state.node_id, own.version, state.membership.live_count, state.membership.digest, len(state.served)
        )
        state.publish(encode_gossip(beat))

    def _settle(self, now_s: float) -> None:
        """What has been learned is told on, and the right members are listened to."""
        self._listening.settle(now_s)
        self._news.flush(now_s)

    def heartbeat(self, beat: Heartbeat, now_s: float) -> Peer | None:
        """Read a HEARTBEAT; returns its sender if our tables differ and it is to be asked.

        At most one sender at a time, for when a table differs from everybody's, one answer repairs it.
        """
        state = self._state
        if beat.source == state.node_id or state.membership.get(beat.source) is None:
            return None
        peer = state.peer(beat.source)
        peer.heard_s = now_s
        peer.load = beat.load
        if self._heartbeat_at_s - now_s <= self._state.limits.heartbeat_s * JOINS_WITHIN:
            self._beat(now_s)
        if beat.digest == state.membership.digest and beat.live_count == state.membership.live_count:
            self._mismatches.pop(beat.source, None)
            self._has_told(peer)
            return None
        seen = self._mismatches.get(beat.source, 0) + 1
        self._mismatches[beat.source] = seen
        if seen < MISMATCHES_BEFORE_PULL or now_s - self._asked_at_s < self._pull_every_s():
            return None
        self._asked, self._asked_at_s = peer.node_id, now_s
        return peer

    def _pull_every_s(self) -> float:
        return max(PULL_EVERY_S, self._state.membership.live_count * ENTRY_BYTES / PULL_BYTES_PER_S)

    def _has_told(self, peer: Peer) -> None:
        peer.synced = True
        if len(self._told_by) < ENOUGH_TELL:
            self._told_by.add(peer.node_id)

    def delta(self, delta: Delta, now_s: float) -> None:
        """Read a DELTA."""
        self._learn(delta.records, delta.dead, delta.source, now_s, relay=True)

    def _learn(
        self, records: Iterable[bytes], deaths: Iterable[f.DeathEntry], source: NodeId, now_s: float, *, relay: bool
    ) -> None:
        """Take what ``source`` passes on. An illegal part of it is told as Strayed and disturbs no other."""
        membership = self._state.membership
        was_large = membership.is_large
        learned: list[tuple[NodeId, bytes]] = []
        buried: list[tuple[NodeId, int]] = []
        for encoded in membership.unheld(records):
            try:
                change = self.merge(encoded, now_s)
            except RemoteProtocolError as error:
                self._strayed(source, error)
            else:
                if change is not None:
                    learned.append((change.record.node_id, encoded))
        for node_id, version in deaths:
            try:
                if self._heard_of_death(node_id, version, now_s):
                    buried.append((node_id, version))
            except RemoteProtocolError as error:
                self._strayed(source, error)
        if relay and (was_large or membership.is_large):
            for node_id, encoded in learned:
                self._news.record(node_id, encoded)
            for node_id, version in buried:
                self._news.death(node_id, version)
        self._settle(now_s)

    def _strayed(self, source: NodeId, error: RemoteProtocolError) -> None:
        self._state.counters.strays += 1
        self._state.effects.append(Strayed(source, error.code, f"passed on: {error}"))

    def merge(self, encoded: bytes, now_s: float) -> MemberChange | None:
        """Take one record from the network. Raises RemoteProtocolError."""
        state = self._state
        old = state.membership.own
        change = state.membership.merge(encoded, now_s)
        self.own_changed(old)
        if change is not None:
            self._changed(change, now_s)
        return change

    def merge_from(self, node_id: NodeId, encoded: bytes, now_s: float) -> None:
        """Take the record with which a peer greets. The others are told of a newcomer; in a large cluster, of any news.

        Raises RemoteProtocolError if it is not the peer's own.
        """
        membership = self._state.membership
        if membership.encoded(node_id) == encoded:
            return
        if decode_record(encoded).node_id != node_id:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a greeting carries the sender's own record")
        new = membership.get(node_id) is None
        change = self.merge(encoded, now_s)
        if change is not None and (membership.is_large or (new and membership.get(node_id) is not None)):
            self._news.record(node_id, encoded)
        self._settle(now_s)

    def bury(self, node_id: NodeId, version: int, now_s: float) -> None:
        """The connections with the node say that it is dead as of ``version``; everybody is told."""
        if self._mark_dead(node_id, version, now_s):
            self._news.death(node_id, version)
        self._settle(now_s)

    def _mark_dead(self, node_id: NodeId, version: int, now_s: float) -> bool:
        """The node is dead; if it is us, that is refuted. Whether it was a member until now."""
        state = self._state
        old = state.membership.own
        change = state.membership.mark_dead(node_id, version, now_s)
        self.own_changed(old)
        if change is not None:
            self._changed(change, now_s)
        return change is not None

    # -- anti-entropy on links ---------------------------------------------------------------------------------

    def pull(self, peer: Peer, now_s: float) -> None:
        """Ask the peer for whatever it knows and we don't; at most once every PULL_EVERY_S."""
        if not peer.link.up or peer.path is None:
            return  # it is asked when the link is up
        if now_s - peer.pulled_at_s < PULL_EVERY_S:
            return
        peer.pulled_at_s = now_s
        if not self._told_by:
            self._first_pull_at_s = now_s
        self._state.counters.pulls += 1
        self._state.control(peer, f.SyncPull(1, self._state.membership.versions()))

    def _pull_unsynced(self, now_s: float) -> None:
        for peer in self._state.peers.values():
            if not peer.synced:
                self.pull(peer, now_s)

    def link_up(self, peer: Peer, now_s: float) -> None:
        """The link is up: tell the peer if it is held for dead here, and ask for what it knows, if need be."""
        buried = self._state.membership.buried_at(peer.node_id)
        if buried is not None:
            self._state.control(peer, f.SyncPush(0, True, [[peer.node_id, buried]], pack_records([])))
        if peer.node_id == self._asked:
            self._asked = None
        elif peer.synced or self.has_enough or (not self._told_by and now_s - self._first_pull_at_s < PULL_EVERY_S):
            return  # the first answer is the whole table, and makes the next ones short: it is waited for
        self.pull(peer, now_s)

    def pulled(self, peer: Peer, frame: f.SyncPull, now_s: float) -> None:
        """Answer a SYNC_PULL."""
        chunks, deaths, wanted = self._state.membership.newer_than(frame.entries)
        for index, chunk in enumerate(chunks):
            last = index == len(chunks) - 1
            self._state.control(peer, f.SyncPush(frame.token, last, deaths if last else [], pack_records(chunk)))
        if not wanted:
            return
        if self.has_enough:
            if now_s - self._asked_at_s < self._pull_every_s():
                return
            self._asked_at_s = now_s
        self.pull(peer, now_s)

    def pushed(self, peer: Peer, frame: f.SyncPush, now_s: float) -> None:
        """Take a SYNC_PUSH. Raises RemoteProtocolError if it doesn't hold records at all."""
        relay = frame.token == 0 or len(self._told_by) > 0
        self._learn(unpack_records(frame.payload), frame.dead, peer.node_id, now_s, relay=relay)
        if frame.token and frame.last:
            first = not self._told_by
            self._has_told(peer)
            if first:
                self._pull_unsynced(now_s)

    def _heard_of_death(self, node_id: NodeId, version: int, now_s: float) -> bool:
        """Others say that the node is dead; whether that makes it so here, where it was a member."""
        record = self._state.membership.get(node_id)
        if record is None or node_id == self._state.node_id or not self._doubts(node_id, now_s):
            return self._mark_dead(node_id, version, now_s)
        if record.version <= version:
            self._state.peer(node_id).accused_version = version
            self._state.dirty[node_id] = None
        return False

    def forget(self, node_id: NodeId) -> None:
        """The node is gone."""
        self._mismatches.pop(node_id, None)
