"""What the agents of this suite say to each other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Text:
    content: str


@dataclass
class Number:
    value: int


@dataclass
class Whatever:
    """Anything at all, so also what can't be serialized."""

    value: Any
