"""Every call ends exactly once, runs at most once, and its handler ends with it."""

from __future__ import annotations

from tests.simulation.invariants.base import Invariant
from tests.simulation.process import Call, Process
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Fate

LATE_S = 0.5  # a deadline is noticed with the next tick


class OneOutcome(Invariant):
    """Exactly one outcome for each call whose caller lives, and none for one that was given up."""

    name = "one outcome"

    def check(self) -> None:
        now_s = self.run.network.now_s
        for process in self.run.alive:
            for call in process.open_calls():
                late = call.deadline_s is not None and call.begun_s + call.deadline_s + LATE_S < now_s
                if late and not process.was_held_up(call.begun_s):
                    raise self.fail(f"{process.name}'s call {call.call_id} goes on past its deadline")

    def check_end(self) -> None:
        for process in self.run.everybody:
            for call in process.calls:
                wanted = (0,) if call.cancelled else (1,) if process.alive else (0, 1)
                if len(call.outcomes) not in wanted:
                    raise self.fail(f"{process.name}'s call {call.call_id} has the outcomes {call.outcomes}")


class Executed(Invariant):
    """At most once; exactly once if it was answered; not at all if it is said to be undeliverable."""

    name = "at most once"

    def check(self) -> None:
        for process in self.run.everybody:
            if process.repeated:
                raise self.fail(f"{process.name} ran {process.repeated} more than once")

    def check_end(self) -> None:
        self.check()
        by_id = {process.node_id: process for process in self.run.everybody}
        for caller in self.run.everybody:
            for call in caller.calls:
                self._check_call(caller, by_id[call.peer], call)

    def _check_call(self, caller: Process, target: Process, call: Call) -> None:
        executions = target.executed[caller.node_id, call.call_id]
        outcome = call.outcomes[0] if call.outcomes else None
        if isinstance(outcome, f.Reply):
            if executions != 1 or outcome.payload.decode() != f"{target.name} {call.target}":
                raise self.fail(f"{caller.name}'s call {call.call_id}: {executions} executions, answered {outcome}")
        elif outcome is Fate.UNDELIVERABLE and executions:
            raise self.fail(f"{caller.name}'s call {call.call_id} is undeliverable, yet {target.name} ran it")


class HandlersEnd(Invariant):
    """No handler goes on whose caller is gone, has given up, or had no time left."""

    name = "handlers end"

    def check_end(self) -> None:
        for process in self.run.alive:
            if process.running:
                raise self.fail(f"{process.name} still handles {list(process.running)[:3]}")


class NoFailure(Invariant):
    """Under gentle faults a call is answered, unless its own deadline passes."""

    name = "no failure under gentle faults"

    def check_end(self) -> None:
        if not self.run.gentle:
            return
        for process in self.run.everybody:
            for call in process.calls:
                if call.outcomes and not isinstance(call.outcomes[0], f.Reply | f.Error):
                    if call.outcomes[0] is not Fate.DEADLINE:
                        raise self.fail(f"{process.name}'s call {call.call_id} ended as {call.outcomes[0]}")
            if process.abandoned:
                raise self.fail(f"{process.name} was handed back events {process.abandoned[:3]}")
