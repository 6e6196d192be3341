"""A whole run: processes at ports, random work under random faults, then healing, and what must hold all along."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import combinations

from tests.simulation.application import SLOW, STUCK
from tests.simulation.application import name_of as end_of
from tests.simulation.faults import ALL, GENTLE, LIVES, MOVES, Fault, Faults, name_of
from tests.simulation.forwarders import Forwarder
from tests.simulation.invariants import ALWAYS, BrokenInvariantError, is_keyed
from tests.simulation.network import Network
from tests.simulation.process import Process, converged
from zmqagents.protocol import frames as f
from zmqagents.protocol.events import EventLimits
from zmqagents.protocol.ids import AgentKey, make_node_id
from zmqagents.protocol.link import LinkLimits
from zmqagents.protocol.placement import Policy
from zmqagents.protocol.records import HostedType
from zmqagents.protocol.state import NodeLimits

STEP_S = 0.05
CHANCES = 4  # to call and to publish, of each process in each step
LOOK_EVERY = 4
"""Steps between two looks at what must hold at every moment (memory: every step)."""
CONVERGED_WITHIN_S = 20.0
QUIET_WITHIN_S = 30.0
ANSWERED_WITHIN_S = 3.0
LAST_TRIES = 2
FORGOTTEN_AFTER_S = 6.0
SEEDS = 2  # how many of the ports everybody is told of, where it is not all of them
AGENTS = [
    *(f"worker/{number}" for number in range(10)),
    *(f"mover/{number}" for number in range(5)),
    *(f"any/{number}" for number in range(2)),
]
POLICIES = {"worker": Policy.BY_KEY, "mover": Policy.REBALANCE, "any": Policy.LEAST_LOADED}
WEIGHTS = (1, 1, 2)
SMALL_WINDOWS = NodeLimits(link=LinkLimits(window_frames=4, batch_frames=2), events=EventLimits(window_events=8))


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
    dead: int = 0
    """Events that were given up, one for each recipient."""
    moved: int = 0
    """Agents that went from one process to another."""
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
        self.agents = AGENTS
        self.random = self.network.random
        self.everybody: list[Process] = []
        self.at_place: dict[str, Process] = {}
        self.converged_s = 0.0
        self._places = [f"p{number}" for number in range(scenario.nodes)]
        self._wall_offsets = {place: self.random.uniform(-1, 1) for place in self._places}
        self._limits = SMALL_WINDOWS if self.random.random() < 0.5 else None
        self._faults = Faults(self, scenario.faults)
        self._busyness = self.random.choice((0.03, 0.1, 0.25))
        """How probable it is that a process calls another in a step."""
        self.invariants = [kind(self) for kind in ALWAYS]
        # Where no call may fail, somebody has to be there who tells a newcomer of the others.
        self._seeds = scenario.nodes if self.gentle else self.random.choice((SEEDS, scenario.nodes))
        self.forwarders: dict[str, Forwarder] = {}
        if Fault.FORWARDER in scenario.faults:
            self._set_apart()
        for place in self._places:
            self.start(place)

    def _set_apart(self) -> None:
        """Two forwarders, and many processes that can't reach each other directly."""
        self.forwarders = {place: Forwarder(self.network, place) for place in ("f1", "f2")}
        self._seeds = 0
        share = self.random.choice((0.3, 0.6, 1.0))
        for one, other in combinations(self._places, 2):
            if self.random.random() < share:
                self.network.part(one, other, refuses=self.random.random() < 0.5)

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.at_place.values() if process.alive]

    @property
    def gentle(self) -> bool:
        """Whether no call and no event may fail."""
        faults = self.scenario.faults - {Fault.FORWARDER}
        return faults <= GENTLE or faults <= MOVES

    @property
    def kills_only(self) -> bool:
        """Whether nobody who lives may be taken for dead."""
        return self.scenario.faults - {Fault.FORWARDER} <= LIVES

    def start(self, place: str) -> Process:
        """A new life at ``place``."""
        process = Process(
            self.network,
            f"{place}.{len(self.everybody)}",
            port=place,
            hosted=self._hosted(),
            joining=True,
            handler_s=0.02,
            limits=self._limits,
            label=place,
            identity=make_node_id(self.random.randbytes(16)),
            clock=self._faults.clock(self._wall_offsets[place]),
        )
        self.network.note(f"{process.name} is {process.node_id.hex()}")
        self.everybody.append(process)
        self.at_place[place] = process
        process.seed(*self._places[: self._seeds])
        process.attach(*self.forwarders)
        return process

    def _hosted(self, *more: str) -> dict[str, HostedType]:
        hosted = {name: HostedType(policy.value, self.random.choice(WEIGHTS)) for name, policy in POLICIES.items()}
        return hosted | {name: HostedType(Policy.BY_KEY.value, 1) for name in more}

    # -- a run -------------------------------------------------------------------------------------------------

    def run(self) -> Report:
        """Run it, and say what it was like; an invariant that doesn't hold is part of the report."""
        report = Report(scenario=self.scenario)
        try:
            self._live()
        except BrokenInvariantError as violation:
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
                if process.is_active and not process.is_held_up:
                    self._work(process)
            network.run(STEP_S)
            self._look(thorough=number % LOOK_EVERY == 0)
        network.run(max(0.0, self._faults.over_at_s - network.now_s) + STEP_S)
        self._faults.end()
        healed_s = network.now_s
        self._come_to("all know all again", self.is_converged, CONVERGED_WITHIN_S)
        self.converged_s = network.now_s - healed_s
        self._come_to("all is quiet", self.is_quiet, QUIET_WITHIN_S)
        network.run(FORGOTTEN_AFTER_S)
        self._last_calls()
        for invariant in self.invariants:
            invariant.check_end()

    def _come_to(self, what: str, condition: Callable[[], bool], within_s: float) -> None:
        end_s = self.network.now_s + within_s
        while not condition():
            if self.network.now_s >= end_s:
                raise BrokenInvariantError(what, f"not within {within_s:g} s; {self._state()}")
            self.network.run(STEP_S)
            self._look(thorough=True)

    def _look(self, *, thorough: bool) -> None:
        for invariant in self.invariants:
            if thorough or invariant.cheap:
                invariant.check()

    def is_converged(self) -> bool:
        """Whether those alive are full members, and know one another and nobody else."""
        return all(process.is_active for process in self.alive) and converged(self.alive)

    def is_quiet(self) -> bool:
        """Whether nobody waits for anything."""
        return self.is_converged() and all(
            len(process.node.pending) == process.node.unfinished_events == len(process.node.served) == 0
            and not process.open_calls()
            and process.node.agency.is_empty
            for process in self.alive
        )

    def _state(self) -> str:
        return "; ".join(
            f"{one.name} ({one.node.record.phase.name.lower()}) knows"
            f" {[self.network.names[record.node_id] for record in one.node.membership.live()]},"
            f" waits for {[str(call) for call in one.open_calls()[:3]]} and {one.node.unfinished_events} events,"
            f" serves {len(one.node.served)}, holds for {list(one.node.agency.residents.holding)[:3]}"
            for one in self.alive
        )

    # -- work --------------------------------------------------------------------------------------------------

    def _work(self, process: Process) -> None:
        for _ in range(CHANCES):
            if self.random.random() < self._busyness:
                self._ask(process, self.random.choice(AGENTS))
            if self.random.random() < self._busyness:
                recipients = self.random.sample(AGENTS, self.random.choice((1, 1, 3)))
                process.tell(recipients, SLOW if self.random.random() < 0.05 else "e")
        if self.random.random() < 0.01:
            types = self._hosted(f"type{self.random.randrange(5)}") if self.random.random() < 0.3 else None
            process.change_record_to(types)

    def _ask(self, process: Process, key: AgentKey) -> None:
        kind = self.random.random()
        deadline_s = self.random.choice((None, None, 0.01, 2.0))
        text, cancelled_after_s = "call", None
        if kind < 0.03:
            text, deadline_s = STUCK, self.random.uniform(0.1, 2.0)
        elif kind < 0.06:
            text, deadline_s, cancelled_after_s = STUCK, None, self.random.uniform(0.1, 2.0)
        elif kind < 0.12:
            cancelled_after_s = self.random.uniform(0, 0.1)
        elif kind < 0.2:
            text = SLOW
        call = process.ask(key, text, deadline_s=deadline_s)
        if cancelled_after_s is not None:
            process.after(cancelled_after_s, lambda: process.give_up(call))

    def _last_calls(self) -> None:
        """Now that all is well, everybody calls every agent and is answered; soon, if a link's other end was lost."""
        left = [(one, key) for one in self.alive for key in AGENTS]
        where: dict[AgentKey, f.Part] = {}
        for _ in range(LAST_TRIES):
            calls = [one.ask(key, "last") for one, key in left]
            for one, key in left:
                one.tell([key], "last")
            self._come_to("everybody is answered", lambda: not any(call.is_open for call in calls), ANSWERED_WITHIN_S)  # noqa: B023
            for call in calls:
                answer = call.outcomes[0]
                if not isinstance(answer, f.Reply) or not is_keyed(call.key):
                    continue
                if where.setdefault(call.key, answer.payload) != answer.payload:
                    text = f"{call.key} answers as {where[call.key]!r} and {answer.payload!r}"
                    raise BrokenInvariantError("single home", text)
            left = [(call.process, call.key) for call in calls if not isinstance(call.outcomes[0], f.Reply)]
            self._come_to("all is quiet", self.is_quiet, ANSWERED_WITHIN_S)
        if left:
            raise BrokenInvariantError("everybody is answered", ", ".join(f"{one.name} for {key}" for one, key in left))

    # -- the report --------------------------------------------------------------------------------------------

    def _complete(self, report: Report) -> Report:
        report.fingerprint = self.network.fingerprint
        report.faults = self.network.caused
        report.converged_s = self.converged_s
        report.envelopes = self.network.envelopes
        report.virtual_s = self.network.now_s - 1_000.0
        for process in self.everybody:
            report.calls += len(process.asked)
            report.events += len(process.published)
            report.dead += len(process.dead)
            report.moved += len(process.evicted)
            for call in process.asked:
                open_ = "open" if process.alive else "caller died"
                end = end_of(call.outcomes[0]) if call.outcomes else "given up" if call.cancelled else open_
                report.outcomes[end] += 1
        return report


def _place_of(error: BaseException) -> str:
    """Where the exception was raised."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    return f" ({last.tb_frame.f_code.co_filename.rpartition('/')[2]}:{last.tb_lineno})" if last is not None else ""


def run_seed(scenario: Scenario) -> Report:
    """One run."""
    return World(scenario).run()
