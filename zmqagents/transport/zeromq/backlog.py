"""What waits for readers that are slower than what is sent to them.

libzmq bounds its queue for a connection in messages, which may be large, and then takes none. What it doesn't take
waits here, and large messages that it has taken are counted here until they have left (pyzmq's ``MessageTracker``).
Together they are bounded in bytes, for each destination and for all: a destination may have as many bytes as are free
for all of them, at most ``each_bytes``, and one message always. So one slow reader can't take the room of the others,
nor can many of them take more than there is. (Choudhury and Hahne 1998, with a factor of 1.)
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import zmq

from zmqagents.protocol.ids import NodeId

MAX_WAITING = 4_096
"""Messages that wait for one destination, however small."""

_OVERHEAD_BYTES = 200  # of a message that waits: the list, its parts' objects


@dataclass(slots=True)
class _Destination:
    waiting: deque[tuple[list[Any], int]] = field(default_factory=deque)
    flying: deque[tuple[zmq.MessageTracker, int]] = field(default_factory=deque)
    flying_bytes: int = 0
    size_bytes: int = 0
    """Of all that waits or flies."""


class Backlog:
    """Messages by destination, each in its order."""

    def __init__(self, *, each_bytes: int, all_bytes: int) -> None:
        self._each_bytes = each_bytes
        self._all_bytes = all_bytes
        self._destinations: dict[NodeId, _Destination] = {}
        self.size_bytes = 0
        """Of all that waits, and of what is large and has not left."""
        self.waiting = 0
        """Messages that wait."""

    def __contains__(self, node_id: NodeId) -> bool:
        """Whether something waits for it: then what follows has to wait too."""
        destination = self._destinations.get(node_id)
        return destination is not None and bool(destination.waiting)

    def destinations(self) -> list[NodeId]:
        """Those for whom something waits."""
        return [node_id for node_id, destination in self._destinations.items() if destination.waiting]

    def has_room(self, node_id: NodeId, size_bytes: int) -> bool:
        """Whether so much more may be kept for the destination."""
        destination = self._destinations.get(node_id)
        if destination is None or not destination.size_bytes:
            return self.size_bytes < self._all_bytes or self._reap_all()
        self._reap(node_id, destination)
        if destination.size_bytes + size_bytes > self._each_bytes:
            return not destination.size_bytes
        free = self._all_bytes - self.size_bytes
        return destination.size_bytes + size_bytes <= free or not destination.size_bytes

    def may_fly(self, node_id: NodeId, size_bytes: int) -> bool:
        """Whether libzmq may be given so large a message: half of the room is for what it holds."""
        destination = self._destinations.get(node_id)
        if destination is None:
            return True
        self._reap(node_id, destination)
        return not destination.flying or destination.flying_bytes + size_bytes <= self._each_bytes // 2

    def keep(self, node_id: NodeId, parts: list[Any], size_bytes: int) -> bool:
        """Have a message wait; False if there is no room for it."""
        size_bytes += _OVERHEAD_BYTES
        destination = self._destinations.get(node_id)
        if destination is not None and len(destination.waiting) >= MAX_WAITING:
            return False
        if not self.has_room(node_id, size_bytes):
            return False
        destination = self._destinations.setdefault(node_id, _Destination())
        destination.waiting.append((parts, size_bytes))
        self.waiting += 1
        self._add(destination, size_bytes)
        return True

    def first(self, node_id: NodeId) -> list[Any]:
        """The message that has waited longest."""
        return self._destinations[node_id].waiting[0][0]

    def gone(self, node_id: NodeId) -> None:
        """The first message was sent."""
        destination = self._destinations[node_id]
        _, size_bytes = destination.waiting.popleft()
        self.waiting -= 1
        self._add(destination, -size_bytes)
        self._tidy(node_id, destination)

    def flies(self, node_id: NodeId, tracker: zmq.MessageTracker, size_bytes: int) -> None:
        """A large message is libzmq's now, until the tracker is done."""
        destination = self._destinations.setdefault(node_id, _Destination())
        destination.flying.append((tracker, size_bytes))
        destination.flying_bytes += size_bytes
        self._add(destination, size_bytes)

    def forget(self, node_id: NodeId) -> int:
        """The destination is gone; returns how many messages waited for it. What flies is libzmq's to drop."""
        destination = self._destinations.pop(node_id, None)
        if destination is None:
            return 0
        self.size_bytes -= destination.size_bytes
        self.waiting -= len(destination.waiting)
        return len(destination.waiting)

    def reap(self) -> None:
        """Take note of what has left."""
        for node_id, destination in list(self._destinations.items()):
            self._reap(node_id, destination)

    def _reap_all(self) -> bool:
        self.reap()
        return self.size_bytes < self._all_bytes

    def _reap(self, node_id: NodeId, destination: _Destination) -> None:
        flying = destination.flying
        while flying and flying[0][0].done:
            _, size_bytes = flying.popleft()
            destination.flying_bytes -= size_bytes
            self._add(destination, -size_bytes)
        self._tidy(node_id, destination)

    def _tidy(self, node_id: NodeId, destination: _Destination) -> None:
        if not destination.waiting and not destination.flying:
            self._destinations.pop(node_id, None)

    def _add(self, destination: _Destination, size_bytes: int) -> None:
        destination.size_bytes += size_bytes
        self.size_bytes += size_bytes


def weigh(parts: Iterable[Any]) -> int:
    """The bytes of a message."""
    return sum(map(len, parts))
