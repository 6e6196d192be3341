"""Events: whom a topic reaches, and how an event gets there (SPEC.md section 8.5)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autogen_core import AgentId, CancellationToken, MessageContext, TopicId
from autogen_core.exceptions import UndeliverableException

from zmqagents.config import RuntimeConfig
from zmqagents.errors import BackpressureError, DeliveryError
from zmqagents.protocol import frames as f
from zmqagents.protocol.directory import PolicyConflict
from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of
from zmqagents.runtime.identities import agent_id, agent_key, check_text
from zmqagents.runtime.limits import check_size
from zmqagents.runtime.outbound import Outbound
from zmqagents.runtime.policies import conflict_text
from zmqagents.runtime.tasks import Tasks
from zmqagents.transport.driver import Driver

if TYPE_CHECKING:
    from zmqagents.runtime.parts import Parts

logger = logging.getLogger("zmqagents")

BURST = 64  # events that a publisher sends before others have their turn, and what it has sent leaves
MAX_CACHED_MATCHES = 10_000
MAX_CACHED_TOPICS = 10_000
RECIPIENTS_IN_EVENT = 128  # at most 4 KiB of UTF-8 each, so that the header stays below its bound of 1 MiB
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


def _parts(event: f.Event, keys: list[AgentKey]) -> Iterator[f.Event]:
    """The event for these recipients, as many to a part as a header has room for."""
    for start in range(0, len(keys), RECIPIENTS_IN_EVENT):
        yield f.Event._make((*event[:4], keys[start : start + RECIPIENTS_IN_EVENT], *event[5:]))


class _Turn:
    """The events that wait for room at one node, in the order in which they came."""

    __slots__ = ("lock", "waiting")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.waiting = 0


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
        self._outbound = outbound
        self._handling = parts.handling
        self._payloads = parts.payloads
        self._subscriptions = parts.subscriptions
        self._telemetry = parts.telemetry
        self._on_dead_letter = parts.on_dead_letter
        self._tasks = tasks
        self._refresh_record = refresh_record
        self._burst = 0
        self._turns: dict[NodeId, _Turn] = {}
        self._topics: dict[tuple[str, str], TopicId] = {}
        self._matches: dict[tuple[str, str], tuple[int, list[AgentKey]]] = {}
        self.dead_letters = 0

    # -- publishing --------------------------------------------------------------------------------------------

    async def publish(
        self, message: Any, topic: TopicId, sender: AgentId | None, token: CancellationToken | None, message_id: str
    ) -> None:
        """Send an event to every agent subscribed to its topic, but its sender; returns when it is on its way.

        Raises SerializationError or MessageTooLargeError before anything is sent, and BackpressureError for a peer
        that takes no more.
        """
        keys = await self._recipients(topic, sender)
        here, elsewhere = self._by_place(keys, str(topic), message_id, type(message).__name__)
        events = self._events(message, topic, sender, message_id, elsewhere) if elsewhere else {}
        carrier = self._telemetry.carrier()
        if here:
            if len(self._tasks) >= MAX_RUNNING:
                await self._wait_for_tasks()
            context = MessageContext(sender, topic, False, token or CancellationToken(), message_id)
            for key in self._still_here(here, message, topic, sender, message_id):
                self._start(self._node.node_id, 0, key, message, context, carrier)
        # Those that take it at once first: a receiver that is stuck must not keep it from the others.
        stuck = [node_id for node_id in elsewhere if self._is_stuck(node_id)]
        for node_id, event in events.items():
            if node_id not in stuck:
                for part in _parts(event, elsewhere[node_id]):
                    self._deliver(part)
        for node_id in stuck:
            for part in _parts(events[node_id], elsewhere[node_id]):
                await self._send(node_id, part)
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
                event = self._events(message, topic, sender, message_id, [own])[own]
                self._node.deliver(event._replace(recipients=[key]), self._driver.now_s)
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

    def _is_stuck(self, node_id: NodeId) -> bool:
        return node_id in self._turns or not self._node.can_publish(node_id)

    async def recipients(self, topic: TopicId) -> list[AgentKey]:
        """Whom an event on the topic would go to now, leaving out types that nobody hosts."""
        return [key for key in await self._recipients(topic, None) if self._node.agency.locations.target(key)]

    async def _recipients(self, topic: TopicId, sender: AgentId | None) -> list[AgentKey]:
        self._refresh_record()
        source = topic.source
        keys = [f"{agent_type}/{source}" for agent_type in self._node.directory.agent_types(topic.type)]
        if self._node.directory.opaque_owners:
            keys = list(dict.fromkeys([*keys, *await self._matched(topic)]))
        if sender is not None:
            own = agent_key(sender)
            if own in keys:
                keys.remove(own)
        return keys

    async def _matched(self, topic: TopicId) -> list[AgentKey]:
        """What the subscriptions say that only their owners can evaluate."""
        version = self._node.directory.version
        known = self._matches.get((topic.type, topic.source))
        if known is not None and known[0] == version:
            return known[1]
        found: dict[AgentKey, None] = {}
        complete = True
        for owner in list(self._node.directory.opaque_owners):
            if owner == self._node.node_id:
                found.update(dict.fromkeys(self._subscriptions.match(topic)))
                continue
            wait_s = self._config.call_timeout_s or self._config.send_timeout_s
            question = [topic.type, topic.source]
            try:
                answer = await self._outbound.ask_node(owner, f.Operation.MATCH, question, wait_s)
            except (DeliveryError, UndeliverableException) as error:
                complete = False
                logger.warning("%s could not be asked for its subscriptions: %s", self._node.label(owner), error)
                continue
            if isinstance(answer, list):
                found.update(dict.fromkeys(map(str, answer)))
            else:
                logger.warning("%s gave no list of agents for its subscriptions", self._node.label(owner))
        keys = list(found)
        if complete and version == self._node.directory.version:
            if len(self._matches) >= MAX_CACHED_MATCHES:
                self._matches.clear()
            self._matches[topic.type, topic.source] = (version, keys)
        return keys

    def _by_place(
        self, keys: Iterable[AgentKey], topic: str, message_id: str, type_name: str
    ) -> tuple[list[AgentKey], dict[NodeId, list[AgentKey]]]:
        here: list[AgentKey] = []
        elsewhere: dict[NodeId, list[AgentKey]] = {}
        own = self._node.node_id
        target_of = self._node.agency.locations.target
        conflicting = self._node.directory.conflicting
        for key in keys:
            policy = self._node.directory.policy(agent_type_of(key)) if conflicting else None
            if isinstance(policy, PolicyConflict):
                self._dead(key, topic, message_id, type_name, conflict_text(policy, self._node.label))
                continue
            node_id = target_of(key)
            if node_id == own:
                here.append(key)
            elif node_id is None:
                self._dead(key, topic, message_id, type_name, "no process hosts its type")
            else:
                elsewhere.setdefault(node_id, []).append(key)
        return here, elsewhere

    def _events(
        self, message: Any, topic: TopicId, sender: AgentId | None, message_id: str, node_ids: Iterable[NodeId]
    ) -> dict[NodeId, f.Event]:
        """The event for each node, without recipients. Nodes that read the same content types share one."""
        check_text("the topic type", topic.type)
        check_text("the topic source", topic.source)
        check_text("the message id", message_id)
        sender_key = check_text("the sender's agent id", agent_key(sender)) if sender is not None else None
        name = self._payloads.name_of_message(message)
        carrier = self._telemetry.carrier()
        made: dict[tuple[str, ...] | None, f.Event] = {}
        events: dict[NodeId, f.Event] = {}
        for node_id in node_ids:
            record = self._node.membership.get(node_id)
            readable = record.readable if record is not None else {}
            event = made.get(readable.get(name))
            if event is None:
                encoded = self._payloads.encode(message, readable)
                event = f.Event(
                    topic.type, topic.source, message_id, sender_key, [], *encoded[:2], 0, carrier, encoded[2]
                )
                made[readable.get(name)] = event
            check_size(event.payload, self._config.max_message_bytes, record)
            events[node_id] = event
        return events

    async def _send(self, node_id: NodeId, event: f.Event) -> None:
        """Send an event once the node has room for it; whoever waits for that has its turn before later ones."""
        turn = self._turns.get(node_id)
        if turn is not None or not self._node.can_publish(node_id):
            turn = self._turns.setdefault(node_id, _Turn())
            turn.waiting += 1
            try:
                async with turn.lock:
                    timeout_s = self._config.send_timeout_s
                    await self._driver.wait_for_room(node_id, self._node.can_publish, timeout_s)
                    self._deliver(event)
            finally:
                turn.waiting -= 1
                if not turn.waiting:
                    del self._turns[node_id]
            return
        self._deliver(event)

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
