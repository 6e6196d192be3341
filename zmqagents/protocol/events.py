"""Events sent to one peer and not yet finished there (SPEC.md sections 5 and 8.5).

They are kept until EVENT_DONE, so that they can go to their agents' next home if the peer is lost, and counted, so
that a peer that handles them slowly slows the publisher rather than fill somebody's memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from zmqagents.protocol.frames import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLimits:
    """The event window of SPEC.md section 5."""

    window_events: int = 8_192
    window_bytes: int = 32 << 20


class EventOutbox:
    """The unfinished events of one link, by sequence number."""

    __slots__ = ("_bytes", "_events", "_limits")

    def __init__(self, limits: EventLimits | None = None) -> None:
        self._limits = limits or EventLimits()
        self._events: dict[int, Event] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._events)

    def has_room(self) -> bool:
        """Whether one more event may be sent; always, if there is none."""
        return not self._events or (
            len(self._events) < self._limits.window_events and self._bytes < self._limits.window_bytes
        )

    def sent(self, number: int, event: Event) -> None:
        """The event left with this sequence number."""
        self._events[number] = event
        self._bytes += len(event.payload)

    def done(self, numbers: Iterable[int]) -> int:
        """EVENT_DONE came; returns how many of the numbers were unfinished."""
        finished = 0
        for number in numbers:
            event = self._events.pop(number, None)
            if event is not None:
                self._bytes -= len(event.payload)
                finished += 1
        return finished

    def drain(self) -> list[Event]:
        """The link was reset: everything unfinished, in order."""
        events = list(self._events.values())
        self._events.clear()
        self._bytes = 0
        return events
