"""Whom a topic reaches, and where they are: found once, and kept until anything that it depends on has changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from autogen_core import AgentId, TopicId
from autogen_core.exceptions import UndeliverableException

from zmqagents.config import RuntimeConfig
from zmqagents.errors import DeliveryError
from zmqagents.protocol import frames as f
from zmqagents.protocol.directory import PolicyConflict
from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of
from zmqagents.protocol.node import Node
from zmqagents.runtime.identities import agent_key, check_text
from zmqagents.runtime.outbound import Outbound
from zmqagents.runtime.policies import conflict_text

if TYPE_CHECKING:
    from zmqagents.runtime.parts import Parts

logger = logging.getLogger("zmqagents")

MAX_CACHED = 10_000  # topics
RECIPIENTS_IN_EVENT = 128  # at most 4 KiB of UTF-8 each, so that the header stays below its bound of 1 MiB

_Versions: TypeAlias = tuple[int, int]


class Recipients(NamedTuple):
    """The agents that an event goes to."""

    versions: _Versions
    """Of what this was found from."""
    keys: frozenset[AgentKey]
    here: list[AgentKey]
    elsewhere: list[tuple[NodeId, list[AgentKey]]]
    """By node, as many at once as an event has room for."""
    dead: list[tuple[AgentKey, str]]
    """Those that can't be reached, and why."""


class RecipientFinder:
    """Finds the recipients of topics for one running runtime."""

    def __init__(self, config: RuntimeConfig, node: Node, parts: Parts, outbound: Outbound) -> None:
        self._config = config
        self._node = node
        self._directory = node.directory
        self._locations = node.agency.locations
        self._subscriptions = parts.subscriptions
        self._outbound = outbound
        self._found: dict[tuple[str, str, AgentKey | None], Recipients] = {}
        self._matches: dict[tuple[str, str], tuple[int, list[AgentKey]]] = {}

    def known(self, topic: TopicId, sender: AgentId | None) -> Recipients | None:
        """What ``find`` would give, if it has been found before and nothing has changed."""
        found = self._found.get((topic.type, topic.source, None))
        if found is None or found.versions != (self._directory.version, self._locations.version):
            return None
        if sender is None or (own := agent_key(sender)) not in found.keys:
            return found
        found = self._found.get((topic.type, topic.source, own))
        return found if found is None or found.versions == self._versions() else None

    async def find(self, topic: TopicId, sender: AgentId | None) -> Recipients:
        """Every agent subscribed to the topic, but its sender. SerializationError if the topic can't be sent."""
        check_text("the topic type", topic.type)
        check_text("the topic source", topic.source)
        keys = await self._subscribed(topic)
        found = self._keep(topic, None, keys)
        if sender is not None and (own := agent_key(sender)) in keys:
            return self._keep(topic, own, [key for key in keys if key != own])
        return found

    def _versions(self) -> _Versions:
        return self._directory.version, self._locations.version

    def _keep(self, topic: TopicId, without: AgentKey | None, keys: list[AgentKey]) -> Recipients:
        found = self._by_place(keys)
        known = self._locations.known
        # What each message decides anew is not kept: a host where any will do, somebody else's subscriptions.
        if not found.dead and not self._directory.opaque_owners and all(known(key) is not None for key in keys):
            if len(self._found) >= MAX_CACHED:
                self._found.clear()
            self._found[topic.type, topic.source, without] = found
        return found

    def _by_place(self, keys: Iterable[AgentKey]) -> Recipients:
        here: list[AgentKey] = []
        dead: list[tuple[AgentKey, str]] = []
        places: dict[NodeId, list[AgentKey]] = {}
        conflicting = self._directory.conflicting
        for key in keys:
            policy = self._directory.policy(agent_type_of(key)) if conflicting else None
            if isinstance(policy, PolicyConflict):
                dead.append((key, conflict_text(policy, self._node.label)))
                continue
            node_id = self._locations.target(key)
            if node_id == self._node.node_id:
                here.append(key)
            elif node_id is None:
                dead.append((key, "no process hosts its type"))
            else:
                places.setdefault(node_id, []).append(key)
        elsewhere = [
            (node_id, at[start : start + RECIPIENTS_IN_EVENT])
            for node_id, at in places.items()
            for start in range(0, len(at), RECIPIENTS_IN_EVENT)
        ]
        return Recipients(self._versions(), frozenset(keys), here, elsewhere, dead)

    # -- subscriptions -----------------------------------------------------------------------------------------

    async def _subscribed(self, topic: TopicId) -> list[AgentKey]:
        keys = [f"{agent_type}/{topic.source}" for agent_type in self._directory.agent_types(topic.type)]
        if self._directory.opaque_owners:
            keys = list(dict.fromkeys([*keys, *await self._matched(topic)]))
        return keys

    async def _matched(self, topic: TopicId) -> list[AgentKey]:
        """What the subscriptions say that only their owners can evaluate."""
        version = self._directory.version
        known = self._matches.get((topic.type, topic.source))
        if known is not None and known[0] == version:
            return known[1]
        found: dict[AgentKey, None] = {}
        complete = True
        for owner in list(self._directory.opaque_owners):
            answer = await self._ask(owner, topic)
            complete = complete and answer is not None
            found.update(dict.fromkeys(answer or ()))
        keys = list(found)
        if complete and version == self._directory.version:
            if len(self._matches) >= MAX_CACHED:
                self._matches.clear()
            self._matches[topic.type, topic.source] = (version, keys)
        return keys

    async def _ask(self, owner: NodeId, topic: TopicId) -> list[AgentKey] | None:
        """What one owner's subscriptions say; None, and a line in the log, if it can't be asked now."""
        if owner == self._node.node_id:
            return list(self._subscriptions.match(topic))
        wait_s = self._config.call_timeout_s or self._config.send_timeout_s
        question = [topic.type, topic.source]
        try:
            answer = await self._outbound.ask_node(owner, f.Operation.MATCH, question, wait_s)
        except (DeliveryError, UndeliverableException) as error:
            logger.warning("%s could not be asked for its subscriptions: %s", self._node.label(owner), error)
            return None
        if not isinstance(answer, list):
            logger.warning("%s gave no list of agents for its subscriptions", self._node.label(owner))
            return []
        return list(map(str, answer))
