"""Random work under random faults; what is promised holds whatever happens. A seed that fails prints itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.simulation.network import Network
from tests.simulation.process import Call, Process, converged
from zmqagents.errors import WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.link import LinkLimits
from zmqagents.protocol.state import NodeLimits

SEEDS = range(40)
PORTS = ("p0", "p1", "p2", "p3")
AGENTS = [f"worker/{number}" for number in range(20)]
STEPS = 250
STEP_S = 0.04
QUIET_WITHIN_S = 40.0
FORGOTTEN_WITHIN_S = 6.0
EXPECTED_STRAYS = {WireCode.WRONG_NODE, WireCode.ILLEGAL_NOW}
"""What a process that comes to a dead one's port, or back from the dead, has to expect."""


class Soak:
    """Four ports, each with a process or without; two of the ports are everybody's seeds."""

    def __init__(self, seed: int) -> None:
        self.network = Network(seed, gossip_loss=0.05, slowest_s=(0.004, 0.15)[seed % 2])
        self.limits = NodeLimits(link=LinkLimits(window_frames=4, batch_frames=2)) if seed % 3 else None
        self.random = self.network.random
        self.everybody: list[Process] = []
        self.at_port: dict[str, Process] = {}
        self.calls: list[tuple[Process, NodeId, Call]] = []
        self.published: defaultdict[tuple[NodeId, NodeId], list[str]] = defaultdict(list)
        self.cancelled: set[int] = set()
        self.hindered: list[tuple[str, str]] = []
        for port in PORTS:
            self.start(port)

    @property
    def alive(self) -> list[Process]:
        return [process for process in self.everybody if process.alive]

    def start(self, port: str) -> None:
        name = f"{port}-{len(self.everybody)}"
        process = Process(self.network, name, port=port, types=["worker"], handler_s=0.02, limits=self.limits)
        self.everybody.append(process)
        self.at_port[port] = process
        process.seed(*PORTS[:2])

    # -- what happens ------------------------------------------------------------------------------------------

    def work(self, process: Process) -> None:
        others = [r.node_id for r in process.node.membership.live() if r.node_id != process.node_id]
        for target in others:
            if self.random.random() < 0.4:
                deadline_s = self.random.choice([None, None, 0.01, 2.0])
                call = process.call(target, f"t{len(self.calls)}", deadline_s=deadline_s)
                self.calls.append((process, target, call))
                if self.random.random() < 0.1:
                    self.network.after(self.random.uniform(0, 0.05), lambda call=call: self.cancel(process, call))  # type: ignore[misc]
            if self.random.random() < 0.4:
                message_id = f"{len(self.published[process.node_id, target]):06}"
                process.publish(target, message_id)
                self.published[process.node_id, target].append(message_id)

    def cancel(self, process: Process, call: Call) -> None:
        if process.alive and not call.outcomes:
            process.cancel(call)
            self.cancelled.add(id(call))

    def kill(self) -> None:
        self.random.choice(self.alive).kill()

    def leave(self) -> None:
        self.random.choice(self.alive).leave()

    def start_one(self) -> None:
        free = [port for port, process in self.at_port.items() if not process.alive]
        if free:
            self.start(self.random.choice(free))

    def blip(self) -> None:
        self.network.blip(*self.two())

    def cut(self) -> None:
        self.hinder(self.network.cut)

    def wall(self) -> None:
        self.hinder(self.network.wall)

    def mend(self) -> None:
        if self.hindered:
            self.network.mend(*self.hindered.pop(0))

    def freeze(self) -> None:
        self.random.choice(self.alive).freeze(self.random.uniform(0.1, 3.0))

    def change_record(self) -> None:
        self.random.choice(self.alive).change_record(["worker", f"type{self.random.randrange(5)}"])

    def bury(self) -> None:
        """Somebody takes somebody for dead, for no reason."""
        process = self.random.choice(self.alive)
        victim = self.random.choice(self.everybody).node_id
        if victim != process.node_id:
            process.do(lambda: process.node._bury(victim, self.network.now_s))

    def hinder(self, how: Callable[[str, str], None]) -> None:
        pair = self.two()
        how(*pair)
        self.hindered.append(pair)

    def two(self) -> tuple[str, str]:
        one, other = self.random.sample(self.everybody, 2)
        return one.name, other.name

    def run(self) -> None:
        rare = [self.kill, self.leave, self.cut, self.wall, self.freeze, self.bury]
        often = [self.start_one, self.blip, self.mend, self.change_record]
        for _ in range(STEPS):
            for process in self.alive:
                if self.random.random() < 0.5:
                    self.work(process)
            if self.alive and len(self.everybody) > 1 and self.random.random() < 0.2:
                self.random.choice([*rare, *often, *often, *often])()
            self.network.run(self.random.uniform(0, 2 * STEP_S))
        while self.hindered:
            self.mend()
        for port in PORTS[:2]:
            if not self.at_port[port].alive:
                self.start(port)
        self.network.run_until(self.is_quiet, within_s=QUIET_WITHIN_S)
        self.network.run(FORGOTTEN_WITHIN_S)
        assert self.is_quiet()

    def is_quiet(self) -> bool:
        return converged(self.alive) and all(
            len(process.node.pending) == process.node.unfinished_events == len(process.node.served) == 0
            for process in self.alive
        )

    # -- what must hold ----------------------------------------------------------------------------------------

    def check(self) -> None:
        by_id = {process.node_id: process for process in self.everybody}
        for caller, target, call in self.calls:
            self.check_call(caller, by_id[target], call)
        for (publisher, receiver), message_ids in self.published.items():
            self.check_events(by_id[publisher], by_id[receiver], message_ids)
        homes = {tuple(process.node.directory.home(agent) for agent in AGENTS) for process in self.alive}
        assert len(homes) == 1, "everybody looks for an agent at the same place"
        assert set(*homes) <= {process.node_id for process in self.alive}
        for process in self.alive:
            members = {record.node_id for record in process.node.membership.live()}
            assert process.node.state.peers.keys() <= members, "nothing is kept about who is no member"
            assert process.node.is_synchronised()
            assert {stray.code for stray in process.strays} <= EXPECTED_STRAYS
            assert process.refusals == []

    def check_call(self, caller: Process, target: Process, call: Call) -> None:
        executions = target.executed[caller.node_id, call.call_id]
        assert executions <= 1
        if id(call) in self.cancelled:
            assert call.outcomes == []
            return
        if not caller.alive:
            return
        assert call.outcome is not None
        if isinstance(call.outcome, f.Reply):
            assert call.outcome.payload.decode() == f"{target.name} {call.target}"
            assert executions == 1
        elif call.outcome is Fate.UNDELIVERABLE:
            assert executions == 0

    def check_events(self, publisher: Process, receiver: Process, message_ids: list[str]) -> None:
        heard = [message_id for peer, message_id in receiver.heard if peer == publisher.node_id]
        assert heard == sorted(set(heard)), "in order and each once"
        abandoned = {message_id for peer, message_id in publisher.abandoned if peer == receiver.node_id}
        if publisher.alive:
            assert set(message_ids) == set(heard) | abandoned, "heard, or handed back"


@pytest.mark.parametrize("seed", SEEDS)
def test_promises_hold_under_random_faults(seed: int) -> None:
    soak = Soak(seed)
    try:
        soak.run()
        soak.check()
    except AssertionError as error:
        raise AssertionError(f"seed {seed}: {error}") from error


def test_same_seed_gives_the_same_run() -> None:
    runs = [Soak(seed) for seed in (7, 7, 8)]
    for soak in runs:
        soak.run()
    one, again, other = (soak.network.fingerprint for soak in runs)
    assert one == again
    assert one != other


def test_network_at_rest_costs_no_envelopes() -> None:
    soak = Soak(3)
    soak.run()
    soak.network.run(10.0)
    envelopes = soak.network.envelopes
    soak.network.run(120.0)
    assert soak.network.envelopes - envelopes < 30
