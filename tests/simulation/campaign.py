"""Many runs: on all cores, summed up in a table, and each failure with the command that replays it."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field

from tests.simulation.faults import Fault
from tests.simulation.world import Report, Scenario, run_seed


def executor(jobs: int) -> ProcessPoolExecutor:
    """Processes for ``run_all``. Spawned, not forked, so that threads of the caller do no harm."""
    return ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin)


def _begin() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the one that waits for us


def cores() -> int:
    """How many processes can work at a time."""
    return len(os.sched_getaffinity(0))


def run_all(scenarios: Iterable[Scenario], pool: ProcessPoolExecutor | None = None) -> Iterator[Report]:
    """Run them, here or in the pool; the reports come as they are made."""
    if pool is None:
        yield from map(run_seed, scenarios)
        return
    for future in as_completed([pool.submit(run_seed, scenario) for scenario in scenarios]):
        yield future.result()


@dataclass
class Summary:
    """What many runs were like."""

    runs: int = 0
    failures: list[Report] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    events: int = 0
    dead: int = 0
    moved: int = 0
    envelopes: int = 0
    virtual_s: float = 0.0
    converged_s: list[float] = field(default_factory=list)

    def add(self, report: Report) -> None:
        """Count one run in."""
        self.runs += 1
        self.faults += report.faults
        self.calls += report.calls
        self.outcomes += report.outcomes
        self.events += report.events
        self.dead += report.dead
        self.moved += report.moved
        self.envelopes += report.envelopes
        self.virtual_s += report.virtual_s
        if report.violation is not None:
            self.failures.append(report)
        else:
            self.converged_s.append(report.converged_s)

    def table(self) -> str:
        """For people."""
        rows = [
            ("runs", f"{self.runs:,}, {len(self.failures):,} of them with a violation"),
            ("virtual time", f"{self.virtual_s:,.0f} s, {self.envelopes:,} envelopes"),
            ("faults", self._counts(self.faults, [kind.value for kind in Fault])),
            ("calls", f"{self.calls:,}"),
            ("outcomes", self._counts(self.outcomes, sorted(self.outcomes))),
            ("events", f"{self.events:,}, {self.dead:,} of them given up"),
            ("agents", f"{self.moved:,} moves"),
        ]
        if self.converged_s:
            times = sorted(self.converged_s)
            middle, nearly_all = times[len(times) // 2], times[len(times) * 99 // 100]
            rows.append(
                ("all know all", f"after {middle:.2f} s (median), {nearly_all:.2f} s (99 %), {times[-1]:.2f} s (worst)")
            )
        return "\n".join(f"{name:<14}{text}" for name, text in rows)

    @staticmethod
    def _counts(counter: Counter[str], names: Iterable[str]) -> str:
        return ", ".join(f"{name} {counter[name]:,}" for name in names if counter[name]) or "none"


def explain(report: Report) -> str:
    """What went wrong, what happened before, and how to see it again."""
    if report.violation is None:
        raise ValueError(f"nothing went wrong with seed {report.scenario.seed}")
    invariant, text = report.violation
    return (
        f"seed {report.scenario.seed} breaks the invariant '{invariant}': {text}\n"
        f"last events:\n{report.story}\n"
        f"replay with: tools/simulate {report.scenario} --trace"
    )
