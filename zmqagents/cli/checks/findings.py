"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """How bad it is. ``FAIL``: something will not work; ``WARN``: something may not, or not as somebody expects."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """The outcome of one check."""

    check: str
    status: Status
    seen: str
    advice: str = ""
    """What to do; empty if nothing is to be done."""

    def as_document(self) -> dict[str, str | None]:
        """The finding as JSON."""
        return {
            "check": self.check,
            "status": self.status.value,
            "seen": self.seen,
            "advice": self.advice or None,
        }


def ok(check: str, seen: str) -> Finding:
    """A finding with which nothing is to be done."""
    return Finding(check, Status.OK, seen)


def warn(check: str, seen: str, advice: str) -> Finding:
    """A finding that may be what somebody wants, or not."""
    return Finding(check, Status.WARN, seen, advice)


def fail(check: str, seen: str, advice: str) -> Finding:
    """A finding because of which something will not work."""
    return Finding(check, Status.FAIL, seen, advice)
