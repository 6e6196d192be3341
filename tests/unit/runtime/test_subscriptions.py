"""Subscriptions as they stand in the record, and those that only their owner can evaluate."""

from __future__ import annotations

import pytest
from autogen_core import AgentId, DefaultSubscription, Subscription, TopicId, TypePrefixSubscription, TypeSubscription

from zmqagents.protocol.records import SubscriptionEntry, SubscriptionKind
from zmqagents.runtime.subscriptions import Subscriptions


class Own:
    """A user's own: topics whose source has a certain length."""

    def __init__(self, identity: str, length: int) -> None:
        self._identity = identity
        self.length = length

    @property
    def id(self) -> str:
        return self._identity

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own) and other.length == self.length

    def __hash__(self) -> int:
        return hash(self.length)

    def is_match(self, topic_id: TopicId) -> bool:
        if self.length < 0:
            raise ValueError("no such length")
        return len(topic_id.source) == self.length

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        return AgentId("worker", topic_id.source)


class Exact(TypeSubscription):
    """A subclass of AutoGen's may do anything."""

    def is_match(self, topic_id: TopicId) -> bool:
        return super().is_match(topic_id) and topic_id.source == "vip"


@pytest.mark.parametrize(
    ("subscription", "entry"),
    [
        (TypeSubscription("news", "worker"), SubscriptionEntry(SubscriptionKind.EXACT, "news", "worker")),
        (DefaultSubscription("news", "worker"), SubscriptionEntry(SubscriptionKind.EXACT, "news", "worker")),
        (TypePrefixSubscription("ne", "worker"), SubscriptionEntry(SubscriptionKind.PREFIX, "ne", "worker")),
        (Own("own", 3), SubscriptionEntry(SubscriptionKind.OPAQUE, "", "")),
        (Exact("news", "worker"), SubscriptionEntry(SubscriptionKind.OPAQUE, "", "")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_subscription_is_told_to_others_as_data_or_as_ask_me(
    subscription: Subscription, entry: SubscriptionEntry
) -> None:
    subscriptions = Subscriptions()
    subscriptions.add(subscription)
    assert subscriptions.entries() == {subscription.id: entry}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TypeSubscription("news", "worker"), TypeSubscription("news", "worker")),
        (TypeSubscription("news", "worker"), DefaultSubscription("news", "worker")),
        (TypePrefixSubscription("ne", "worker"), TypePrefixSubscription("ne", "worker")),
        (Own("a", 3), Own("b", 3)),
        (Own("a", 3), Own("a", 4)),
    ],
)
def test_subscription_equal_to_one_that_is_there_is_a_value_error(first: Subscription, second: Subscription) -> None:
    subscriptions = Subscriptions()
    subscriptions.add(first)
    with pytest.raises(ValueError, match="already exists"):
        subscriptions.add(second)


@pytest.mark.parametrize("subscription", [TypeSubscription("news", "worker"), Own("own", 3)])
def test_removed_subscription_may_be_added_again(subscription: Subscription) -> None:
    subscriptions = Subscriptions()
    subscriptions.add(subscription)
    subscriptions.remove(subscription.id)
    assert subscriptions.entries() == {}
    assert subscriptions.match(TopicId("news", "abc")) == []
    subscriptions.add(subscription)


def test_removing_what_is_not_there_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="does not exist"):
        Subscriptions().remove("nothing")


def test_match_asks_the_own_classes_only_and_gives_each_agent_once() -> None:
    subscriptions = Subscriptions()
    for subscription in (TypeSubscription("news", "other"), Own("a", 3), Own("b", 4), Exact("news", "worker")):
        subscriptions.add(subscription)
    assert subscriptions.match(TopicId("news", "vip")) == ["worker/vip"]
    assert subscriptions.match(TopicId("news", "else")) == ["worker/else"]
    assert subscriptions.match(TopicId("news", "nobody")) == []


def test_match_leaves_out_a_subscription_that_raises_and_logs_it(caplog: pytest.LogCaptureFixture) -> None:
    subscriptions = Subscriptions()
    subscriptions.add(Own("broken", -1))
    subscriptions.add(Own("own", 3))
    assert subscriptions.match(TopicId("news", "abc")) == ["worker/abc"]
    assert "subscription broken could not be evaluated" in caplog.text
