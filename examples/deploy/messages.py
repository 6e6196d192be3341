"""What the caller and the workers say to each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Ask:
    """Asks for a text to be shouted."""

    text: str


@dataclass
class Answer:
    """The text, and the process (pod, container) that has shouted it."""

    text: str
    process: str
