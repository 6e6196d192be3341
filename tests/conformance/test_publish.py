"""Publishing: who gets an event, how often, and in which order."""

from __future__ import annotations

import asyncio

from autogen_core import (
    AgentId,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    TopicId,
    default_subscription,
    event,
    type_subscription,
)

from .agents import Recorder
from .bench import Bench, within
from .messages import Number, Received, Text


@default_subscription
class DefaultRecorder(Recorder):
    """Subscribed to the default topic type."""


@default_subscription()
@type_subscription("news")
class DoubleRecorder(Recorder):
    """Subscribed to two topic types by two decorators."""


@default_subscription
class Chain(RoutedAgent):
    """Publishes a smaller Number until it is zero, and writes all of them down."""

    def __init__(self, log: list[Received], *, next_type: str) -> None:
        super().__init__("hands on")
        self._log = log
        self._next_type = next_type

    @event
    async def on_number(self, message: Number, ctx: MessageContext) -> None:
        self._log.append(Received(self.id, message, ctx))
        if message.value:
            await self.publish_message(Number(message.value - 1), DefaultTopicId(self._next_type))


@default_subscription
class Unsure(Recorder):
    """Fails on Text, before it is written down."""

    @event
    async def a_fail(self, message: Text, ctx: MessageContext) -> None:
        raise ValueError("as always")


@default_subscription
class Watcher(RoutedAgent):
    """Tells when the Number zero has passed."""

    def __init__(self, done: asyncio.Event) -> None:
        super().__init__("waits for the end")
        self._done = done

    @event
    async def on_number(self, message: Number, ctx: MessageContext) -> None:
        if message.value == 0:
            self._done.set()


def receivers(log: list[Received]) -> set[str]:
    return {str(seen.agent) for seen in log}


async def test_event_reaches_every_subscribed_type(bench: Bench, log: list[Received]) -> None:
    for agent_type in ("one", "two", "three"):
        await DefaultRecorder.register(bench.host, agent_type, lambda: DefaultRecorder(log))
    await bench.start("one", "two", "three")
    await bench.publish(Text("hi"), DefaultTopicId())
    await bench.idle()
    assert sorted(str(seen.agent) for seen in log) == ["one/default", "three/default", "two/default"]
    assert [seen.message for seen in log] == [Text("hi")] * 3


async def test_event_reaches_the_subscribers_of_both_processes_once(bench: Bench, log: list[Received]) -> None:
    await DefaultRecorder.register(bench.host, "there", lambda: DefaultRecorder(log))
    await DefaultRecorder.register(bench.caller, "here", lambda: DefaultRecorder(log))
    await bench.start("here", "there")
    await bench.publish(Text("hi"), DefaultTopicId())
    await bench.idle()
    assert sorted(str(seen.agent) for seen in log) == ["here/default", "there/default"]


async def test_event_object_is_shared_by_its_subscribers_only_within_a_process(
    bench: Bench, log: list[Received]
) -> None:
    await DefaultRecorder.register(bench.host, "one", lambda: DefaultRecorder(log))
    await DefaultRecorder.register(bench.host, "two", lambda: DefaultRecorder(log))
    await bench.start("one", "two")
    message = Text("hi")
    await bench.publish(message, DefaultTopicId())
    await bench.idle()
    assert [seen.message == message for seen in log] == [True, True]
    assert [seen.message is message for seen in log] == [not bench.is_remote] * 2


async def test_event_without_subscribers_is_no_error(bench: Bench, log: list[Received]) -> None:
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    await bench.start("rec")
    await bench.publish(Text("hi"), TopicId("nobody-listens", "k"))
    await bench.idle()
    assert log == []


async def test_each_source_has_its_own_agent(bench: Bench, log: list[Received]) -> None:
    made: list[int] = []

    def make() -> DefaultRecorder:
        made.append(1)
        return DefaultRecorder(log)

    await DefaultRecorder.register(bench.host, "rec", make)
    await bench.start("rec")
    for source in ("a", "b", "a"):
        await bench.publish(Text("hi"), DefaultTopicId(source=source))
    await bench.idle()
    assert sorted(str(seen.agent) for seen in log) == ["rec/a", "rec/a", "rec/b"]
    assert len(made) == 2


async def test_topic_source_may_hold_any_text(bench: Bench, log: list[Received]) -> None:
    source = "https://example.org/a b?c=ü#d"
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    await bench.start("rec")
    await bench.publish(Text("hi"), DefaultTopicId(source=source))
    await bench.idle()
    assert [seen.agent for seen in log] == [AgentId("rec", source)]


async def test_class_with_two_subscriptions_gets_both_topics(bench: Bench, log: list[Received]) -> None:
    await DoubleRecorder.register(bench.host, "rec", lambda: DoubleRecorder(log))
    await bench.start("rec")
    await bench.publish(Text("default"), DefaultTopicId())
    await bench.publish(Text("news"), TopicId("news", "default"))
    await bench.idle()
    assert [seen.message.content for seen in log] == ["default", "news"]


async def test_subclass_does_not_inherit_the_subscriptions_of_its_base(bench: Bench, log: list[Received]) -> None:
    class Heir(DefaultRecorder):
        pass

    await Heir.register(bench.host, "heir", lambda: Heir(log))
    await bench.start("heir")
    await bench.publish(Text("hi"), DefaultTopicId())
    await bench.idle()
    assert log == []


async def test_class_subscriptions_may_be_skipped(bench: Bench, log: list[Received]) -> None:
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log), skip_class_subscriptions=True)
    await bench.start("rec")
    await bench.publish(Text("hi"), DefaultTopicId())
    await bench.idle()
    assert log == []


async def test_direct_topic_reaches_the_type_and_the_key_of_its_source(bench: Bench, log: list[Received]) -> None:
    for agent_type in ("rec", "recorder"):
        await Recorder.register(bench.host, agent_type, lambda: Recorder(log))
    await bench.start("rec", "recorder")
    await bench.publish(Text("hi"), TopicId("rec:", "k"))
    await bench.publish(Text("hi"), TopicId("rec:error=recorder", "k"))
    await bench.idle()
    assert [str(seen.agent) for seen in log] == ["rec/k", "rec/k"]


async def test_direct_topic_is_not_subscribed_when_skipped(bench: Bench, log: list[Received]) -> None:
    await Recorder.register(bench.host, "rec", lambda: Recorder(log), skip_direct_message_subscription=True)
    await bench.start("rec")
    await bench.publish(Text("hi"), TopicId("rec:", "k"))
    await bench.idle()
    assert log == []


async def test_event_does_not_come_back_to_its_sender(bench: Bench, log: list[Received]) -> None:
    await Chain.register(bench.host, "chain", lambda: Chain(log, next_type="default"))
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    await bench.start("chain", "rec")
    await bench.publish(Number(5), DefaultTopicId())
    await bench.idle()
    # What the chain publishes from its first handler reaches the recorder only.
    assert sorted((str(seen.agent), seen.message.value) for seen in log) == [
        ("chain/default", 5),
        ("rec/default", 4),
        ("rec/default", 5),
    ]


async def test_event_reaches_the_senders_type_under_another_key(bench: Bench, log: list[Received]) -> None:
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    await bench.start("rec")
    await bench.publish(Text("own"), DefaultTopicId(source="a"), sender=AgentId("rec", "a"))
    await bench.publish(Text("other"), DefaultTopicId(source="b"), sender=AgentId("rec", "a"))
    await bench.idle()
    assert [(str(seen.agent), seen.message.content) for seen in log] == [("rec/b", "other")]


async def test_default_topic_in_a_handler_keeps_the_key_of_its_agent(bench: Bench, log: list[Received]) -> None:
    await Chain.register(bench.host, "one", lambda: Chain(log, next_type="default"))
    await Chain.register(bench.host, "two", lambda: Chain(log, next_type="default"))
    await bench.start("one", "two")
    await bench.publish(Number(1), DefaultTopicId(source="k"))
    await bench.idle()
    assert receivers(log) == {"one/k", "two/k"}
    assert {str(seen.ctx.topic_id) for seen in log} == {"default/k"}
    assert {str(seen.ctx.sender) for seen in log if seen.message == Number(0)} == {"one/k", "two/k"}


async def test_events_of_one_publisher_arrive_in_order(bench: Bench, log: list[Received]) -> None:
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    await bench.start("rec")
    for value in range(100):
        await bench.publish(Number(value), DefaultTopicId())
    await bench.idle()
    assert [seen.message.value for seen in log] == list(range(100))


async def test_events_and_calls_of_one_caller_arrive_in_the_order_they_were_made(
    bench: Bench, log: list[Received]
) -> None:
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    await bench.start("rec")
    for value in range(0, 20, 2):
        await bench.publish(Number(value), DefaultTopicId())
        await bench.call(Number(value + 1), "rec")
    assert [seen.message.value for seen in log] == list(range(20))


async def test_chain_of_events_ends_before_the_runtime_is_idle(bench: Bench, log: list[Received]) -> None:
    for agent_type in ("ping", "pong"):
        await Chain.register(bench.host, agent_type, lambda: Chain(log, next_type="default"))
    await bench.start("ping", "pong")
    await bench.publish(Number(8), DefaultTopicId())
    await bench.idle()
    assert sorted(seen.message.value for seen in log) == [value for value in range(9) for _ in range(2)]


async def test_chain_of_events_goes_on_between_two_processes(bench: Bench, log: list[Received]) -> None:
    done = asyncio.Event()

    await Chain.register(bench.host, "there", lambda: Chain(log, next_type="default"))
    await Chain.register(bench.caller, "here", lambda: Chain(log, next_type="default"))
    await Watcher.register(bench.caller, "watcher", lambda: Watcher(done))
    await bench.start("here", "there", "watcher")
    await bench.publish(Number(6), DefaultTopicId(), sender=AgentId("here", "default"))
    await within(done.wait())
    await bench.idle()
    assert [(seen.agent.type, seen.message.value) for seen in log] == [
        ("there", 6),
        ("here", 5),
        ("there", 4),
        ("here", 3),
        ("there", 2),
        ("here", 1),
        ("there", 0),
    ]


async def test_failing_subscriber_leaves_the_others_alone(bench: Bench, log: list[Received]) -> None:
    await Unsure.register(bench.host, "unsure", lambda: Unsure(log))
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    await bench.start("unsure", "rec")
    await bench.publish(Text("fails"), DefaultTopicId())
    await bench.publish(Number(1), DefaultTopicId())
    await bench.idle()
    assert [(str(seen.agent), seen.message) for seen in log if seen.agent.type == "rec"] == [
        ("rec/default", Text("fails")),
        ("rec/default", Number(1)),
    ]
    assert [seen.message for seen in log if seen.agent.type == "unsure"] == [Number(1)]
