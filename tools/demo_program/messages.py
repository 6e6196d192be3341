"""What the demo's agents say to each other: plain dataclasses, as in any AutoGen program."""

from __future__ import annotations

from dataclasses import dataclass

RESULTS_TOPIC = "results"

# What is factorised; each number is a call of its own.
NUMBERS = [8051, 10403, 65537, 97343, 123456, 510510, 999983, 1000001]


@dataclass
class Round:
    """For the coordinator: have all these numbers factorised."""

    numbers: list[int]


@dataclass
class Task:
    """For a worker: factorise one number."""

    number: int


@dataclass
class Answer:
    """A worker's answer, and the process that it came from."""

    factors: list[int]
    process: str


@dataclass
class Finished:
    """The event that the coordinator publishes at the end of a round."""

    answers: int
