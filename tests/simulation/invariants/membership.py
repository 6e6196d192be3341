"""Who is in the cluster: nobody comes back from the dead, and everybody who lives is seen."""

from __future__ import annotations

from tests.simulation.application import Seen
from tests.simulation.invariants.base import BrokenInvariantError, Invariant, Run
from tests.simulation.process import Process, converged
from zmqagents.errors import WireCode
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.membership import TOMBSTONE_LIFE_S, Change

KNOWN_WITHIN_S = 2.5  # some of it for delays, lost envelopes and helpers that are busy
RELAYED_KNOWN_WITHIN_S = 8.0  # nobody refuses a dial then; and forwarders that die at the same time cost 5 s
MET_WITHIN_S = 1.0  # slow greetings, and some that were lost
NEWCOMER_KNOWS_WITHIN_S = 6.5  # that one whom it has never reached is dead
EXPECTED_STRAYS = {WireCode.WRONG_NODE, WireCode.ILLEGAL_NOW}
"""What a process that comes to a dead one's port, or back from the dead, has to expect."""


class NoResurrection(Invariant):
    """A life that is buried somewhere is a member there again only with a version that it has published since."""

    name = "no resurrection"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._read: dict[NodeId, int] = {}
        self._buried: dict[tuple[NodeId, NodeId], tuple[int, float]] = {}
        """By reader and subject: the version at which the reader buried it, and when."""

    def check(self) -> None:
        by_id = {process.node_id: process for process in self.run.everybody}
        for process in self.run.everybody:
            begin = self._read.get(process.node_id, 0)
            for seen in process.seen[begin:]:
                self._read_change(process, by_id[seen.change.record.node_id], seen)
            self._read[process.node_id] = len(process.seen)

    def _read_change(self, reader: Process, subject: Process, seen: Seen) -> None:
        record = seen.change.record
        if record.version > subject.node.record.version:
            raise self.fail(f"{reader.name} holds v{record.version} of {subject.name}, which never published it")
        grave = (reader.node_id, subject.node_id)
        if seen.change.change is Change.DIED and self.run.kills_only and seen.at_s < subject.ended_s:
            raise BrokenInvariantError(
                "nobody alive is dead", f"{reader.name} took {subject.name} for dead, which lived"
            )
        if seen.change.change in (Change.LEFT, Change.DIED):
            if seen.buried_at is not None:
                self._buried[grave] = (seen.buried_at, seen.at_s)
            return
        version, since_s = self._buried.get(grave, (0, 0.0))
        if record.version <= version and seen.at_s - since_s < TOMBSTONE_LIFE_S:
            raise self.fail(f"{reader.name} buried v{version} of {subject.name}, and takes v{record.version} for live")

    def check_end(self) -> None:
        self.check()


class DeathKnown(Invariant):
    """Where nothing hinders the living, all of them know soon that a process was killed."""

    name = "death known"

    def check(self) -> None:
        if not self.run.kills_only:
            return
        now_s = self.run.network.now_s
        for dead in self.run.everybody:
            if dead.alive or now_s > dead.ended_s + 2 * NEWCOMER_KNOWS_WITHIN_S or self._has_busy_heir(dead):
                continue
            for process in self.run.alive:
                had_met_it = process.started_s < dead.ended_s - MET_WITHIN_S
                within_s = KNOWN_WITHIN_S if had_met_it else NEWCOMER_KNOWS_WITHIN_S
                if self.run.forwarders:
                    within_s = RELAYED_KNOWN_WITHIN_S
                late = now_s > max(dead.ended_s, process.started_s) + within_s
                if late and not process.lost(dead) and not process.was_held_up(dead.ended_s):
                    raise self.fail(f"{process.name} takes {dead.name} for alive {within_s:g} s after its end")

    def _has_busy_heir(self, dead: Process) -> bool:
        """Whether the process that has its port now takes connections for it, and could not say that it is another."""
        heirs = [one for one in self.run.everybody if one.place == dead.place and one.started_s >= dead.ended_s]
        return any(heir.was_held_up(dead.ended_s) for heir in heirs)


class Converged(Invariant):
    """At rest all know all, as they are, and nobody else; and seek an agent at the same place."""

    name = "convergence"

    def check_end(self) -> None:
        alive = self.run.alive
        if not converged(alive):
            raise self.fail("; ".join(f"{one.name} knows {sorted(one.members)}" for one in alive))
        homes = {tuple(process.node.directory.home(agent) for agent in self.run.agents) for process in alive}
        if len(homes) != 1 or not set(*homes) <= {process.node_id for process in alive}:
            raise self.fail("they seek an agent at different places")
        for process in alive:
            members = {record.node_id for record in process.node.membership.live()}
            if not process.node.state.peers.keys() <= members:
                raise self.fail(f"{process.name} keeps something about who is no member")
            if not process.node.is_synchronised():
                raise self.fail(f"{process.name} waits for {process.node.unsynchronised()}")


class NothingIllegal(Invariant):
    """No process takes another's envelope for a breach of the rules, unless it comes from the dead."""

    name = "nothing illegal"

    def check(self) -> None:
        for process in self.run.alive:
            for stray in process.strays:
                if stray.code not in EXPECTED_STRAYS:
                    raise self.fail(f"{process.name}: {stray}")
            if process.refusals:
                raise self.fail(f"{process.name}: {process.refusals[0]}")
