"""The parts of a runtime, by how long they live: the ones of its whole life, and the ones from start to stop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from autogen_core import AgentRuntime, InterventionHandler
from opentelemetry.trace import TracerProvider

from zmqagents.config import RuntimeConfig
from zmqagents.errors import LocalProtocolError
from zmqagents.runtime.activation import Agents
from zmqagents.runtime.cluster import Cluster
from zmqagents.runtime.event_log import EventLog
from zmqagents.runtime.failures import ExceptionRegistry
from zmqagents.runtime.handling import Handling
from zmqagents.runtime.inbound import Inbound
from zmqagents.runtime.interventions import Interventions
from zmqagents.runtime.outbound import Outbound
from zmqagents.runtime.policies import ConflictLog, hosted_type
from zmqagents.runtime.publishing import DeadLetter, Publishing
from zmqagents.runtime.serialization import PayloadRegistry
from zmqagents.runtime.subscriptions import Subscriptions
from zmqagents.runtime.tasks import Tasks
from zmqagents.runtime.telemetry import Telemetry

logger = logging.getLogger("zmqagents")


class Parts:
    """What a runtime keeps across start and stop: what has been registered with it."""

    def __init__(
        self,
        runtime: AgentRuntime,
        *,
        intervention_handlers: Sequence[InterventionHandler] | None,
        tracer_provider: TracerProvider | None,
        exceptions: Iterable[type[BaseException]],
        on_dead_letter: Callable[[DeadLetter], None] | None,
        unhandled: Callable[[BaseException], None],
    ) -> None:
        self.payloads = PayloadRegistry()
        self.log = EventLog(self.payloads)
        self.telemetry = Telemetry(tracer_provider)
        self.interventions = Interventions(intervention_handlers, self.telemetry)
        self.agents = Agents(runtime, self.log)
        self.subscriptions = Subscriptions()
        self.exceptions = ExceptionRegistry(exceptions)
        self.on_dead_letter = on_dead_letter
        self.handling = Handling(self.agents, self.log, self.telemetry, self.interventions, unhandled)


class Running:
    """What exists from start to stop."""

    def __init__(self, config: RuntimeConfig, parts: Parts) -> None:
        self._config = config
        self._parts = parts
        self.cluster = Cluster(config)
        self.driver = self.cluster.driver
        self.node = self.driver.node
        self.tasks = Tasks(self.driver.changed)
        self.outbound = Outbound(config, self.driver, parts, self.tasks, self.refresh_record)
        self.publishing = Publishing(config, self.driver, parts, self.outbound, self.tasks, self.refresh_record)
        self.inbound = Inbound(config, self.driver, parts, self.publishing, self.tasks)
        self._conflicts = ConflictLog(self.node)
        self._record_stale = True
        self.driver.before_flush = self._tell_what_changed
        parts.payloads.on_change = self.record_changed

    def record_changed(self) -> None:
        """What this process hosts, subscribes to or can read has changed; it is told with the next flush."""
        self._record_stale = self.driver.record_stale = True
        self.driver.schedule_flush()

    def refresh_record(self) -> None:
        """Bring our published record up to date, if it isn't."""
        if not self._record_stale:
            return
        self._record_stale = False
        parts = self._parts
        self.node.publish_record(
            replace(
                self.node.record,
                types={
                    agent_type: hosted_type(self._config, agent_type, cls, parts.payloads.name_of)
                    for agent_type, cls in parts.agents.factory_classes.items()
                },
                pinned=frozenset(parts.agents.pinned),
                subscriptions=parts.subscriptions.entries(),
                readable=parts.payloads.readable(),
            )
        )

    def _tell_what_changed(self) -> None:
        """As ``refresh_record``, where nobody can be told of an error, and what is to be sent must not wait for it."""
        try:
            self.refresh_record()
        except (ValueError, LocalProtocolError):  # a name, or all of them together, that a record can't hold
            logger.exception("the others don't learn what was registered here last: it can't be published")
        self._conflicts.look()

    def is_idle(self) -> bool:
        """Whether no handler runs here, and whatever this process sent has been answered or finished."""
        return not self.tasks and not self.node.unfinished_events and not self.node.pending
