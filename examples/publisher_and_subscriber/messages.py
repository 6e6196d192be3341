"""The event that goes from one process to the other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Price:
    """What something costs now."""

    cents: int
