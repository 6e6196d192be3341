"""What was measured: samples, medians, ratios, and whether the goals are met."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from .wire import Json


class Better(Enum):
    """Which of two values is the good one."""

    MORE = "more"
    LESS = "less"


class Verdict(Enum):
    """How a goal stands."""

    AIM = "aim reached"
    MUST = "reached"
    MISSED = "MISSED"
    UNKNOWN = "not measured"


@dataclass(frozen=True)
class Goal:
    """What a contender's value has to be, as a ratio to another's, or as it is if ``reference`` is empty."""

    subject: str
    reference: str
    must: float
    aim: float


@dataclass
class Result:
    """What one contender did in one row: a value for each round."""

    contender: str
    title: str
    values: list[float] = field(default_factory=list)
    details: dict[str, list[float]] = field(default_factory=dict)
    absent: str = ""
    """Why there are no values."""

    def add(self, value: float, details: Mapping[str, float]) -> None:
        """Note one round."""
        self.values.append(value)
        for name, detail in details.items():
            self.details.setdefault(name, []).append(detail)

    @property
    def median(self) -> float | None:
        """Over the rounds; None if there was none."""
        return statistics.median(self.values) if self.values else None

    def detail(self, name: str) -> float:
        """The median of a detail. KeyError if there is none of the name."""
        return statistics.median(self.details[name])


@dataclass
class RowResult:
    """One kind of work and how everybody did."""

    name: str
    title: str
    unit: str
    better: Better
    results: list[Result]
    goals: tuple[Goal, ...]

    def result(self, contender: str) -> Result | None:
        """That contender's; None if it isn't measured in this row."""
        return next((result for result in self.results if result.contender == contender), None)

    def ratio(self, subject: str, reference: str) -> float | None:
        """The subject's median in units of the reference's; None if one of them has none, or the reference's is 0."""
        ours, theirs = self.result(subject), self.result(reference)
        if ours is None or theirs is None or ours.median is None or not theirs.median:
            return None
        return ours.median / theirs.median

    def achieved(self, goal: Goal) -> float | None:
        """What is compared with the goal."""
        if goal.reference:
            return self.ratio(goal.subject, goal.reference)
        result = self.result(goal.subject)
        return None if result is None else result.median

    def verdict(self, goal: Goal) -> Verdict:
        """How the goal stands."""
        achieved = self.achieved(goal)
        if achieved is None:
            return Verdict.UNKNOWN
        sign = 1 if self.better is Better.MORE else -1
        if sign * achieved >= sign * goal.aim:
            return Verdict.AIM
        return Verdict.MUST if sign * achieved >= sign * goal.must else Verdict.MISSED

    def to_json(self) -> Json:
        """As it stands in the file of ``--json``."""
        return {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "better": self.better.value,
            "results": [
                {
                    "contender": result.contender,
                    "title": result.title,
                    "median": result.median,
                    "values": result.values,
                    "details": {name: result.detail(name) for name in result.details},
                    "absent": result.absent,
                }
                for result in self.results
            ],
            "goals": [
                {
                    "subject": goal.subject,
                    "reference": goal.reference,
                    "achieved": self.achieved(goal),
                    "must": goal.must,
                    "aim": goal.aim,
                    "verdict": self.verdict(goal).value,
                }
                for goal in self.goals
            ],
        }
