"""Every call ends exactly once, runs at most once, and its handler ends with it."""

from __future__ import annotations

from collections import Counter

from tests.simulation.application import name_of
from tests.simulation.clients import AgentCall
from tests.simulation.invariants.base import Invariant, Run
from tests.simulation.process import Process
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.ids import NodeId

LATE_S = 0.5  # a deadline is noticed with the next tick
FAIR_ENDS = {"reply", "deadline"}
"""How a call may end when nothing is so wrong that it could fail."""


class OneOutcome(Invariant):
    """Exactly one outcome for each call whose caller lives, and none for one that was given up."""

    name = "one outcome"

    def check(self) -> None:
        now_s = self.run.network.now_s
        for process in self.run.alive:
            for call in process.open_calls():
                late = call.deadline_s is not None and call.begun_s + call.deadline_s + LATE_S < now_s
                if late and not process.was_held_up(call.begun_s):
                    raise self.fail(f"{process.name}'s {call} goes on past its deadline")

    def check_end(self) -> None:
        for process in self.run.everybody:
            for call in process.asked:
                wanted = (0,) if call.cancelled else (1,) if process.alive else (0, 1)
                if len(call.outcomes) not in wanted:
                    raise self.fail(f"{process.name}'s {call} has the outcomes {call.outcomes}")


class Executed(Invariant):
    """At most once wherever it went; exactly once if it was answered; not at all if it is undeliverable."""

    name = "at most once"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._read: Counter[NodeId] = Counter()
        self._ran: Counter[str] = Counter()
        self._where: dict[str, str] = {}

    def check(self) -> None:
        for process in self.run.everybody:
            for _, message_id in process.ran[self._read[process.node_id] :]:
                self._ran[message_id] += 1
                if self._ran[message_id] > 1:
                    raise self.fail(f"{process.name} ran {message_id}, which ran at {self._where[message_id]}")
                self._where[message_id] = process.name
            self._read[process.node_id] = len(process.ran)

    def check_end(self) -> None:
        self.check()
        for process in self.run.everybody:
            for call in process.asked:
                self._check_call(process, call)

    def _check_call(self, caller: Process, call: AgentCall) -> None:
        outcome = call.outcomes[0] if call.outcomes else None
        where = self._where.get(call.message_id)
        if isinstance(outcome, f.Reply):
            if bytes(outcome.payload).decode() != f"{where} {call.text}":
                raise self.fail(f"{caller.name}'s {call} was answered {outcome}, and ran at {where}")
        elif outcome is Fate.UNDELIVERABLE and where is not None:
            raise self.fail(f"{caller.name}'s {call} is undeliverable, yet {where} ran it")


class HandlersEnd(Invariant):
    """No handler goes on whose caller is gone, has given up, or had no time left."""

    name = "handlers end"

    def check_end(self) -> None:
        for process in self.run.alive:
            if process.running:
                raise self.fail(f"{process.name} still handles {next(iter(process.running.values()))}")


class NoFailure(Invariant):
    """Under gentle faults a call is answered, unless its own deadline passes; and no event is given up."""

    name = "no failure under gentle faults"

    def check_end(self) -> None:
        if not self.run.gentle:
            return
        for process in self.run.everybody:
            for call in process.asked:
                if call.outcomes and name_of(call.outcomes[0]) not in FAIR_ENDS:
                    raise self.fail(f"{process.name}'s {call} ended as {call.outcomes[0]}")
            if process.dead:
                raise self.fail(f"{process.name} gave up events {process.dead[:3]}")
