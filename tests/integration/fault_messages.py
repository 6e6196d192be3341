"""What the agents that count their calls are sent and say."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Add:
    """Number ``number``, which nobody else sends to this agent."""

    number: int


@dataclass
class Added:
    """Where the call was handled, and how many the agent has handled with it, here or before it moved here."""

    pid: int
    total: int
