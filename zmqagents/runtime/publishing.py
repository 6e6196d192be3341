"""Events: whom a topic reaches, and how an event gets there (SPEC.md section 8.5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autogen_core import AgentId, CancellationToken, MessageContext, TopicId

from zmqagents.config import RuntimeConfig
from zmqagents.errors import BackpressureError
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.runtime.identities import agent_id, agent_key, check_text
from zmqagents.runtime.limits import check_size
from zmqagents.runtime.outbound import Outbound
from zmqagents.runtime.recipients import RecipientFinder
from zmqagents.runtime.tasks import Tasks
from zmqagents.runtime.turns import Turns
from zmqagents.transport.driver import Driver

if TYPE_CHECKING:
    from zmqagents.runtime.parts import Parts

logger = logging.getLogger("zmqagents")

BURST = 64  # events that a publisher sends before others have their turn, and what it has sent leaves
MAX_CACHED_TOPICS = 10_000
MAX_RUNNING = 16_384  # handlers at once in this process; a publisher waits for room beyond it


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that did not reach an agent."""

    recipient: str
    """``type/key`` of the agent it was for."""
    topic: str
    """``type/source``."""
    message_id: str
    type_name: str
    reason: str


class Publishing:
    """Publishes events for one running runtime, and delivers events that came in."""

    def __init__(
        self,
        config: RuntimeConfig,
        driver: Driver,
        parts: Parts,
        outbound: Outbound,
        tasks: Tasks,
        refresh_record: Callable[[], None],
    ) -> None:
        self._config = config
        self._driver = driver
        self._node = driver.node
        self._arrivals = driver.node.agency.arrivals
        self._recipients = RecipientFinder(config, driver.node, parts, outbound)
        self._handling = parts.handling
        self._payloads = parts.payloads
        self._telemetry = parts.telemetry
        self._on_dead_letter = parts.on_dead_letter
        self._tasks = tasks
        self._refresh_record = refresh_record
        self._burst = 0
        self._turns = Turns(driver, config.send_timeout_s, self._deliver)
        self._topics: dict[tuple[str, str], TopicId] = {}
        self.dead_letters = 0

    # -- publishing --------------------------------------------------------------------------------------------

    async def publish(
        self, message: Any, topic: TopicId, sender: AgentId | None, token: CancellationToken | None, message_id: str
    ) -> None:
        """Send an event to every agent subscribed to its topic, but its sender; returns when it is on its way.

        Raises SerializationError or MessageTooLargeError before anything is sent, and BackpressureError for a peer
        that takes no more.
        """
        self._refresh_record()
        recipients = self._recipients.known(topic, sender) or await self._recipients.find(topic, sender)
        for key, reason in recipients.dead:
            self._dead(key, str(topic), message_id, type(message).__name__, reason)
        here, elsewhere = recipients.here, recipients.elsewhere
        events = self._events(message, topic, sender, message_id, elsewhere) if elsewhere else []
        carrier = self._telemetry.carrier()
        if here:
            if len(self._tasks) >= MAX_RUNNING:
                await self._wait_for_tasks()
            context = MessageContext(sender, topic, False, token or CancellationToken(), message_id)
            for key in self._still_here(here, message, topic, sender, message_id):
                self._start(self._node.node_id, 0, key, message, context, carrier)
        # Those that take it at once first: a receiver that is stuck must not keep it from the others.
        late: list[tuple[NodeId, f.Event]] = []
        for node_id, event in events:
            if self._turns.are_due(node_id):
                late.append((node_id, event))
            else:
                self._deliver(event)
        if elsewhere:
            self._driver.message_made(urgent=False)
        if late:
            await self._turns.wait(late)
        if elsewhere:
            self._burst += 1
            if self._burst >= BURST:
                self._burst = 0
                await asyncio.sleep(0)

    def _still_here(
        self, keys: list[AgentKey], message: Any, topic: TopicId, sender: AgentId | None, message_id: str
    ) -> Iterator[AgentKey]:
        """Those agents that take an event now; to the others, which are about to move, it goes by way of the node."""
        for key in keys:
            if self._arrivals.enter_event(key, self._driver.now_s):
                yield key
            else:
                own = self._node.node_id
                [(_, event)] = self._events(message, topic, sender, message_id, [(own, [key])])
                self._node.deliver(event, self._driver.now_s)
                self._driver.perform()

    def _start(
        self, peer: NodeId, receipt: int, key: AgentKey, message: Any, context: MessageContext, carrier: f.Context
    ) -> None:
        number = self._tasks.number()
        self._tasks.start(number, self._handle(number, peer, receipt, key, message, context, carrier))

    async def _handle(  # noqa: PLR0917 - an object for each event would cost more than it tells
        self,
        number: int,
        peer: NodeId,
        receipt: int,
        key: AgentKey,
        message: Any,
        context: MessageContext,
        carrier: f.Context,
    ) -> None:
        """One agent handles one event; the node is told when it has."""
        try:
            await self._handling.event(key, message, context, carrier)
        finally:
            self._tasks.end(number)
            self._node.event_done(peer, receipt, [key])
            if self._node.state.effects:
                self._driver.perform()
            else:
                self._driver.schedule_flush()

    async def recipients(self, topic: TopicId) -> list[AgentKey]:
        """Whom an event on the topic would go to now, leaving out agents that nobody can make."""
        self._refresh_record()
        found = await self._recipients.find(topic, None)
        return [*found.here, *(key for _, keys in found.elsewhere for key in keys)]

    def _events(
        self,
        message: Any,
        topic: TopicId,
        sender: AgentId | None,
        message_id: str,
        places: list[tuple[NodeId, list[AgentKey]]],
    ) -> list[tuple[NodeId, f.Event]]:
        """The event for each place. It is encoded once for all that read the same content types."""
        check_text("the message id", message_id)
        sender_key = check_text("the sender's agent id", agent_key(sender)) if sender is not None else None
        name = self._payloads.name_of_message(message)
        carrier = self._telemetry.carrier()
        tails: dict[tuple[str, ...] | None, tuple[Any, ...]] = {}
        events: list[tuple[NodeId, f.Event]] = []
        for node_id, keys in places:
            record = self._node.membership.get(node_id)
            readable = record.readable if record is not None else {}
            tail = tails.get(readable.get(name))
            if tail is None:
                type_name, content_type, payload = self._payloads.encode(message, readable)
                tail = tails[readable.get(name)] = (type_name, content_type, 0, carrier, payload)
            check_size(tail[-1], self._config.max_message_bytes, record)
            events.append((node_id, f.Event(topic.type, topic.source, message_id, sender_key, keys, *tail)))
        return events

    def _deliver(self, event: f.Event) -> None:
        self._node.deliver(event, self._driver.now_s)
        if self._node.state.effects:
            self._driver.perform()
        else:
            self._driver.schedule_flush()

    async def _wait_for_tasks(self) -> None:
        if not await self._driver.wait_until(lambda: len(self._tasks) < MAX_RUNNING, self._config.send_timeout_s):
            raise BackpressureError(
                f"{MAX_RUNNING:,} handlers have been running in this process for {self._config.send_timeout_s:g} s:"
                " publish less, or from fewer places at once"
            )

    # -- delivering what came in -------------------------------------------------------------------------------

    def deliver(self, peer: NodeId, number: int, event: f.Event) -> None:
        """Start the handlers of an event whose recipients are here; the node is told as each ends."""
        try:
            topic = self._topic(event.topic_type, event.topic_source)
            sender = agent_id(event.sender) if event.sender is not None else None
            message = self._payloads.decode(event.type_name, event.content_type, event.payload)
        except ValueError as error:  # an id that AutoGen doesn't allow, or a SerializationError
            self.bury(event, str(error))
            self._node.event_done(peer, number, event.recipients)
            self._driver.schedule_flush()
            return
        context = MessageContext(sender, topic, False, CancellationToken(), event.message_id)
        for key in event.recipients:
            self._start(peer, number, key, message, context, event.context)

    def _topic(self, topic_type: str, source: str) -> TopicId:
        """The TopicId, without AutoGen's check of its type each time. ValueError if AutoGen allows no such type."""
        topic = self._topics.get((topic_type, source))
        if topic is None:
            if len(self._topics) >= MAX_CACHED_TOPICS:
                self._topics.clear()
            topic = self._topics[topic_type, source] = TopicId(topic_type, source)
        return topic

    # -- dead letters ------------------------------------------------------------------------------------------

    def bury(self, event: f.Event, reason: str) -> None:
        """The event does not reach these recipients: count and tell."""
        topic = f"{event.topic_type}/{event.topic_source}"
        for key in event.recipients:
            self._dead(key, topic, event.message_id, event.type_name, reason)

    def _dead(self, key: AgentKey, topic: str, message_id: str, type_name: str, reason: str) -> None:
        self.dead_letters += 1
        logger.warning("an event %s on %s did not reach %s: %s", type_name, topic, key, reason)
        if self._on_dead_letter is None:
            return
        try:
            self._on_dead_letter(DeadLetter(key, topic, message_id, type_name, reason))
        except Exception:
            logger.exception("the dead-letter hook raised")
