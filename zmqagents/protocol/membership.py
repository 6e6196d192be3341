"""The gossip table: who is in the cluster, as far as this node has heard (SPEC.md section 6).

A state-based CRDT. Each node id maps to an entry, the entries of one id are totally ordered, and merging keeps the
greater: commutative, associative and idempotent by construction. Order: version, then gone (dead or left) above live,
then the record's bytes (only a node that breaks the single-writer rule makes two of one version). Being dead is
SWIM's confirmed suspicion (Das, Gupta, Motivala 2002): anyone may add it at the version they know, and only the node
itself can pass it, with a higher version.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from enum import Enum, auto
from typing import NamedTuple

from zmqagents.errors import LocalProtocolError, RemoteProtocolError, WireCode
from zmqagents.protocol.bounds import MAX_UINT
from zmqagents.protocol.frames import DeathEntry, VersionEntry
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.overlay import FULL_MESH_MAX
from zmqagents.protocol.records import Phase, Record, decode_record, encode_record

MAX_NODES = 8_192  # SPEC.md section 10
MAX_TOMBSTONES = 4_096
TOMBSTONE_LIFE_S = 600.0  # longer than any partition that people wait for rather than restart
MAX_PUSH_BYTES = 1 << 20


class Change(Enum):
    """What merging news did to the view of one node."""

    JOINED = auto()
    UPDATED = auto()
    LEFT = auto()
    DIED = auto()


class MemberChange(NamedTuple):
    """One change: ``record`` is the newest known, or the last one of a node that is gone."""

    change: Change
    record: Record
    previous: Record | None


class _Entry(NamedTuple):
    encoded: bytes
    record: Record
    mark: int
    """Its share of the digest."""

    @property
    def version(self) -> int:
        return self.record.version

    @property
    def live(self) -> bool:
        """Only our own entry stays when it has left."""
        return self.record.phase is not Phase.LEFT


class Membership:
    """The table of one node. All times are seconds of the caller's monotonic clock."""

    def __init__(self, own: Record) -> None:
        self._own_id = own.node_id
        self._cluster = own.cluster
        self._entries: dict[NodeId, _Entry] = {}
        self._tombstones: OrderedDict[NodeId, tuple[int, float]] = OrderedDict()  # id -> (version, since_s)
        self._held: set[bytes] = set()  # the entries' bytes: news that is none costs one look-up, and no decoding
        self._digest = 0
        self.own = own
        """Our record as published; ``publish`` replaces it."""
        self.own_encoded = encode_record(own)
        self._put(_Entry(self.own_encoded, own, _mark(own)))

    # -- our own record ----------------------------------------------------------------------------------------

    def publish(self, record: Record) -> Record:
        """Replace our record by ``record`` with the next version; returns it."""
        if record.node_id != self._own_id:
            raise LocalProtocolError("a node publishes its own record only")
        new = replace(record, version=self.own.version + 1)
        self._put(_Entry(encode_record(new), new, _mark(new)))
        return new

    # -- reading -----------------------------------------------------------------------------------------------

    def get(self, node_id: NodeId) -> Record | None:
        """The record of a live node."""
        entry = self._entries.get(node_id)
        return entry.record if entry is not None and entry.record.phase is not Phase.LEFT else None

    def __contains__(self, node_id: NodeId) -> bool:
        """Whether there is a record of the node."""
        return node_id in self._entries

    def encoded(self, node_id: NodeId) -> bytes | None:
        """The record's bytes of a live node, as they were received."""
        entry = self._entries.get(node_id)
        return entry.encoded if entry is not None and entry.live else None

    def live(self) -> Iterator[Record]:
        """The records of all live nodes, ours among them."""
        return (entry.record for entry in self._entries.values())

    @property
    def live_count(self) -> int:
        """How many live nodes there are, ours among them."""
        return len(self._entries)

    @property
    def is_large(self) -> bool:
        """Whether news is relayed, because not everybody listens to everybody (SPEC.md section 6.3)."""
        return len(self._entries) > FULL_MESH_MAX

    def unheld(self, records: Iterable[bytes]) -> list[bytes]:
        """Those records that are not held as they stand: merging the others would change nothing."""
        held = self._held
        return [encoded for encoded in records if encoded not in held]

    @property
    def digest(self) -> bytes:
        """8 bytes that are equal where the live entries are (SPEC.md section 6.2)."""
        return self._digest.to_bytes(8, "big")

    def is_buried(self, node_id: NodeId) -> bool:
        """Whether the node is known to have died or left."""
        return node_id in self._tombstones

    def buried_at(self, node_id: NodeId) -> int | None:
        """The version at which the node died or left; None if it is not known to have."""
        buried = self._tombstones.get(node_id)
        return buried[0] if buried is not None else None

    def versions(self) -> list[VersionEntry]:
        """What we hold, for a SYNC_PULL."""
        held: list[VersionEntry] = [[node_id, entry.version, False] for node_id, entry in self._entries.items()]
        held.extend([node_id, version, True] for node_id, (version, _) in self._tombstones.items())
        return held[:MAX_NODES]

    # -- merging -----------------------------------------------------------------------------------------------

    def merge(self, encoded: bytes, now_s: float) -> MemberChange | None:
        """Take a record from the network.

        Raises RemoteProtocolError, changing nothing, if it is illegal or one too many.
        """
        if encoded in self._held:
            return None
        entry = read_entry(encoded)
        record = entry.record
        if record.cluster != self._cluster:
            raise RemoteProtocolError(WireCode.WRONG_CLUSTER, f"a record of cluster {record.cluster!r:.80}")
        node_id = record.node_id
        known = self._entries.get(node_id)
        if node_id == self._own_id:
            self._read_own(record)
            return None
        left = record.phase is Phase.LEFT
        buried = self._tombstones.get(node_id)
        if (buried is not None and record.version <= buried[0]) or (
            known is not None and (record.version, left, encoded) <= (known.record.version, False, known.encoded)
        ):
            return None
        if known is None and not left and len(self._entries) >= MAX_NODES:
            raise RemoteProtocolError(WireCode.TOO_LARGE, f"the table holds {MAX_NODES:,} nodes already")
        if left:
            self._remove(node_id, record.version, now_s)
            return MemberChange(Change.LEFT, record, known.record) if known is not None else None
        if buried is not None:
            del self._tombstones[node_id]
        self._put(entry)
        if known is None:
            return MemberChange(Change.JOINED, record, None)
        return MemberChange(Change.UPDATED, record, known.record)

    def _read_own(self, record: Record) -> None:
        """Somebody holds a newer record of ours than we do (a version was counted up to refute): go past it."""
        if record.version > self.own.version:
            self._pass(record.version)

    def mark_dead(self, node_id: NodeId, version: int, now_s: float) -> MemberChange | None:
        """The node is dead as of ``version``. About ourselves: refutes it with a higher version (see ``own``).

        Raises RemoteProtocolError, changing nothing, if it is about ourselves and there is no higher version.
        """
        if node_id == self._own_id:
            if version >= self.own.version:
                self._pass(version)
            return None
        known = self._entries.get(node_id)
        buried = self._tombstones.get(node_id)
        if (known is not None and known.version > version) or (buried is not None and buried[0] >= version):
            return None
        self._remove(node_id, version, now_s)
        return MemberChange(Change.DIED, known.record, known.record) if known is not None else None

    def _pass(self, version: int) -> None:
        """Count our version up past ``version``."""
        if version >= MAX_UINT:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "news of ourselves at the highest version there is")
        renewed = replace(self.own, version=version + 1)
        self._put(_Entry(encode_record(renewed), renewed, _mark(renewed)))

    def expire(self, now_s: float) -> None:
        """Forget tombstones past their life."""
        while self._tombstones:
            node_id, (_, since_s) = next(iter(self._tombstones.items()))
            if now_s - since_s < TOMBSTONE_LIFE_S and len(self._tombstones) <= MAX_TOMBSTONES:
                return
            del self._tombstones[node_id]

    # -- anti-entropy ------------------------------------------------------------------------------------------

    def newer_than(self, entries: Iterable[VersionEntry]) -> tuple[list[list[bytes]], list[DeathEntry], bool]:
        """The answer to a SYNC_PULL: chunks of records, deaths, and whether the puller holds something newer."""
        theirs = {entry[0]: (entry[1], entry[2]) for entry in entries}
        records = [
            entry.encoded
            for node_id, entry in self._entries.items()
            if entry.record.version > theirs.get(node_id, _UNKNOWN)[0]
        ]
        deaths: list[DeathEntry] = [
            [node_id, version]
            for node_id, (version, _) in self._tombstones.items()
            if node_id in theirs and (version, True) > theirs[node_id]
        ]
        wanted = any(
            self._order_of(node_id) < order and (node_id in self._entries or not order[1])
            for node_id, order in theirs.items()
        )
        return in_chunks(records), deaths, wanted

    def _order_of(self, node_id: NodeId) -> tuple[int, bool]:
        entry = self._entries.get(node_id)
        if entry is not None:
            return (entry.version, False)
        buried = self._tombstones.get(node_id)
        return (buried[0], True) if buried is not None else (0, False)

    # -- storage -----------------------------------------------------------------------------------------------

    def _put(self, entry: _Entry) -> None:
        node_id = entry.record.node_id
        self._digest ^= entry.mark
        old = self._entries.get(node_id)
        if old is not None:
            self._digest ^= old.mark
            self._held.discard(old.encoded)
        self._entries[node_id] = entry
        self._held.add(entry.encoded)
        if node_id == self._own_id:
            self.own, self.own_encoded = entry.record, entry.encoded

    def _remove(self, node_id: NodeId, version: int, now_s: float) -> None:
        entry = self._entries.pop(node_id, None)
        if entry is not None:
            self._digest ^= entry.mark
            self._held.discard(entry.encoded)
        self._tombstones.pop(node_id, None)  # so that the newest stands last
        self._tombstones[node_id] = (version, now_s)
        while len(self._tombstones) > MAX_TOMBSTONES:
            self._tombstones.popitem(last=False)


def read_entry(encoded: bytes) -> _Entry:
    """The entry that a record makes. Raises RemoteProtocolError."""
    record = decode_record(encoded)
    return _Entry(encoded, record, _mark(record))


def _mark(record: Record) -> int:
    data = record.node_id + record.version.to_bytes(8, "big")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")


_UNKNOWN = (0, False)


def in_chunks(records: list[bytes]) -> list[list[bytes]]:
    """Records in lists of at most MAX_PUSH_BYTES, or of one; always at least one list, so that an answer has an end."""
    chunks: list[list[bytes]] = [[]]
    size = 0
    for record in records:
        if chunks[-1] and size + len(record) > MAX_PUSH_BYTES:
            chunks.append([])
            size = 0
        chunks[-1].append(record)
        size += len(record)
    return chunks
