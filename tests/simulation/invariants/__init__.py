"""What must hold in every run, whatever goes wrong; apart from what makes it go wrong."""

from __future__ import annotations

from tests.simulation.invariants.base import Invariant, Run, Violation
from tests.simulation.invariants.calls import Executed, HandlersEnd, NoFailure, OneOutcome
from tests.simulation.invariants.events import EventOrder, NoEventLost
from tests.simulation.invariants.membership import Converged, NoResurrection, NothingIllegal
from tests.simulation.invariants.memory import Bounded

__all__ = ["ALWAYS", "Invariant", "Run", "Violation"]

ALWAYS: tuple[type[Invariant], ...] = (
    Executed,
    OneOutcome,
    HandlersEnd,
    NoFailure,
    EventOrder,
    NoEventLost,
    NoResurrection,
    NothingIllegal,
    Converged,
    Bounded,
)
"""Every one of them; single home is added where agents are placed."""
