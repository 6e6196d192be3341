"""An agent lives once, is found by everybody, and keeps its state as it moves."""

from __future__ import annotations

from collections import Counter

from tests.simulation.invariants.base import Invariant, is_keyed
from tests.simulation.process import Process
from zmqagents.protocol.ids import AgentKey, NodeId


class SingleHome(Invariant):
    """At rest each agent is active on one process at most, and it is there that everybody's calls are answered."""

    name = "single home"

    def check_end(self) -> None:
        homes: dict[AgentKey, Process] = {}
        for process in self.run.alive:
            for key in process.node.agency.active():
                if key in homes:
                    raise self.fail(f"{key} is active at {homes[key].name} and at {process.name}")
                homes[key] = process
        self._check_instances(homes)
        for process in self.run.alive:
            for key, home in homes.items():
                target = process.node.agency.locations.target(key)
                if target != home.node_id and not self._leads_to(home, key, target):
                    where = self.run.network.names.get(target or b"")
                    raise self.fail(f"{key} is at {home.name}, and {process.name} seeks it at {where}")

    def _leads_to(self, home: Process, key: AgentKey, target: NodeId | None) -> bool:
        """Whether the node sends what comes for the agent on to there.

        What a call has learned of a place may be overtaken by what an event has learned that went a longer way.
        """
        nodes = [process.node for process in self.run.alive if process.node_id == target]
        return any(
            node.directory.home(key) == target and node.agency.claims.entry(key) == home.node_id for node in nodes
        )

    def _check_instances(self, homes: dict[AgentKey, Process]) -> None:
        for process in self.run.alive:
            for key in process.agents:
                if is_keyed(key) and homes.get(key) is not process:
                    raise self.fail(f"{process.name} has an instance of {key}, which is not active there")


class StateKept(Invariant):
    """Where no process crashes and none is cut off, an agent has counted every message that was ever handled."""

    name = "state kept"

    def check_end(self) -> None:
        if not self.run.gentle:
            return
        handled: Counter[AgentKey] = Counter()
        for process in self.run.everybody:
            handled.update(key for key, _ in process.ran)
            handled.update(key for _, key, _ in process.hearings)
        for process in self.run.alive:
            for key, count in process.agents.items():
                if is_keyed(key) and count != handled[key]:
                    raise self.fail(f"{key} at {process.name} has counted {count} of {handled[key]} messages")
