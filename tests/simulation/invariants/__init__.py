"""What must hold in every run, whatever goes wrong; apart from what makes it go wrong."""

from __future__ import annotations

from tests.simulation.invariants.base import BrokenInvariantError, Invariant, Run, is_keyed
from tests.simulation.invariants.calls import Executed, HandlersEnd, NoFailure, OneOutcome
from tests.simulation.invariants.events import EventOrder, NoEventLost
from tests.simulation.invariants.membership import Converged, DeathKnown, NoResurrection, NothingIllegal
from tests.simulation.invariants.memory import BoundedQueues, BoundedTables
from tests.simulation.invariants.placement import SingleHome, StateKept

__all__ = ["ALWAYS", "BrokenInvariantError", "Invariant", "Run", "is_keyed"]

ALWAYS: tuple[type[Invariant], ...] = (
    Executed,
    OneOutcome,
    HandlersEnd,
    NoFailure,
    EventOrder,
    NoEventLost,
    NoResurrection,
    DeathKnown,
    NothingIllegal,
    Converged,
    SingleHome,
    StateKept,
    BoundedTables,
    BoundedQueues,
)
"""Every one of them."""
