"""What a client and the workers say to each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Count:
    """Asks an agent to count this call."""


@dataclass
class Counted:
    """How often the agent was called, and in which process it lives."""

    calls: int
    process: str
