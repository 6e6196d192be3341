"""Events on both sides of one link that are not yet finished (SPEC.md sections 5 and 8.5).

The sender keeps them until EVENT_DONE, so that they can go to their agents' next home if the peer is lost, and counts
them, so that a peer that handles them slowly slows the publisher rather than fill somebody's memory. The receiver
counts too, for a sender that doesn't.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from zmqagents.protocol.bounds import MAX_EVENT_HOPS
from zmqagents.protocol.frames import Event
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.tuples import made
from zmqagents.protocol.windows import Load, weight_of_event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLimits:
    """The event window of SPEC.md section 5."""

    window_events: int = 8_192
    window_bytes: int = 32 << 20


class Origin(NamedTuple):
    """Where an event is from that this node forwards: the peer, the receipt to finish, and the hops when it came."""

    peer: NodeId
    receipt: int
    hops: int


class Sent(NamedTuple):
    """An event on its way to one node."""

    event: Event
    weight_bytes: int
    origin: Origin | None


class _Onward:
    """How many events that have made hops are unfinished on a link."""

    __slots__ = ("_counts",)

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def has_any_from(self, hops: int) -> bool:
        """Whether any has made as many hops, or more."""
        return any(other >= hops for other in self._counts)

    def add(self, hops: int) -> None:
        """One more is unfinished."""
        self._counts[hops] = self._counts.get(hops, 0) + 1

    def remove(self, hops: int) -> None:
        """One is finished."""
        self._counts[hops] -= 1
        if not self._counts[hops]:
            del self._counts[hops]


class EventOutbox:
    """The unfinished events of one link, by sequence number.

    A publisher asks ``has_room`` first, and waits. Events that this node only sends on, and those that had another
    home, can't: those beyond the window are kept here until it has room. They are bounded where they came from.

    Events may go in circles while nodes disagree. Then two nodes could fill each other's windows with events that each
    has to send back, and wait for ever. So one event of each count of hops always has room, if none that has come
    farther is unfinished: those that have come farthest go on, and at the latest end where no further hop is allowed
    (after P. M. Merlin and P. J. Schweitzer: Deadlock Avoidance in Store-and-Forward Networks, 1980).
    """

    __slots__ = ("_events", "_later", "_limits", "_load", "_onward")

    def __init__(self, limits: EventLimits | None = None) -> None:
        self._limits = limits or EventLimits()
        self._events: dict[int, Sent] = {}
        self._later: dict[int, deque[Sent]] = {}
        """Those that are kept, by hops."""
        self._onward = _Onward()
        self._load = Load()

    def __len__(self) -> int:
        return len(self._events) + sum(map(len, self._later.values()))

    def has_room(self, hops: int = 0) -> bool:
        """Whether one more event that has made so many hops may be sent; always, if there is none."""
        if self._later and hops in self._later:
            return False
        load, limits = self._load, self._limits
        if load.count < limits.window_events and load.weight_bytes < limits.window_bytes:
            return True
        return not load.count or (hops > 0 and not self._onward.has_any_from(hops))

    def keep(self, event: Event, weight: int, origin: Origin | None = None) -> None:
        """The event is to be sent when there is room, in its turn."""
        self._later.setdefault(event.hops, deque()).append(Sent(event, weight, origin))

    def take(self) -> Sent | None:
        """The next event that was kept and that there is room for now."""
        hops = max(self._later, default=None)  # if it has no room, none has
        if hops is None:
            return None
        waiting = self._later.pop(hops)
        sent = waiting.popleft() if self.has_room(hops) else None
        if waiting:
            self._later[hops] = waiting
        return sent

    def sent(self, number: int, event: Event, weight: int | None = None, origin: Origin | None = None) -> None:
        """The event left with this sequence number."""
        weight = weight_of_event(event) if weight is None else weight
        self._events[number] = made(Sent, (event, weight, origin))
        if event.hops:
            self._onward.add(event.hops)
        load = self._load
        load.count += 1
        load.weight_bytes += weight

    def done(self, numbers: Iterable[int]) -> list[Sent]:
        """EVENT_DONE came; returns those of the numbers that were unfinished."""
        finished: list[Sent] = []
        take = self._events.pop
        for number in numbers:
            sent = take(number, None)
            if sent is not None:
                finished.append(sent)
                if sent.event.hops:
                    self._onward.remove(sent.event.hops)
        self._load.count -= len(finished)
        self._load.weight_bytes -= sum([sent.weight_bytes for sent in finished])
        return finished

    def drain(self) -> list[Sent]:
        """The link was reset: everything unfinished, and what was kept, in order."""
        events = list(self._events.values())
        for hops in sorted(self._later, reverse=True):
            events += self._later[hops]
        self._events.clear()
        self._later.clear()
        self._onward = _Onward()
        self._load = Load()
        return events


class EventInbox:
    """The events of one link that are being handled here, by receipt: a number that no other event here has."""

    __slots__ = ("_events", "_limits", "_load", "_onward")

    def __init__(self, limits: EventLimits | None = None) -> None:
        self._limits = limits or EventLimits()
        self._events: dict[int, list[int]] = {}
        """Sequence number in this life of the link, weight, the recipients that have not finished it, and its hops."""
        self._onward = _Onward()
        self._load = Load()

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[int]:
        return iter(self._events)

    def came(self, receipt: int, number: int, weight: int, recipients: int = 1, hops: int = 0) -> None:
        """An event of that weight, for so many agents, came with this sequence number.

        RemoteProtocolError if the peer, sending it, ignores its window.
        """
        if hops:
            self._came_on(weight, min(hops, MAX_EVENT_HOPS))
        else:
            self._load.admit(weight, "events", self._limits.window_events, self._limits.window_bytes)
        self._events[receipt] = [number, weight, recipients, hops]

    def _came_on(self, weight: int, hops: int) -> None:
        """It was sent on, and may have had room for that reason alone."""
        if self._onward.has_any_from(hops):
            self._load.admit(weight, "events", self._limits.window_events, self._limits.window_bytes)
        else:
            self._load.add(weight)
        self._onward.add(hops)

    def finished(self, receipt: int, recipients: int = 1) -> int | None:
        """So many of its recipients have finished it: its sequence number if that were the last ones.

        None also if it came in a life of the link that is over.
        """
        entry = self._events.get(receipt)
        if entry is None:
            return None
        entry[2] -= recipients
        if entry[2] > 0:
            return None
        del self._events[receipt]
        load = self._load
        load.count -= 1
        load.weight_bytes -= entry[1]
        if entry[3]:
            self._onward.remove(min(entry[3], MAX_EVENT_HOPS))
        return entry[0]

    def clear(self) -> None:
        """The link was reset."""
        self._events.clear()
        self._onward = _Onward()
        self._load = Load()
