"""What the two processes say to each other. Both import it: plain dataclasses need no serializer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Job:
    """A text for the coordinator, which makes a Task of each of its words."""

    text: str


@dataclass
class Task:
    """One word for a worker."""

    word: str


@dataclass
class Result:
    """The answer to either of them."""

    text: str
