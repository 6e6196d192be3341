"""Events across processes: whom they reach, in which order, and not twice."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import (
    AgentId,
    DefaultSubscription,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    Subscription,
    TopicId,
    TypePrefixSubscription,
    TypeSubscription,
    message_handler,
)

from tests.integration.agents import agent
from tests.integration.clusters import Cluster, eventually, node_of, within
from tests.integration.messages import Number, Text
from zmqagents import DeadLetter, ZmqAgentRuntime

pytestmark = pytest.mark.integration

EVENTS = 1_000


class Recorder(RoutedAgent):
    """Writes down what it hears, and from whom."""

    def __init__(self, log: list[tuple[str, object]]) -> None:
        super().__init__("records")
        self._log = log

    @message_handler
    async def on_heard(self, message: Text | Number, ctx: MessageContext) -> None:
        value = message.value if isinstance(message, Number) else message.content
        self._log.append((str(self.id), value))


class Publisher(RoutedAgent):
    """Publishes what it is told, to the topic type that it listens to itself."""

    def __init__(self) -> None:
        super().__init__("publishes")
        self.heard = 0

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        if ctx.is_rpc:
            await self.publish_message(Text("from " + str(self.id)), TopicId("news", "default"))
        else:
            self.heard += 1


class OnlyEven:
    """A user's own subscription: sources that are even numbers, all to one agent."""

    asked = 0

    def __init__(self, agent_type: str) -> None:
        self._agent_type = agent_type

    @property
    def id(self) -> str:
        return f"even-{self._agent_type}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, OnlyEven) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    def is_match(self, topic_id: TopicId) -> bool:
        type(self).asked += 1
        return topic_id.type == "numbers" and int(topic_id.source) % 2 == 0

    def map_to_agent(self, topic_id: TopicId) -> AgentId:
        return AgentId(self._agent_type, "even")


class Scene:
    """A process that hosts recorders and one that publishes, which knows their subscriptions."""

    def __init__(self, host: ZmqAgentRuntime, publisher: ZmqAgentRuntime) -> None:
        self.host, self.publisher = host, publisher
        self.log: list[tuple[str, object]] = []

    async def subscribe(self, subscription: Subscription) -> None:
        """Subscribe in the host, and return once the publisher knows."""
        await self.host.add_subscription(subscription)
        host_id = node_of(self.host).node_id
        await eventually(lambda: self._told(host_id, subscription.id))

    def _told(self, host_id: bytes, subscription_id: str) -> bool:
        record = node_of(self.publisher).membership.get(host_id)
        return record is not None and subscription_id in record.subscriptions

    async def publish(self, message: object, topic_type: str, source: str = "default") -> None:
        await within(self.publisher.publish_message(message, TopicId(topic_type, source)))

    async def heard(self, *expected: tuple[str, object]) -> None:
        """Wait until all is handled, and compare."""
        await within(self.publisher.stop_when_idle())
        assert self.log == list(expected)


@pytest.fixture
async def scene(cluster: Cluster) -> Scene:
    host, publisher = await cluster.pair()
    made = Scene(host, publisher)
    await Recorder.register(host, "recorder", lambda: Recorder(made.log), skip_direct_message_subscription=True)
    await within(publisher.wait_for_agents("recorder"))
    return made


async def test_thousand_events_of_one_publisher_arrive_in_their_order(scene: Scene) -> None:
    await scene.subscribe(TypeSubscription("news", "recorder"))
    for number in range(EVENTS):
        await scene.publisher.publish_message(Number(number), TopicId("news", "one"))
    await scene.heard(*(("recorder/one", number) for number in range(EVENTS)))


async def test_events_of_two_publishers_keep_the_order_of_each(scene: Scene, cluster: Cluster) -> None:
    await scene.subscribe(TypeSubscription("news", "recorder"))
    other = await cluster.host()

    async def publish(runtime: ZmqAgentRuntime, start: int) -> None:
        for number in range(start, start + 200):
            await runtime.publish_message(Number(number), TopicId("news", "one"))

    await within(asyncio.gather(publish(scene.publisher, 0), publish(other, 1_000)))
    await within(scene.publisher.stop_when_idle())
    await within(other.stop_when_idle())
    heard = [value for _, value in scene.log if isinstance(value, int)]
    assert [value for value in heard if value < 1_000] == list(range(200))
    assert [value for value in heard if value >= 1_000] == list(range(1_000, 1_200))


async def test_event_reaches_an_agent_once_though_several_subscriptions_lead_to_it(scene: Scene) -> None:
    await scene.subscribe(TypeSubscription("news", "recorder"))
    await scene.subscribe(TypePrefixSubscription("ne", "recorder"))
    await scene.publish(Text("hi"), "news")
    await scene.heard(("recorder/default", "hi"))


async def test_event_reaches_an_agent_once_though_two_processes_subscribe_it(scene: Scene, cluster: Cluster) -> None:
    await scene.subscribe(TypeSubscription("news", "recorder"))
    other = cluster.make()
    await other.add_subscription(TypeSubscription("news", "recorder"))
    await within(other.start())
    await within(other.publish_message(Text("hi"), TopicId("news", "default")))
    await within(other.stop_when_idle())
    await scene.heard(("recorder/default", "hi"))


async def test_prefix_subscription_matches_what_begins_with_it(scene: Scene) -> None:
    await scene.subscribe(TypePrefixSubscription("ne", "recorder"))
    await scene.publish(Text("yes"), "news")
    await scene.publish(Text("no"), "views")
    await scene.heard(("recorder/default", "yes"))


async def test_default_topic_reaches_default_subscriptions(scene: Scene) -> None:
    await scene.subscribe(DefaultSubscription(agent_type="recorder"))
    await within(scene.publisher.publish_message(Text("hi"), DefaultTopicId()))
    await within(scene.publisher.publish_message(Text("hi"), DefaultTopicId(source="other")))
    await scene.heard(("recorder/default", "hi"), ("recorder/other", "hi"))


async def test_direct_topic_of_a_remote_agent_reaches_it(cluster: Cluster) -> None:
    log: list[tuple[str, object]] = []
    host, publisher = await cluster.pair()
    await Recorder.register(host, "recorder", lambda: Recorder(log))
    await within(publisher.wait_for_agents("recorder"))
    await within(publisher.publish_message(Text("hi"), TopicId("recorder:", "k")))
    await within(publisher.stop_when_idle())
    assert log == [("recorder/k", "hi")]


async def test_subscription_of_a_users_own_class_is_evaluated_by_its_owner_once_a_topic(scene: Scene) -> None:
    OnlyEven.asked = 0
    await scene.subscribe(OnlyEven("recorder"))
    for number in (1, 2, 2, 2):
        await scene.publish(Number(number), "numbers", str(number))
    assert OnlyEven.asked == 2
    await scene.heard(*[("recorder/even", 2)] * 3)


async def test_owner_is_asked_again_once_its_subscriptions_have_changed(scene: Scene) -> None:
    OnlyEven.asked = 0
    await scene.subscribe(OnlyEven("recorder"))
    await scene.publish(Number(2), "numbers", "2")
    await scene.subscribe(TypeSubscription("other", "recorder"))
    await scene.publish(Number(2), "numbers", "2")
    assert OnlyEven.asked == 2
    await scene.heard(*[("recorder/even", 2)] * 2)


async def test_subscription_whose_class_raises_does_not_keep_the_event_from_others(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    await scene.subscribe(OnlyEven("recorder"))
    await scene.subscribe(TypeSubscription("numbers", "recorder"))
    await scene.publish(Text("hi"), "numbers", "not a number")
    await scene.heard(("recorder/not a number", "hi"))
    assert "even-recorder" in caplog.text


async def test_publisher_does_not_hear_itself_wherever_it_was_told_to_publish(cluster: Cluster) -> None:
    log: list[tuple[str, object]] = []
    host, caller = await cluster.pair(Publisher)
    await Recorder.register(caller, "recorder", lambda: Recorder(log))
    for agent_type in ("publisher", "recorder"):
        await caller.add_subscription(TypeSubscription("news", agent_type))
    await eventually(lambda: len(node_of(host).directory.agent_types("news")) == 2)
    await within(caller.send_message(Text("go"), agent("publisher")))
    await eventually(lambda: log == [("recorder/default", "from publisher/default")])
    publisher = await within(host.try_get_underlying_agent_instance(agent("publisher"), Publisher))
    assert publisher.heard == 0


async def test_event_of_a_named_sender_in_another_process_does_not_return_to_it(scene: Scene) -> None:
    await scene.subscribe(TypeSubscription("news", "recorder"))
    sender = AgentId("recorder", "default")
    await within(scene.publisher.publish_message(Text("hi"), TopicId("news", "default"), sender=sender))
    await within(scene.publisher.publish_message(Text("hi"), TopicId("news", "other"), sender=sender))
    await scene.heard(("recorder/other", "hi"))


async def test_event_for_a_type_that_nobody_hosts_is_a_dead_letter(cluster: Cluster) -> None:
    letters: list[DeadLetter] = []
    publisher = cluster.make(on_dead_letter=letters.append)
    await publisher.add_subscription(TypeSubscription("news", "nobody"))
    await within(publisher.start())
    await within(publisher.publish_message(Text("hi"), TopicId("news", "k"), message_id="m"))
    assert letters == [DeadLetter("nobody/k", "news/k", "m", "Text", "no process hosts its type")]
    assert publisher.dead_letters_count == 1


async def test_hook_for_dead_letters_that_raises_disturbs_nobody(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    def hook(letter: DeadLetter) -> None:
        raise ValueError("the hook's own fault")

    publisher = cluster.make(on_dead_letter=hook)
    await publisher.add_subscription(TypeSubscription("news", "nobody"))
    await within(publisher.start())
    await within(publisher.publish_message(Text("hi"), TopicId("news", "k")))
    assert "the hook's own fault" in caplog.text


async def test_recipients_are_found_anew_when_a_subscriber_has_come_or_a_host_has_gone(cluster: Cluster) -> None:
    logs: dict[str, list[tuple[str, object]]] = {"early": [], "late": [], "next home": []}

    async def listener(agent_type: str, log: str) -> ZmqAgentRuntime:
        runtime = cluster.make()
        await Recorder.register(runtime, agent_type, lambda: Recorder(logs[log]))
        await runtime.add_subscription(TypeSubscription("news", agent_type))
        await within(runtime.start())
        return runtime

    publisher = await cluster.host()
    early = await listener("early", "early")
    await within(publisher.wait_for_agents("early"))

    async def publish(text: str) -> None:
        await within(publisher.publish_message(Text(text), TopicId("news", "a")))

    await publish("one")
    await eventually(lambda: len(logs["early"]) == 1)
    await listener("late", "late")
    await within(publisher.wait_for_agents("late"))
    await publish("two")
    await eventually(lambda: len(logs["early"]) == 2 and len(logs["late"]) == 1)
    await listener("early", "next home")
    await within(publisher.wait_for_agents("early", 2))
    await within(early.stop())
    await publish("three")
    await eventually(lambda: len(logs["next home"]) == 1 and len(logs["late"]) == 2)
    assert logs["early"] == [("early/a", "one"), ("early/a", "two")]
