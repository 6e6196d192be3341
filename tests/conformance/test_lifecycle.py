"""Starting, stopping, being idle, and closing."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import (
    AgentId,
    DefaultTopicId,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    default_subscription,
    message_handler,
)

from .agents import Counter, Echo, Recorder
from .bench import LOCAL, OURS, Bench, started, within
from .conftest import NewBench
from .messages import Number, Received, Text


@default_subscription
class DefaultRecorder(Recorder):
    """Subscribed to the default topic type."""


@default_subscription
class Patient(RoutedAgent):
    """Handles Text only after it is let go, and counts what it has handled."""

    def __init__(self) -> None:
        super().__init__("waits")
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.handled = 0

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        self.begun.set()
        await self.go_on.wait()
        self.handled += 1
        return message


@default_subscription
class Raising(RoutedAgent):
    """Fails on every Text."""

    def __init__(self) -> None:
        super().__init__("fails")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        raise ValueError(f"failed on {message.content}")


async def test_start_twice_is_a_runtime_error(bench: Bench) -> None:
    await bench.start()
    with pytest.raises(RuntimeError, match="already started"):
        await started(bench.host)


@pytest.mark.parametrize("method", ["stop", "stop_when_idle"])
async def test_stopping_what_does_not_run_is_a_runtime_error(bench: Bench, method: str) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await within(getattr(bench.host, method)())


async def test_stop_when_of_what_does_not_run_is_a_runtime_error(bench: Bench) -> None:
    with pytest.raises(RuntimeError, match="not started"):
        await within(bench.host.stop_when(lambda: True))


@pytest.mark.parametrize("first", ["stop", "stop_when_idle"])
async def test_stopping_twice_is_a_runtime_error(bench: Bench, first: str) -> None:
    await bench.start()
    await within(getattr(bench.host, first)())
    with pytest.raises(RuntimeError, match="not started"):
        await within(bench.host.stop())


async def test_stop_when_stops_once_the_condition_holds(bench: Bench) -> None:
    await bench.start()
    await within(bench.host.stop_when(lambda: True))
    with pytest.raises(RuntimeError, match="not started"):
        await within(bench.host.stop())


async def test_runtime_works_again_after_it_was_stopped_and_keeps_its_agents(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    for total in (1, 2, 3):
        await bench.start("counter")
        assert await bench.call(Number(1), "counter") == Number(total)
        await bench.idle()


async def test_agent_may_be_registered_while_the_runtime_runs(bench: Bench) -> None:
    await bench.start()
    await Echo.register(bench.host, "echo", Echo)
    await bench.known("echo")
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi")


async def test_idle_comes_only_after_a_running_handler_has_ended(bench: Bench) -> None:
    patient = Patient()
    await patient.register_instance(bench.host, AgentId("patient", "default"))
    await bench.start("patient")
    await bench.publish(Text("hi"), TopicId("patient:", "default"))
    await within(patient.begun.wait())
    stopping = asyncio.ensure_future(bench.idle())
    for _ in range(10):  # turns of the event loop, in which it must not come to an end
        await asyncio.sleep(0)
    assert not stopping.done()
    patient.go_on.set()
    await stopping
    assert patient.handled == 1


async def test_idle_waits_for_a_call_that_nobody_awaits(bench: Bench, log: list[Received]) -> None:
    await Recorder.register(bench.host, "rec", lambda: Recorder(log))
    await bench.start("rec")
    call = asyncio.ensure_future(bench.caller.send_message(Text("hi"), AgentId("rec", "default")))
    await asyncio.sleep(0)
    await bench.idle()
    assert [seen.message for seen in log] == [Text("hi")]
    assert await within(call) is None


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_unprocessed_messages_are_counted_until_they_are_handled(bench: Bench, log: list[Received]) -> None:
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    assert bench.host.unprocessed_messages_count == 0
    for number in range(3):
        await bench.publish(Number(number), DefaultTopicId())
    assert bench.host.unprocessed_messages_count == 3
    await bench.start()
    await bench.idle()
    assert bench.host.unprocessed_messages_count == 0
    assert len(log) == 3


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_event_published_before_start_is_handled_after_it(bench: Bench, log: list[Received]) -> None:
    await DefaultRecorder.register(bench.host, "rec", lambda: DefaultRecorder(log))
    await bench.publish(Text("early"), DefaultTopicId())
    assert log == []
    await bench.start()
    await bench.idle()
    assert [seen.message for seen in log] == [Text("early")]


async def test_close_stops_the_runtime_and_closes_the_agents_that_were_made(bench: Bench) -> None:
    made: list[Counter] = []

    def make() -> Counter:
        made.append(Counter())
        return made[-1]

    await Counter.register(bench.host, "counter", make)
    await bench.start("counter")
    for key in ("one", "two"):
        await bench.call(Number(1), AgentId("counter", key))
    await bench.close()
    assert [agent.closed for agent in made] == [True, True]
    with pytest.raises(RuntimeError, match="not started"):
        await within(bench.host.stop())


async def test_close_works_on_what_never_ran(bench: Bench) -> None:
    counter = Counter()
    await counter.register_instance(bench.host, AgentId("counter", "one"))
    await bench.close()
    assert counter.closed


async def test_failed_event_is_ignored_by_default(bench: Bench) -> None:
    await Raising.register(bench.host, "raising", Raising)
    await bench.start("raising")
    await bench.publish(Text("one"), DefaultTopicId())
    await bench.idle()


async def test_failed_event_is_raised_when_idle_if_not_ignored(new_bench: NewBench) -> None:
    bench = new_bench(ignore_unhandled_exceptions=False)
    await Raising.register(bench.host, "raising", Raising)
    await bench.start("raising")
    await bench.publish(Text("one"), DefaultTopicId())
    with pytest.raises(ValueError, match=r"^failed on one$"):
        await bench.idle()


async def test_failed_factory_for_an_event_is_raised_when_idle_if_not_ignored(new_bench: NewBench) -> None:
    def fail() -> Recorder:
        raise LookupError("no recorder today")

    bench = new_bench(ignore_unhandled_exceptions=False)
    await Recorder.register(bench.host, "rec", fail)
    await bench.host.add_subscription(TypeSubscription("default", "rec"))
    await bench.start("rec")
    await bench.publish(Text("one"), DefaultTopicId())
    with pytest.raises(LookupError, match=r"^no recorder today$"):
        await bench.idle()


async def test_failed_call_is_its_callers_alone_even_if_not_ignored(new_bench: NewBench) -> None:
    bench = new_bench(ignore_unhandled_exceptions=False)
    await Raising.register(bench.host, "raising", Raising)
    await bench.start("raising")
    with pytest.raises(ValueError, match=r"^failed on one$"):
        await bench.call(Text("one"), "raising")
    await bench.idle()


async def test_runtime_works_again_after_it_raised_a_failed_event(new_bench: NewBench) -> None:
    bench = new_bench(ignore_unhandled_exceptions=False)
    await Raising.register(bench.host, "raising", Raising)
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("raising")
    await bench.publish(Text("one"), DefaultTopicId())
    with pytest.raises(ValueError, match=r"^failed on one$"):
        await bench.idle()
    await bench.start("echo")
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi")
    await bench.idle()


@pytest.mark.parametrize("kind", OURS, indirect=True)
async def test_idle_waits_for_the_other_subscribers_of_an_event_that_failed_in_one(bench: Bench) -> None:
    """The oracle counts the event as done with its first failure, so it can stop before the others have ended."""
    patient = Patient()
    await patient.register_instance(bench.host, AgentId("patient", "k"), skip_class_subscriptions=False)
    await Raising.register(bench.host, "raising", Raising)
    await bench.start("patient", "raising")
    await bench.publish(Text("hi"), DefaultTopicId(source="k"))
    await within(patient.begun.wait())
    asyncio.get_running_loop().call_soon(patient.go_on.set)
    await bench.idle()
    assert patient.handled == 1
