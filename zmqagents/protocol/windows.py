"""How much one node may have under way at another (SPEC.md section 5), and what each frame weighs in that.

A frame weighs what keeping it costs, near enough: its payload, its texts, and a constant, so that a million empty
messages are not nothing. Both ends reckon alike, so a receiver can tell a sender that ignores its windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol.frames import DataFrame, Event

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

    def check(self, what: str, window_count: int, window_bytes: int) -> None:
        """RemoteProtocolError if the peer that has sent these may not send one more by far."""
        if not self.fits(EXCESS * window_count, EXCESS * window_bytes):
            raise RemoteProtocolError(
                WireCode.TOO_LARGE,
                f"{self.count:,} unfinished {what} of {self.weight_bytes:,} bytes, where the window is"
                f" {window_count:,} of {window_bytes:,} bytes",
            )


def weight_bytes(frame: DataFrame) -> int:
    """What keeping the frame costs."""
    weight = FRAME_WEIGHT_BYTES
    for value in frame:
        if isinstance(value, (bytes, str)):
            weight += len(value)
        elif isinstance(value, Mapping):
            weight += sum(map(len, value)) + sum(map(len, value.values()))
    if type(frame) is Event:
        weight += sum(map(len, frame.recipients)) + len(frame.recipients) * FRAME_WEIGHT_BYTES // 4
    return weight
