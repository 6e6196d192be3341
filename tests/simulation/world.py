"""A whole run: processes at ports, random work under random faults, then healing, and what must hold all along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.faults import ALL, GENTLE, LIVES, Fault, Faults, name_of
from tests.simulation.invariants import ALWAYS, Violation
from tests.simulation.network import Network
from tests.simulation.process import SLOW, STUCK, Call, Process, converged
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import NodeId, make_node_id
from zmqagents.protocol.link import LinkLimits
from zmqagents.protocol.state import NodeLimits

STEP_S = 0.05
LOOK_EVERY = 4
"""Steps between two looks at what must hold at every moment (memory: every step)."""
CONVERGED_WITHIN_S = 20.0
QUIET_WITHIN_S = 30.0
ANSWERED_WITHIN_S = 3.0
LAST_TRIES = 2
FORGOTTEN_AFTER_S = 6.0
SEEDS = 2  # how many of the ports everybody is told of
SMALL_WINDOW = LinkLimits(window_frames=4, batch_frames=2)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """All that a run depends on."""

    seed: int
    nodes: int = 5
    seconds: float = 8.0
    """How long there are work and faults, in virtual time; healing comes after."""
    faults: frozenset[Fault] = ALL

    def __str__(self) -> str:
        """The arguments of tools/simulate for this run."""
        return f"--nodes {self.nodes} --seconds {self.seconds:g} --faults {name_of(self.faults)} --seed {self.seed}"


@dataclass(kw_only=True)
class Report:
    """What a run was like."""

    scenario: Scenario
    violation: tuple[str, str] | None = None
    """The invariant that doesn't hold, and why."""
    story: str = ""
    """The last things that happened before that."""
    fingerprint: str = ""
    faults: Counter[str] = field(default_factory=Counter)
    calls: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    events: int = 0
    handed_back: int = 0
    converged_s: float = 0.0
    """From the end of the last fault until all knew all."""
    envelopes: int = 0
    virtual_s: float = 0.0


class World:
    """Places, each with a process or without; some of them are everybody's seeds."""

    def __init__(self, scenario: Scenario, tracer: Callable[[str], None] | None = None) -> None:
        self.scenario = scenario
        self.network = Network(scenario.seed)
        self.network.tracer = tracer
        self.random = self.network.random
        self.everybody: list[Process] = []
        self.at_place: dict[str, Process] = {}
        self.converged_s = 0.0
        self._places = [f"p{number}" for number in range(scenario.nodes)]
        self._wall_offsets = {place: self.random.uniform(-1, 1) for place in self._places}
        self._limits = NodeLimits(link=SMALL_WINDOW) if self.random.random() < 0.5 else None
        self._faults = Faults(self, scenario.faults)
        self._busyness = self.random.choice((0.03, 0.1, 0.25))
        """How probable it is that a process calls another in a step."""
        self.invariants = [kind(self) for kind in ALWAYS]
        for place in self._places:
            self.start(place)

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.at_place.values() if process.alive]

    @property
    def gentle(self) -> bool:
        """Whether no call and no event may fail."""
        return self.scenario.faults <= GENTLE

    @property
    def kills_only(self) -> bool:
        """Whether nobody who lives may be taken for dead."""
        return self.scenario.faults <= LIVES

    def start(self, place: str) -> Process:
        """A new life at ``place``."""
        process = Process(
            self.network,
            f"{place}.{len(self.everybody)}",
            port=place,
            types=["worker"],
            handler_s=0.02,
            limits=self._limits,
            label=place,
            identity=make_node_id(self.random.randbytes(16)),
            clock=self._faults.clock(self._wall_offsets[place]),
        )
        self.network.note(f"{process.name} is {process.node_id.hex()}")
        self.everybody.append(process)
        self.at_place[place] = process
        process.seed(*self._places[:SEEDS])
        return process

    # -- a run -------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run it, and say what it was like; an invariant that doesn't hold is part of the report."""
        report = Report(scenario=self.scenario)
        try:
            self._live()
        except Violation as violation:
            report.violation = (violation.invariant, violation.text)
        except AssertionError as error:
            report.violation = ("comes to an end", str(error).partition("\n")[0])
        except Exception as error:  # noqa: BLE001  # whatever the core raises is a finding, to be reported with its seed
            report.violation = ("raises nothing", f"{type(error).__name__}: {error}{_place_of(error)}")
        if report.violation is not None:
            report.story = self.network.story()
        return self._complete(report)

    def _live(self) -> None:
        network = self.network
        self._come_to("all know all at the start", self.is_converged, CONVERGED_WITHIN_S)
        for number in range(round(self.scenario.seconds / STEP_S)):
            self._faults.step(STEP_S)
            for process in self.alive:
                if not process.is_held_up:
                    self._work(process)
            network.run(STEP_S)
            self._look(thorough=number % LOOK_EVERY == 0)
        network.run(max(0.0, self._faults.over_at_s - network.now_s) + STEP_S)
        self._faults.end()
        healed_s = network.now_s
        self._come_to("all know all again", self.is_converged, CONVERGED_WITHIN_S)
        self.converged_s = network.now_s - healed_s
        self._come_to("all is quiet", self.is_quiet, QUIET_WITHIN_S)
        self._last_calls()
        network.run(FORGOTTEN_AFTER_S)
        for invariant in self.invariants:
            invariant.check_end()

    def _come_to(self, what: str, condition: Callable[[], bool], within_s: float) -> None:
        end_s = self.network.now_s + within_s
        while not condition():
            if self.network.now_s >= end_s:
                raise Violation(what, f"not within {within_s:g} s; {self._state()}")
            self.network.run(STEP_S)
            self._look(thorough=True)

    def _look(self, *, thorough: bool) -> None:
        for invariant in self.invariants:
            if thorough or invariant.cheap:
                invariant.check()

    def is_converged(self) -> bool:
        """Whether those alive know one another and nobody else."""
        return converged(self.alive)

    def is_quiet(self) -> bool:
        """Whether nobody waits for anything."""
        return self.is_converged() and all(
            len(process.node.pending) == process.node.unfinished_events == len(process.node.served) == 0
            for process in self.alive
        )

    def _state(self) -> str:
        known = "; ".join(
            f"{one.name} knows {sorted(record.node_id.hex()[:6] for record in one.node.membership.live())}"
            f", waits for {len(one.node.pending)} calls and {one.node.unfinished_events} events"
            f", serves {len(one.node.served)}"
            for one in self.alive
        )
        return known + "; " + ", ".join(f"{one.name} is {one.node_id.hex()[:6]}" for one in self.alive)

    # -- work --------------------------------------------------------------------------------------------------

    def _work(self, process: Process) -> None:
        others = [record.node_id for record in process.node.membership.live() if record.node_id != process.node_id]
        for target in others:
            if self.random.random() < self._busyness and process.node.can_send(target):
                self._call(process, target)
            if self.random.random() < self._busyness and process.node.can_publish(target):
                prefix = SLOW if self.random.random() < 0.05 else "e"
                process.publish(target, f"{prefix}{len(process.published)}")
        if self.random.random() < 0.01:
            process.change_record(["worker", f"type{self.random.randrange(5)}"])

    def _call(self, process: Process, target: NodeId) -> None:
        kind = self.random.random()
        deadline_s = self.random.choice((None, None, 0.01, 2.0))
        text = "call"
        if kind < 0.05:
            text, deadline_s = STUCK, self.random.uniform(0.1, 2.0)
        elif kind < 0.15:
            text = SLOW
        call = process.call(target, text, deadline_s=deadline_s)
        if self.random.random() < 0.1:
            self.network.after(self.random.uniform(0, 0.1), lambda: self._cancel(process, call))

    def _cancel(self, process: Process, call: Call) -> None:
        if process.alive and not process.is_held_up and not call.outcomes:
            process.cancel(call)

    def _last_calls(self) -> None:
        """Now that all is well, everybody calls everybody and is answered; soon, if a link's other end was lost."""
        ways = [(one, other) for one in self.alive for other in self.alive if one is not other]
        for _ in range(LAST_TRIES):
            calls = [(one, other, one.call(other, "last")) for one, other in ways]
            for one, other in ways:
                one.publish(other, f"last{len(one.published)}")
            ended = lambda: all(call.outcomes for _, _, call in calls)  # noqa: B023, E731
            self._come_to("everybody answers everybody", ended, ANSWERED_WITHIN_S)
            ways = [(one, other) for one, other, call in calls if not isinstance(call.outcomes[0], f.Reply)]
            self._come_to("all is quiet", self.is_quiet, ANSWERED_WITHIN_S)
        if ways:
            raise Violation("everybody answers everybody", ", ".join(f"{one.name} {other.name}" for one, other in ways))

    # -- the report --------------------------------------------------------------------------------------------

    def _complete(self, report: Report) -> Report:
        report.fingerprint = self.network.fingerprint
        report.faults = self.network.caused
        report.converged_s = self.converged_s
        report.envelopes = self.network.envelopes
        report.virtual_s = self.network.now_s - 1_000.0
        for process in self.everybody:
            report.calls += len(process.calls)
            report.events += len(process.published)
            report.handed_back += len(process.abandoned)
            for call in process.calls:
                report.outcomes[_name_of(process, call)] += 1
        return report


def _name_of(process: Process, call: Call) -> str:
    if call.outcomes:
        outcome = call.outcomes[0]
        return outcome.name.lower() if not isinstance(outcome, tuple) else type(outcome).__name__.lower()
    if call.cancelled:
        return "cancelled"
    return "open" if process.alive else "caller died"


def _place_of(error: BaseException) -> str:
    """Where the exception was raised."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f" ({last.tb_frame.f_code.co_filename.rpartition('/')[2]}:{last.tb_lineno})" if last is not None else ""


def run_seed(scenario: Scenario) -> Report:
    """One run."""
    return World(scenario).run()
