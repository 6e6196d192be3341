"""Whose gossip a node listens to (SPEC.md section 6.3), as a function of its own id and the ids of the live members.

Promise: up to FULL_MESH_MAX members everybody listens to everybody, so that news takes one hop. Above, a node listens
to about log2 n + 3 others; when all see the same members, what any of them publishes reaches every other one over
relays, in about log2 n hops at most and half as many on average; when a member joins or leaves, about log2 n
nodes change one of those they listen to.

Why: these are the fingers of Chord (Stoica, Morris, Karger, Kaashoek, Balakrishnan 2001). Every id has a place on a
ring, its BLAKE2b hash, so that the ids may be any. A node at place p listens to the members that follow the places
p + 2^k. Two neighbours on each side beside them make the graph strongly connected whatever the hashes are, and keep it
so when every second member has just died.

Rejected: a random choice of peers (HyParView, Leitão 2007) needs a protocol of its own to stay connected and
balanced; fingers over ranks instead of places have a smaller diameter, but each join shifts the ranks, and with them
some connections of every node; a tree (Plumtree) sends each record once instead of a dozen times, but heals slowly.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterable
from functools import lru_cache

from zmqagents.protocol.ids import NodeId

FULL_MESH_MAX = 64
"""Live members, this node counted, up to which everybody listens to everybody: 63 connections cost a process little."""

BESIDE = 2
"""How many neighbours on each side of the ring are listened to."""

_PLACE_BITS = 64
_PLACE_BYTES = _PLACE_BITS // 8
_RING = 1 << _PLACE_BITS


@lru_cache(maxsize=16_384)  # twice the nodes that a table holds
def _placed(node_id: NodeId) -> bytes:
    """The id after its place on the ring: ids in the order of the ring."""
    return hashlib.blake2b(node_id, digest_size=_PLACE_BYTES).digest() + node_id


def place(node_id: NodeId) -> float:
    """Where on the ring the id is: from 0 up to 1."""
    return int.from_bytes(_placed(node_id)[:_PLACE_BYTES], "big") / _RING


def neighbours(own: NodeId, live: Iterable[NodeId]) -> set[NodeId]:
    """The members that ``own`` listens to when these are live; it may be among them."""
    ring = Ring()
    for node_id in {own, *live}:
        ring.add(node_id)
    return ring.neighbours(own)


class Ring:
    """The live members in their order; kept from change to change, because sorting is what costs."""

    def __init__(self) -> None:
        self._members: list[bytes] = []
        self._sorted = True

    def __len__(self) -> int:
        return len(self._members)

    def add(self, node_id: NodeId) -> None:
        """A member that is not on the ring yet."""
        self._members.append(_placed(node_id))
        self._sorted = False

    def discard(self, node_id: NodeId) -> None:
        """A member is gone; nothing changes if it is not on the ring."""
        members = self._in_order()
        placed = _placed(node_id)
        index = bisect_left(members, placed)
        if index < len(members) and members[index] == placed:
            del members[index]

    def neighbours(self, own: NodeId) -> set[NodeId]:
        """The members that ``own``, which is one of them, listens to."""
        members = self._in_order()
        count = len(members)
        if count <= FULL_MESH_MAX:
            found = {placed[_PLACE_BYTES:] for placed in members}
        else:
            at = bisect_left(members, _placed(own))
            found = {members[(at + step) % count][_PLACE_BYTES:] for step in range(-BESIDE, BESIDE + 1)}
            found.update(self._fingers(own, members[(at + 1) % count]))
        found.discard(own)
        return found

    def _fingers(self, own: NodeId, successor: bytes) -> set[NodeId]:
        """Those that follow own + 2^k, from half the ring away down to the successor."""
        members = self._members
        start = int.from_bytes(_placed(own)[:_PLACE_BYTES], "big")
        fingers: set[NodeId] = set()
        for k in reversed(range(_PLACE_BITS)):
            target = ((start + (1 << k)) % _RING).to_bytes(_PLACE_BYTES, "big")
            finger = members[bisect_left(members, target) % len(members)]
            if finger == successor:  # so are the nearer ones
                break
            fingers.add(finger[_PLACE_BYTES:])
        return fingers

    def _in_order(self) -> list[bytes]:
        if not self._sorted:
            self._members.sort()
            self._sorted = True
        return self._members
