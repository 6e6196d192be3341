"""What an invariant is, and what it sees of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from tests.simulation.forwarders import Forwarder
from tests.simulation.network import Network
from tests.simulation.process import Process
from zmqagents.protocol.ids import AgentKey


class BrokenInvariantError(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        super().__init__(f"{invariant}: {text}")
        self.invariant = invariant
        self.text = text


def is_keyed(key: AgentKey) -> bool:
    """Whether the key binds the agent to one home."""
    return not key.startswith("any/")


class Run(Protocol):
    """What can be seen of a run. Lives follow one another at a place; each is a process of its own."""

    @property
    def network(self) -> Network: ...

    @property
    def everybody(self) -> Sequence[Process]:
        """Every life there has been, in order of their starts."""

    @property
    def alive(self) -> Sequence[Process]: ...

    @property
    def agents(self) -> Sequence[AgentKey]:
        """Those that are called."""

    @property
    def forwarders(self) -> Mapping[str, Forwarder]:
        """By place; none where everybody can reach everybody."""

    @property
    def gentle(self) -> bool:
        """Whether the faults are only those under which no call and no event may fail."""

    @property
    def kills_only(self) -> bool:
        """Whether the faults are only those under which nobody may take a process for dead that lives."""


class Invariant:
    """One promise; ``check`` and ``check_end`` raise BrokenInvariantError."""

    name: str
    cheap = False
    """Whether it is looked at with every step."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def check(self) -> None:
        """What holds at every moment."""

    def check_end(self) -> None:
        """What holds when the faults are over and everything has come to rest."""

    def fail(self, text: str) -> BrokenInvariantError:
        """To be raised."""
        return BrokenInvariantError(self.name, text)
