"""How much one node may have under way at another (SPEC.md section 5), and what each frame weighs in that.

A frame weighs what keeping it costs, near enough: its payload, its texts, and a constant, so that a million empty
messages are not nothing. Both ends reckon alike, so a receiver can tell a sender that ignores its windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import astuple

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol.frames import DataFrame, Event, Reply, Request

FRAME_WEIGHT_BYTES = 256  # a Python tuple, its numbers and the heads of its texts; the header of the frame beside them
EXCESS = 2  # windows' worth that a receiver puts up with: a sender that keeps to its window stays far below it


@dataclass(slots=True)
class Load:
    """Messages under way with one peer."""

    count: int = 0
    weight_bytes: int = 0

    def add(self, weight_bytes: int) -> None:
        """One more is under way."""
        self.count += 1
        self.weight_bytes += weight_bytes

    def remove(self, weight_bytes: int) -> None:
        """One has ended."""
        self.count -= 1
        self.weight_bytes -= weight_bytes

    def fits(self, window_count: int, window_bytes: int) -> bool:
        """Whether one more may be sent; always, if there is none."""
        return not self.count or (self.count < window_count and self.weight_bytes < window_bytes)

    def admit(self, weight_bytes: int, what: str, window_count: int, window_bytes: int) -> None:
        """As ``add``. RemoteProtocolError if the peer that has sent these may not send one more by far."""
        if self.count and (self.count >= EXCESS * window_count or self.weight_bytes >= EXCESS * window_bytes):
            raise RemoteProtocolError(
                WireCode.TOO_LARGE,
                f"{self.count:,} unfinished {what} of {self.weight_bytes:,} bytes, where the window is"
                f" {window_count:,} of {window_bytes:,} bytes",
            )
        self.count += 1
        self.weight_bytes += weight_bytes


def weight_bytes(frame: DataFrame) -> int:
    """What keeping the frame costs."""
    if type(frame) is Reply:  # the fields of the commonest kinds are known
        return FRAME_WEIGHT_BYTES + len(frame.type_name) + len(frame.content_type) + len(frame.payload)
    if type(frame) is Request:
        weight = FRAME_WEIGHT_BYTES + len(frame.agent) + len(frame.message_id) + len(frame.type_name)
        weight += len(frame.content_type) + len(frame.payload)
        if frame.sender is not None:
            weight += len(frame.sender)
        return weight if frame.context is None else weight + _weight_of_map(frame.context)
    if type(frame) is Event:
        return weight_of_event(frame)
    return FRAME_WEIGHT_BYTES + sum(len(value) for value in astuple(frame) if isinstance(value, (bytes, str)))


def weight_of_event(event: Event) -> int:
    """What keeping the event costs."""
    weight = FRAME_WEIGHT_BYTES + len(event.topic_type) + len(event.topic_source) + len(event.message_id)
    weight += len(event.type_name) + len(event.content_type) + len(event.payload)
    for recipient in event.recipients:
        weight += len(recipient) + FRAME_WEIGHT_BYTES // 4
    if event.sender is not None:
        weight += len(event.sender)
    return weight if event.context is None else weight + _weight_of_map(event.context)


def _weight_of_map(context: Mapping[str, str]) -> int:
    return sum(map(len, context)) + sum(map(len, context.values()))
