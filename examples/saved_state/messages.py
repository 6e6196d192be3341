"""What the programs and the notebook agent say to each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Note:
    """Something to remember."""

    text: str


@dataclass
class Notes:
    """All that is remembered."""

    texts: list[str]
