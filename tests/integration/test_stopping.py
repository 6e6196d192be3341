"""Starting and stopping in whatever order and number, with nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from autogen_core import (
    DefaultInterventionHandler,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    message_handler,
)

from tests.integration.agents import Echo, Patient, agent
from tests.integration.clusters import Cluster, endpoint_of, eventually, instance_of, node_of, within
from tests.integration.messages import Text
from tests.unit.discovery.seen import Seen, advertisement
from zmqagents import ConfigError, ZmqAgentRuntime
from zmqagents.discovery import MdnsDiscovery
from zmqagents.errors import RuntimeNotStartedError

pytestmark = pytest.mark.integration


class Relay(RoutedAgent):
    """Answers with what the echo answers, once it is let go."""

    def __init__(self) -> None:
        super().__init__("relays")
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        self.begun.set()
        await self.go_on.wait()
        answer: Text = await self.send_message(message, agent("echo"))
        return answer


class Failing(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("fails")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        raise ValueError(f"failed on {message.content}")


def descriptors() -> set[str]:
    """The open descriptors of this process, by number and what they are."""
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the one that lists the directory
            found.add(f"{link.name} {str(link.readlink()).partition(':')[0]}")
    return found


async def patient_of(host: ZmqAgentRuntime) -> Patient:
    """The patient agent of a host, once its handler has begun."""
    await eventually(lambda: "patient/default" in host._parts.agents.instances)
    patient: Patient = instance_of(host, "patient/default")
    await within(patient.begun.wait())
    return patient


# -- nothing is left -------------------------------------------------------------------------------------------------


async def used_and_stopped(cluster: Cluster) -> None:
    """Two processes that find each other by mDNS, call, publish, and stop."""
    host, caller = await cluster.pair(Echo, discovery="mdns")
    await host.add_subscription(TypeSubscription("news", "echo"))
    await eventually(lambda: node_of(caller).directory.agent_types("news"))
    await within(caller.send_message(Text("hi"), agent("echo")))
    await within(caller.publish_message(Text("hi"), TopicId("news", "k")))
    await within(caller.stop_when_idle())
    await within(host.stop())


async def test_no_task_thread_or_descriptor_is_left_after_stop(cluster: Cluster) -> None:
    await used_and_stopped(cluster)  # what is made once and stays, such as the loop's own executor
    gc.collect()
    tasks, threads, before = asyncio.all_tasks(), set(threading.enumerate()), descriptors()
    await used_and_stopped(cluster)
    assert asyncio.all_tasks() == tasks
    assert set(threading.enumerate()) == threads
    assert descriptors() == before


async def test_rounds_of_start_and_stop_of_one_runtime_take_no_more_descriptors(cluster: Cluster) -> None:
    runtime = cluster.make(discovery="mdns")
    await Echo.register(runtime, "echo", Echo)
    counts = []
    for _ in range(5):
        await within(runtime.start())
        assert await within(runtime.send_message(Text("hi"), agent("echo"))) == Text("hi")
        await within(runtime.stop())
        gc.collect()
        counts.append(len(descriptors()))
    assert counts[1:] == [counts[1]] * 4


async def test_mdns_record_is_gone_after_stop(cluster: Cluster) -> None:
    runtime = cluster.make(discovery="mdns")
    await within(runtime.start())
    node_id = node_of(runtime).node_id
    assert node_id in await browsed(cluster.name)
    await within(runtime.stop())
    assert node_id not in await browsed(cluster.name)


async def browsed(cluster: str) -> list[bytes | None]:
    """The nodes of a cluster that mDNS shows to a newcomer."""
    discovery, seen = MdnsDiscovery(), Seen()
    await discovery.start(advertisement(cluster), seen)
    await discovery.settled()
    await discovery.stop()
    return seen.node_ids


async def test_process_that_stops_leaves_no_connection_in_the_others(cluster: Cluster) -> None:
    host = await cluster.host(Echo)
    before = len(descriptors())
    for _ in range(3):
        caller = await cluster.host()
        await within(caller.send_message(Text("hi"), agent("echo")))
        await within(caller.stop())
    await eventually(lambda: not node_of(host).state.peers)
    await eventually(lambda: len(descriptors()) <= before)


# -- order and number ------------------------------------------------------------------------------------------------


async def test_stop_during_start_leaves_the_runtime_stopped_and_able_to_start_again(cluster: Cluster) -> None:
    runtime = cluster.make(discovery="mdns")
    starting = runtime.start()
    await asyncio.sleep(0)
    await within(runtime.stop())
    await within(starting)
    with pytest.raises(RuntimeNotStartedError):
        runtime.peers()
    await within(runtime.start())
    assert runtime.peers() == []


async def test_stop_before_the_start_has_begun_is_a_stop_all_the_same(cluster: Cluster) -> None:
    runtime = cluster.make()
    runtime.start()
    await within(runtime.stop())
    with pytest.raises(RuntimeNotStartedError):
        runtime.peers()


async def test_two_stops_at_once_both_return_once_it_has_stopped(cluster: Cluster) -> None:
    runtime = await cluster.host()
    await within(asyncio.gather(runtime.stop(), runtime.stop()))
    with pytest.raises(RuntimeError, match="not started"):
        await runtime.stop()


async def test_start_that_is_not_awaited_starts(cluster: Cluster) -> None:
    host = await cluster.host(Echo)
    caller = cluster.make(seeds=[endpoint_of(host)])
    caller.start()
    assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")


async def test_start_whose_caller_gives_up_goes_on(cluster: Cluster) -> None:
    runtime = cluster.make(discovery="mdns")
    await Echo.register(runtime, "echo", Echo)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(runtime.start(), 0.001)
    assert await within(runtime.send_message(Text("hi"), agent("echo"))) == Text("hi")


async def test_runtime_is_started_and_stopped_by_async_with(cluster: Cluster) -> None:
    runtime = cluster.make()
    async with runtime as entered:
        assert entered is runtime
        assert runtime.peers() == []
    with pytest.raises(RuntimeNotStartedError):
        runtime.peers()


async def test_close_stops_and_closes_the_agents_and_may_come_twice(cluster: Cluster) -> None:
    closed: list[str] = []

    class Closing(RoutedAgent):
        def __init__(self) -> None:
            super().__init__("closes")

        @message_handler
        async def on_text(self, message: Text, ctx: MessageContext) -> None: ...

        async def close(self) -> None:
            closed.append(str(self.id))

    runtime = await cluster.host(Closing)
    await within(runtime.send_message(Text("hi"), agent("closing")))
    await within(runtime.close())
    with pytest.raises(RuntimeNotStartedError):
        runtime.peers()
    await within(runtime.close())
    assert closed[0] == "closing/default"


# -- a start that fails ----------------------------------------------------------------------------------------------


@pytest.fixture
async def unstartable(cluster: Cluster) -> ZmqAgentRuntime:
    """A runtime whose port is taken."""
    other = await cluster.host()
    return cluster.make(port=int(endpoint_of(other).rpartition(":")[2]))


async def test_start_on_a_port_that_is_taken_says_what_to_change(unstartable: ZmqAgentRuntime) -> None:
    with pytest.raises(
        ConfigError, match=r"port \d+ of 127.0.0.1 is taken; give port another value, or 0 for a free port"
    ):
        await within(unstartable.start())
    with pytest.raises(RuntimeError, match="not started"):
        await unstartable.stop()
    await within(unstartable.close())


async def test_start_that_fails_unawaited_is_logged_and_told_to_whoever_waits(
    unstartable: ZmqAgentRuntime, caplog: pytest.LogCaptureFixture
) -> None:
    call = asyncio.ensure_future(unstartable.send_message(Text("hi"), agent("echo")))
    unstartable.start()
    with pytest.raises((ConfigError, RuntimeNotStartedError), match="is taken"):
        await within(unstartable.wait_until_stopped())
    with pytest.raises(RuntimeNotStartedError, match=r"could not be started.*is taken"):
        await within(call)
    await eventually(lambda: "the runtime could not be started" in caplog.text)


async def test_failed_start_leaves_nothing_and_can_be_tried_again(cluster: Cluster) -> None:
    other = await cluster.host()
    runtime = cluster.make(port=int(endpoint_of(other).rpartition(":")[2]), seeds=[])
    tasks, before = asyncio.all_tasks(), len(descriptors())
    for _ in range(3):
        with pytest.raises(ConfigError):
            await within(runtime.start())
    assert asyncio.all_tasks() == tasks
    assert len(descriptors()) == before
    await within(other.stop())
    await within(runtime.start())
    assert runtime.peers() == []


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"seeds": ["localhost:7000"]}, r"localhost:7000.*tcp://"),
        ({"seeds": ["tcp://localhost"]}, r"endpoint 'tcp://localhost' has no port: write"),
        ({"seeds": ["tcp://0.0.0.0:7000"]}, r"0\.0\.0\.0:7000' is no address of one host: write"),
        ({"discovery": "mdns", "interfaces": ["no-such-interface"]}, r"no-such-interface"),
    ],
)
async def test_start_with_what_it_cannot_use_says_what_to_write_and_leaves_nothing(
    cluster: Cluster, settings: dict[str, Any], text: str
) -> None:
    runtime = cluster.make(**settings)
    tasks, before = asyncio.all_tasks(), len(descriptors())
    with pytest.raises(ConfigError, match=text):
        await within(runtime.start())
    assert asyncio.all_tasks() == tasks
    assert len(descriptors()) == before


async def test_async_with_of_a_runtime_that_cannot_start_raises(unstartable: ZmqAgentRuntime) -> None:
    with pytest.raises(ConfigError, match="is taken"):
        async with unstartable:
            raise AssertionError("it has started")


# -- draining --------------------------------------------------------------------------------------------------------


async def stopping(host: ZmqAgentRuntime) -> asyncio.Task[None]:
    """Stop a host whose handlers still run, and return once it has told that it leaves."""
    task = asyncio.ensure_future(host.stop())
    await eventually(lambda: node_of(host).record.phase.name == "LEAVING")
    return task


async def test_handler_that_runs_when_its_process_stops_answers_its_caller(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Patient)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    patient = await patient_of(host)
    stop = await stopping(host)
    patient.go_on.set()
    assert await within(call) == Text("hi")
    await within(stop)


@pytest.mark.parametrize("handlers", [[], [DefaultInterventionHandler()]], ids=["", "with intervention handlers"])
async def test_handler_may_still_call_agents_of_its_own_process_while_that_stops(
    cluster: Cluster, handlers: list[DefaultInterventionHandler]
) -> None:
    host, caller = await cluster.pair(Relay, Echo, intervention_handlers=handlers)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("relay")))
    await eventually(lambda: "relay/default" in host._parts.agents.instances)
    relay: Relay = instance_of(host, "relay/default")
    await within(relay.begun.wait())
    stop = await stopping(host)
    relay.go_on.set()
    assert await within(call, 3) == Text("hi")
    await within(stop, 3)


async def test_call_that_comes_while_its_target_stops_is_answered_by_another_host(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Patient, Echo)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    patient = await patient_of(host)
    stop = await stopping(host)
    late = asyncio.ensure_future(caller.send_message(Text("late"), agent("echo")))
    await asyncio.sleep(0)
    await cluster.host(Echo)
    assert await within(late) == Text("late")
    patient.go_on.set()
    await within(asyncio.gather(call, stop))


async def test_calls_under_way_are_answered_or_certainly_not_executed_when_their_target_stops(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Echo, discovery_timeout_s=0.2)
    ending = asyncio.Event()

    async def keep_calling(number: int) -> BaseException | None:
        try:
            while True:
                assert await caller.send_message(Text(str(number)), agent("echo")) == Text(str(number))
                if number == 0:
                    ending.set()
        except LookupError as error:
            return error

    callers = asyncio.gather(*(keep_calling(number) for number in range(32)))
    await within(ending.wait())
    await within(host.stop())
    assert [type(error).__name__ for error in await within(callers)] == ["AgentNotFound"] * 32


async def test_handler_that_does_not_end_is_cancelled_after_the_drain_timeout(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    host, caller = await cluster.pair(Patient, drain_timeout_s=0.1)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    patient = await patient_of(host)
    await within(host.stop(), 3)
    assert patient.ended_s is not None
    with pytest.raises(asyncio.CancelledError):
        await within(call)
    assert "1 handlers still ran after drain_timeout_s=0.1" in caplog.text


async def test_calls_that_a_process_has_in_flight_end_when_it_stops(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Patient)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    patient = await patient_of(host)
    await within(caller.stop())
    with pytest.raises(RuntimeNotStartedError, match="stopped while the call was in flight"):
        await within(call)
    patient.go_on.set()


async def test_call_that_waits_for_a_host_ends_when_its_process_stops(cluster: Cluster) -> None:
    caller = await cluster.host(discovery_timeout_s=60)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("nobody")))
    await asyncio.sleep(0)
    await within(caller.stop())
    with pytest.raises((LookupError, RuntimeNotStartedError)):
        await within(call)


# -- idle ------------------------------------------------------------------------------------------------------------


async def idle_only_after(stopping: Callable[[], asyncio.Future[None]], patient: Patient) -> None:
    """Check that stopping waits for the patient agent."""
    stop = stopping()
    done, _ = await asyncio.wait([stop], timeout=0.1)
    assert not done
    patient.go_on.set()
    await within(stop)


async def test_stop_when_idle_waits_for_the_remote_handlers_of_its_events(cluster: Cluster) -> None:
    host, publisher = await cluster.pair(Patient)
    await host.add_subscription(TypeSubscription("news", "patient"))
    await eventually(lambda: node_of(publisher).directory.agent_types("news"))
    await within(publisher.publish_message(Text("hi"), TopicId("news", "default")))
    await idle_only_after(lambda: asyncio.ensure_future(publisher.stop_when_idle()), await patient_of(host))


async def test_stop_when_idle_waits_for_calls_of_this_process(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Patient)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    await idle_only_after(lambda: asyncio.ensure_future(caller.stop_when_idle()), await patient_of(host))
    assert await within(call) == Text("hi")


async def test_stop_when_idle_waits_for_calls_that_others_have_made(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Patient)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    await idle_only_after(lambda: asyncio.ensure_future(host.stop_when_idle()), await patient_of(host))
    assert await within(call) == Text("hi")


async def test_exception_of_the_handler_of_a_remote_event_comes_out_of_stop_if_it_is_not_ignored(
    cluster: Cluster,
) -> None:
    host = cluster.make(ignore_unhandled_exceptions=False)
    await Failing.register(host, "failing", Failing)
    await host.add_subscription(TypeSubscription("news", "failing"))
    await within(host.start())
    publisher = await cluster.host()
    await within(publisher.publish_message(Text("hi"), TopicId("news", "k")))
    await within(publisher.stop_when_idle())
    with pytest.raises(ValueError, match="failed on hi"):
        await within(host.stop_when_idle())
