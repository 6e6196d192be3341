"""Adding and removing subscriptions of every kind."""

from __future__ import annotations

import pytest
from autogen_core import (
    AgentId,
    DefaultSubscription,
    DefaultTopicId,
    Subscription,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
)
from autogen_core.exceptions import CantHandleException

from .agents import Recorder
from .bench import Bench
from .messages import Received, Text


class TenantSubscription(Subscription):
    """A user's own: the topic's source is "tenant/user", and each tenant has one agent."""

    def __init__(self, topic_suffix: str, agent_type: str) -> None:
        self._topic_suffix = topic_suffix
        self._agent_type = agent_type

    @property
    def id(self) -> str:
        return f"tenant-{self._topic_suffix}-{self._agent_type}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TenantSubscription) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def is_match(self, topic_id: TopicId) -> bool:
        return topic_id.type.endswith(self._topic_suffix) and "/" in topic_id.source

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        if not self.is_match(topic_id):
            raise CantHandleException("not a topic of a tenant")
        return AgentId(self._agent_type, topic_id.source.partition("/")[0])


async def received_from(bench: Bench, *topics: TopicId, log: list[Received]) -> list[str]:
    """Start, publish one event to each topic, and tell who got one."""
    await bench.start("rec")
    for topic in topics:
        await bench.publish(Text(str(topic)), topic)
    await bench.idle()
    return [f"{seen.agent} < {seen.message.content}" for seen in log]


@pytest.fixture
async def recorder(bench: Bench, log: list[Received]) -> str:
    """The type of a recorder without subscriptions."""
    await Recorder.register(bench.host, "rec", lambda: Recorder(log), skip_direct_message_subscription=True)
    return "rec"


async def test_type_subscription_matches_its_topic_type_only(bench: Bench, recorder: str, log: list[Received]) -> None:
    await bench.host.add_subscription(TypeSubscription("news", recorder))
    topics = (TopicId("news", "a"), TopicId("newsletter", "a"), TopicId("new", "a"))
    assert await received_from(bench, *topics, log=log) == ["rec/a < news/a"]


async def test_prefix_subscription_matches_every_topic_type_that_starts_so(
    bench: Bench, recorder: str, log: list[Received]
) -> None:
    await bench.host.add_subscription(TypePrefixSubscription("news", recorder))
    topics = (TopicId("news", "a"), TopicId("newsletter", "b"), TopicId("new", "c"), TopicId("old-news", "d"))
    assert await received_from(bench, *topics, log=log) == ["rec/a < news/a", "rec/b < newsletter/b"]


async def test_default_subscription_may_name_topic_and_agent_type(
    bench: Bench, recorder: str, log: list[Received]
) -> None:
    await bench.host.add_subscription(DefaultSubscription("news", recorder))
    topics = (TopicId("news", "a"), DefaultTopicId())
    assert await received_from(bench, *topics, log=log) == ["rec/a < news/a"]


async def test_default_subscription_without_an_agent_type_needs_a_registration_around_it(bench: Bench) -> None:
    with pytest.raises(CantHandleException, match=r"within the subscription callback in AgentRuntime\.register"):
        await bench.host.add_subscription(DefaultSubscription())


async def test_subscription_class_of_the_user_decides_by_itself(
    bench: Bench, recorder: str, log: list[Received]
) -> None:
    await bench.host.add_subscription(TenantSubscription("-orders", recorder))
    topics = (TopicId("new-orders", "acme/ann"), TopicId("new-orders", "acme/bob"), TopicId("new-orders", "nobody"))
    assert await received_from(bench, *topics, log=log) == [
        "rec/acme < new-orders/acme/ann",
        "rec/acme < new-orders/acme/bob",
    ]


async def test_subscription_added_after_a_topic_was_used_counts_from_then_on(
    bench: Bench, recorder: str, log: list[Received]
) -> None:
    await bench.start("rec")
    await bench.publish(Text("before"), TopicId("news", "a"))
    await bench.idle()
    await bench.host.add_subscription(TypeSubscription("news", recorder))
    assert await received_from(bench, TopicId("news", "a"), log=log) == ["rec/a < news/a"]


async def test_removed_subscription_gets_nothing(bench: Bench, recorder: str, log: list[Received]) -> None:
    gone, kept = TypeSubscription("news", recorder), TypeSubscription("other", recorder)
    await bench.host.add_subscription(gone)
    await bench.host.add_subscription(kept)
    await bench.host.remove_subscription(gone.id)
    topics = (TopicId("news", "a"), TopicId("other", "a"))
    assert await received_from(bench, *topics, log=log) == ["rec/a < other/a"]


async def test_subscription_removed_after_a_topic_was_used_gets_nothing_more(
    bench: Bench, recorder: str, log: list[Received]
) -> None:
    subscription = TypeSubscription("news", recorder)
    await bench.host.add_subscription(subscription)
    assert len(await received_from(bench, TopicId("news", "a"), log=log)) == 1
    await bench.host.remove_subscription(subscription.id)
    assert len(await received_from(bench, TopicId("news", "a"), log=log)) == 1


async def test_removing_an_unknown_subscription_is_a_value_error(bench: Bench) -> None:
    with pytest.raises(ValueError, match=r"^Subscription does not exist$"):
        await bench.host.remove_subscription("no-such-id")


async def test_removed_subscription_may_be_added_again(bench: Bench, recorder: str, log: list[Received]) -> None:
    subscription = TypeSubscription("news", recorder)
    await bench.host.add_subscription(subscription)
    await bench.host.remove_subscription(subscription.id)
    await bench.host.add_subscription(subscription)
    assert await received_from(bench, TopicId("news", "a"), log=log) == ["rec/a < news/a"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (TypeSubscription("news", "rec"), TypeSubscription("news", "rec")),
        (TypeSubscription("news", "rec", id="same"), TypeSubscription("other", "rec", id="same")),
        (TypePrefixSubscription("news", "rec"), TypePrefixSubscription("news", "rec")),
        (DefaultSubscription("news", "rec"), TypeSubscription("news", "rec")),
        (TenantSubscription("-orders", "rec"), TenantSubscription("-orders", "rec")),
    ],
    ids=["type", "id", "prefix", "default", "own"],
)
async def test_equal_subscription_is_a_value_error(
    bench: Bench, recorder: str, first: Subscription, second: Subscription
) -> None:
    await bench.host.add_subscription(first)
    with pytest.raises(ValueError, match=r"^Subscription already exists$"):
        await bench.host.add_subscription(second)


async def test_type_and_prefix_subscription_of_one_text_are_not_equal(bench: Bench, recorder: str) -> None:
    await bench.host.add_subscription(TypeSubscription("news", recorder))
    await bench.host.add_subscription(TypePrefixSubscription("news", recorder))


async def test_agent_that_two_subscriptions_match_gets_the_event_once(
    bench: Bench, recorder: str, log: list[Received]
) -> None:
    """The oracle delivers once for each matching subscription; ours once for each agent."""
    await bench.host.add_subscription(TypeSubscription("news", recorder))
    await bench.host.add_subscription(TypePrefixSubscription("ne", recorder))
    times = 2 if bench.kind == "autogen" else 1
    assert await received_from(bench, TopicId("news", "a"), log=log) == ["rec/a < news/a"] * times


async def test_subscription_may_name_a_type_before_it_is_registered(bench: Bench, log: list[Received]) -> None:
    await bench.host.add_subscription(TypeSubscription("news", "rec"))
    await Recorder.register(bench.host, "rec", lambda: Recorder(log))
    assert await received_from(bench, TopicId("news", "a"), log=log) == ["rec/a < news/a"]


async def test_event_for_a_type_that_nobody_registers_does_not_disturb_the_others(
    bench: Bench, recorder: str, log: list[Received]
) -> None:
    await bench.host.add_subscription(TypeSubscription("news", recorder))
    await bench.host.add_subscription(TypeSubscription("old", "nobody"))
    topics = (TopicId("old", "a"), TopicId("news", "a"))
    assert await received_from(bench, *topics, log=log) == ["rec/a < news/a"]
