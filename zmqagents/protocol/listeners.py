"""Who wants whose gossip from a forwarder (SPEC.md section 12.3)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from zmqagents.protocol.ids import NodeId

_NOBODY: Mapping[NodeId, None] = MappingProxyType({})


class Listeners:
    """Pairs of listener and speaker; ``most_each`` of one listener, ``most`` in all. A speaker need not be known."""

    def __init__(self, *, most_each: int, most: int) -> None:
        self._most_each = most_each
        self._most = most
        # Not sets: their order, which gossip is passed on in, would be another in each process.
        self._speakers: dict[NodeId, dict[NodeId, None]] = {}  # by listener
        self._listeners: dict[NodeId, dict[NodeId, None]] = {}  # by speaker
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, speaker: NodeId) -> Collection[NodeId]:
        """Who wants the gossip of ``speaker``, in the order in which they have asked."""
        return self._listeners.get(speaker, _NOBODY)

    def replace(self, listener: NodeId, speakers: Iterable[NodeId]) -> int:
        """``listener`` wants the gossip of these alone; returns how many of them were beyond a bound."""
        self.forget(listener)
        return self.add(listener, speakers)

    def add(self, listener: NodeId, speakers: Iterable[NodeId]) -> int:
        """``listener`` wants the gossip of these too; returns how many of them were beyond a bound."""
        wanted = self._speakers.setdefault(listener, {})
        beyond = 0
        for speaker in speakers:
            if speaker in wanted:
                continue
            if len(wanted) >= self._most_each or self._count >= self._most:
                beyond += 1
                continue
            wanted[speaker] = None
            self._listeners.setdefault(speaker, {})[listener] = None
            self._count += 1
        if not wanted:
            del self._speakers[listener]
        return beyond

    def drop(self, listener: NodeId, speakers: Iterable[NodeId]) -> None:
        """``listener`` does not want the gossip of these any more."""
        wanted = self._speakers.get(listener)
        if wanted is None:
            return
        for speaker in speakers:
            if speaker in wanted:
                del wanted[speaker]
                self._unlink(listener, speaker)
        if not wanted:
            del self._speakers[listener]

    def forget(self, listener: NodeId) -> None:
        """``listener`` wants nothing any more."""
        for speaker in self._speakers.pop(listener, ()):
            self._unlink(listener, speaker)

    def _unlink(self, listener: NodeId, speaker: NodeId) -> None:
        listeners = self._listeners[speaker]
        del listeners[listener]
        if not listeners:
            del self._listeners[speaker]
        self._count -= 1
