"""Events: whom a topic reaches, and how an event gets there (SPEC.md section 8.5)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from autogen_core import AgentId, CancellationToken, MessageContext, TopicId
from autogen_core.exceptions import UndeliverableException

from zmqagents.config import RuntimeConfig
from zmqagents.errors import BackpressureError, DeliveryError, MessageTooLargeError
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.runtime.identities import agent_id, agent_key, check_text
from zmqagents.runtime.limits import check_size
from zmqagents.runtime.outbound import Outbound
from zmqagents.runtime.tasks import Tasks
from zmqagents.transport.driver import Driver

if TYPE_CHECKING:
    from zmqagents.runtime.parts import Parts

logger = logging.getLogger("zmqagents")

MAX_HOPS = 4  # SPEC.md section 8.2
MAX_CACHED_MATCHES = 10_000
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
        self._outbound = outbound
        self._agents = parts.agents
        self._handling = parts.handling
        self._payloads = parts.payloads
        self._subscriptions = parts.subscriptions
        self._telemetry = parts.telemetry
        self._on_dead_letter = parts.on_dead_letter
        self._tasks = tasks
        self._refresh_record = refresh_record
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
        here, elsewhere = self._by_home(keys, str(topic), message_id, type(message).__name__)
        events = {node_id: self._event(message, topic, sender, message_id, node_id) for node_id in elsewhere}
        carrier = self._telemetry.carrier()
        if here:
            if len(self._tasks) >= MAX_RUNNING:
                await self._wait_for_tasks()
            context = MessageContext(sender, topic, False, token or CancellationToken(), message_id)
            for key in here:
                self._tasks.spawn(self._handling.event(key, message, context, carrier))
        for node_id, node_keys in elsewhere.items():
            event = events[node_id]
            for start in range(0, len(node_keys), RECIPIENTS_IN_EVENT):
                chunk = event._replace(recipients=node_keys[start : start + RECIPIENTS_IN_EVENT])
                await self._send(node_id, chunk)

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
                answer = await self._outbound.operate(owner, f.Operation.MATCH, "", question, timeout_s=wait_s)
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

    def _by_home(
        self, keys: Iterable[AgentKey], topic: str, message_id: str, type_name: str
    ) -> tuple[list[AgentKey], dict[NodeId, list[AgentKey]]]:
        here: list[AgentKey] = []
        elsewhere: dict[NodeId, list[AgentKey]] = {}
        own = self._node.node_id
        home_of = self._outbound.known_home
        for key in keys:
            home = home_of(key)
            if home == own:
                here.append(key)
            elif home is None:
                self._dead(key, topic, message_id, type_name, "no process hosts its type")
            else:
                elsewhere.setdefault(home, []).append(key)
        return here, elsewhere

    def _event(self, message: Any, topic: TopicId, sender: AgentId | None, message_id: str, node_id: NodeId) -> f.Event:
        record = self._node.membership.get(node_id)
        type_name, content_type, payload = self._payloads.encode(message, record.readable if record else {})
        check_size(payload, self._config.max_message_bytes, record)
        check_text("the topic type", topic.type)
        check_text("the topic source", topic.source)
        check_text("the message id", message_id)
        if sender is not None:
            check_text("the sender's agent id", agent_key(sender))
        return f.Event(
            topic.type,
            topic.source,
            message_id,
            agent_key(sender) if sender is not None else None,
            [],
            type_name,
            content_type,
            0,
            self._telemetry.carrier(),
            payload,
        )

    async def _send(self, node_id: NodeId, event: f.Event) -> None:
        if not self._node.can_publish(node_id):
            await self._driver.wait_for_room(node_id, self._node.can_publish, self._config.send_timeout_s)
        record = self._node.membership.get(node_id)
        if record is None:
            self._redeliver_later([event])
            return
        check_size(event.payload, self._config.max_message_bytes, record)
        self._node.publish(node_id, event, self._driver.now_s)
        self._driver.schedule_flush()

    async def _wait_for_tasks(self) -> None:
        if not await self._driver.wait_until(lambda: len(self._tasks) < MAX_RUNNING, self._config.send_timeout_s):
            raise BackpressureError(
                f"{MAX_RUNNING:,} handlers have been running in this process for {self._config.send_timeout_s:g} s:"
                " publish less, or from fewer places at once"
            )

    # -- delivering what came in -------------------------------------------------------------------------------

    def deliver(self, peer: NodeId, number: int, event: f.Event) -> None:
        """Start the handlers of an event from ``peer``; it is told when they have ended."""
        here = [key for key in event.recipients if self._agents.hosts(key)]
        if len(here) < len(event.recipients):
            elsewhere = [key for key in event.recipients if key not in here]
            self._forward([event._replace(recipients=elsewhere)], "the processes disagree about its home")
        waiting = self._start(event, here)
        if not waiting:
            self._node.event_done(peer, number)
            self._driver.schedule_flush()
            return
        left = len(waiting)

        def one_ended(_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                self._node.event_done(peer, number)
                self._driver.schedule_flush()

        for task in waiting:
            task.add_done_callback(one_ended)

    def _start(self, event: f.Event, keys: list[AgentKey]) -> list[Any]:
        if not keys:
            return []
        try:
            topic = TopicId(event.topic_type, event.topic_source)
            sender = agent_id(event.sender) if event.sender is not None else None
            message = self._payloads.decode(event.type_name, event.content_type, event.payload)
        except ValueError as error:  # an id that AutoGen doesn't allow, or a SerializationError
            self._bury(event._replace(recipients=keys), str(error))
            return []
        context = MessageContext(sender, topic, False, CancellationToken(), event.message_id)
        return [self._tasks.spawn(self._handling.event(key, message, context, event.context)) for key in keys]

    def _forward(self, events: list[f.Event], reason: str) -> None:
        """Send events on to where their agents live now; ``reason`` is why they have not arrived yet."""
        movable = [event._replace(hops=event.hops + 1) for event in events if event.hops < MAX_HOPS]
        for event in events:
            if event.hops >= MAX_HOPS:
                self._bury(event, f"it was sent on too often: {reason}")
        self._redeliver_later(movable)

    def abandoned(self, events: list[f.Event]) -> None:
        """Unfinished events of a lost peer: they go to their recipients' next homes, with the same message ids.

        That, too, counts as a hop: an event that its receiver refuses as illegal would be sent for ever.
        """
        self._forward(events, "the link with its home was lost each time")

    def _redeliver_later(self, events: list[f.Event]) -> None:
        if events:
            self._tasks.spawn(self._redeliver(events))

    async def _redeliver(self, events: list[f.Event]) -> None:
        for event in events:
            topic = f"{event.topic_type}/{event.topic_source}"
            here, elsewhere = self._by_home(event.recipients, topic, event.message_id, event.type_name)
            self._start(event, here)
            for node_id, keys in elsewhere.items():
                try:
                    await self._send(node_id, event._replace(recipients=keys))
                except (BackpressureError, MessageTooLargeError) as error:
                    self._bury(event._replace(recipients=keys), str(error))

    # -- dead letters ------------------------------------------------------------------------------------------

    def _bury(self, event: f.Event, reason: str) -> None:
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
