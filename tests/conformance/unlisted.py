"""A message class in a module of its own, where nobody who reads Text would look for it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Unlisted:
    """Not in the vocabulary: a process reads it only if its own agents handle it."""

    content: str
