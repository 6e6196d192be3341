"""The subscriptions of this process, and how they stand in its record (SPEC.md sections 6.1 and 8.5).

AutoGen's own two kinds (exact topic type, prefix of it) are told to everybody as data. Any other class, a subclass of
those included, is told as "ask me" and evaluated here.
"""

from __future__ import annotations

import logging

from autogen_core import DefaultSubscription, Subscription, TopicId, TypePrefixSubscription, TypeSubscription

from zmqagents.protocol.ids import AgentKey
from zmqagents.protocol.records import SubscriptionEntry, SubscriptionKind
from zmqagents.runtime.identities import agent_key, check_text

logger = logging.getLogger("zmqagents")


class Subscriptions:
    """What agents here, or elsewhere on behalf of this process, are subscribed to."""

    def __init__(self) -> None:
        self._entries: dict[str, SubscriptionEntry] = {}
        self._known: dict[SubscriptionEntry, str] = {}
        self._opaque: dict[str, Subscription] = {}

    def add(self, subscription: Subscription) -> None:
        """ValueError, as AutoGen's, if an equal one exists."""
        identity = check_text("the subscription id", subscription.id)
        entry = _entry(subscription)
        opaque = entry.kind is SubscriptionKind.OPAQUE
        if identity in self._entries or (
            any(known == subscription for known in self._opaque.values()) if opaque else entry in self._known
        ):
            raise ValueError("Subscription already exists")
        self._entries[identity] = entry
        if opaque:
            self._opaque[identity] = subscription
        else:
            self._known[entry] = identity

    def remove(self, identity: str) -> None:
        """ValueError, as AutoGen's, if there is none of that id."""
        entry = self._entries.pop(identity, None)
        if entry is None:
            raise ValueError("Subscription does not exist")
        if self._opaque.pop(identity, None) is None:
            del self._known[entry]

    def entries(self) -> dict[str, SubscriptionEntry]:
        """Their form in the record, by id."""
        return dict(self._entries)

    def match(self, topic: TopicId) -> list[AgentKey]:
        """Where the subscriptions that only this process can evaluate send a topic, each agent once.

        One that raises is logged and left out: whoever publishes, perhaps in another process, can't help it.
        """
        found: dict[AgentKey, None] = {}
        for identity, subscription in self._opaque.items():
            try:
                if subscription.is_match(topic):
                    found[agent_key(subscription.map_to_agent(topic))] = None
            except Exception:
                logger.exception("subscription %s could not be evaluated for topic %s", identity, topic)
        return list(found)


def _entry(subscription: Subscription) -> SubscriptionEntry:
    kind = type(subscription)
    if kind is TypeSubscription or kind is DefaultSubscription:
        exact: TypeSubscription = subscription  # type: ignore[assignment]  # one of those two
        return _data(SubscriptionKind.EXACT, exact.topic_type, exact.agent_type)
    if kind is TypePrefixSubscription:
        prefix: TypePrefixSubscription = subscription  # type: ignore[assignment]  # that one
        return _data(SubscriptionKind.PREFIX, prefix.topic_type_prefix, prefix.agent_type)
    return SubscriptionEntry(SubscriptionKind.OPAQUE, "", "")


def _data(kind: SubscriptionKind, match: str, agent_type: str) -> SubscriptionEntry:
    return SubscriptionEntry(kind, check_text("the topic type", match), check_text("the agent type", agent_type))
