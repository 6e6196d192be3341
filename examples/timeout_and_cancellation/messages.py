"""What the client and the slow worker say to each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Work:
    """Work of this many seconds."""

    name: str
    seconds: float


@dataclass
class Done:
    """The work of this name is done."""

    name: str
