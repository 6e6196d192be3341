"""Clocks of simulated processes, which are never quite right."""

from __future__ import annotations

from dataclasses import dataclass

WALL_EPOCH_S = 1_700_000_000.0  # what a wall clock shows when the network's clock begins
MAX_DRIFT = 0.01


@dataclass(slots=True)
class Clock:
    """A process's clocks: ``rate`` of its seconds pass in one of the network's, from ``offset_s`` on."""

    offset_s: float = 0.0
    rate: float = 1.0
    wall_offset_s: float = 0.0
    """How far its machine's wall clock is off."""
    _read_s: float = 0.0

    def read(self, true_s: float) -> float:
        """What the monotonic clock shows; never less than it has shown."""
        self._read_s = max(self._read_s, self.offset_s + true_s * self.rate)
        return self._read_s

    def true_s(self, own_s: float) -> float:
        """When it will show ``own_s``."""
        return (own_s - self.offset_s) / self.rate

    def wait_until(self, own_s: float) -> None:
        """It has been slept until ``own_s``: rounding doesn't make it show less."""
        self._read_s = max(self._read_s, own_s)

    def wall_ms(self, true_s: float) -> int:
        """Milliseconds since 1970, by the machine's clock."""
        return int((WALL_EPOCH_S + true_s + self.wall_offset_s) * 1_000)
