"""Calls that their caller gives up, and deadlines: what becomes of the call, and what its handler learns of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from autogen_core import CancellationToken, MessageContext, RoutedAgent, TopicId, TypeSubscription, message_handler
from autogen_core.exceptions import UndeliverableException

from tests.integration.agents import Patient, agent
from tests.integration.clusters import Cluster, eventually, instance_of, node_of, within
from tests.integration.messages import Number, Text
from zmqagents import CallTimeoutError, ZmqAgentRuntime, call_timeout

pytestmark = pytest.mark.integration

GRACE_S = 0.2
TIMEOUT_S = 0.1


class Relay(RoutedAgent):
    """Calls the patient agent, and passes nothing on of the message it handles."""

    def __init__(self) -> None:
        super().__init__("relays")
        self.outcome: BaseException | None = None

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        try:
            answer: Text = await self.send_message(message, agent("patient"))
        except BaseException as error:
            self.outcome = error
            raise
        return answer


class Detached(RoutedAgent):
    """Calls the patient agent because of an event, for which nobody waits."""

    def __init__(self) -> None:
        super().__init__("is told")
        self.answer: Text | None = None

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> None:
        self.answer = await self.send_message(Text("because of an event"), agent("patient"))


@dataclass
class Scene:
    host: ZmqAgentRuntime
    caller: ZmqAgentRuntime

    async def patient(self) -> Patient:
        """The patient agent, once its handler has begun."""
        await eventually(lambda: "patient/default" in self.host._parts.agents.instances)
        patient: Patient = instance_of(self.host, "patient/default")
        await within(patient.begun.wait())
        return patient


@pytest.fixture(params=["here", "elsewhere"])
async def scene(cluster: Cluster, request: pytest.FixtureRequest) -> Scene:
    """An agent that takes its time, in the caller's process or in another one."""
    host, caller = await cluster.pair(Patient, Relay, Detached, cancel_grace_s=GRACE_S)
    return Scene(host, host if request.param == "here" else caller)


@pytest.fixture
async def remote(cluster: Cluster) -> Scene:
    """An agent that takes its time, in another process."""
    return Scene(*await cluster.pair(Patient, Relay, Detached, cancel_grace_s=GRACE_S))


async def ended(patient: Patient) -> float:
    """When its handler ended."""
    await eventually(lambda: patient.ended_s is not None)
    assert patient.ended_s is not None
    return patient.ended_s


# -- cancelling ------------------------------------------------------------------------------------------------------


async def test_cancelled_token_reaches_the_remote_handlers_token_at_once_and_its_task_after_the_grace(
    remote: Scene,
) -> None:
    token = CancellationToken()
    call = asyncio.ensure_future(remote.caller.send_message(Text("?"), agent("patient"), cancellation_token=token))
    patient = await remote.patient()
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(call)
    await within(patient.token_cancelled.wait())
    told_s = asyncio.get_running_loop().time()
    assert patient.ended_s is None
    assert await ended(patient) - told_s > GRACE_S / 2


async def test_handler_that_heeds_its_token_is_left_to_end_by_itself(remote: Scene) -> None:
    token = CancellationToken()
    call = asyncio.ensure_future(remote.caller.send_message(Text("?"), agent("patient"), cancellation_token=token))
    patient = await remote.patient()
    patient.token_cancelled.set = patient.go_on.set  # type: ignore[method-assign]
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(call)
    await ended(patient)
    await eventually(lambda: node_of(remote.caller).pending.late_answers == 1)


async def test_cancelled_task_of_the_caller_ends_the_handler(scene: Scene) -> None:
    call = asyncio.ensure_future(scene.caller.send_message(Text("?"), agent("patient")))
    patient = await scene.patient()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(call)
    await ended(patient)


async def test_wait_for_of_the_caller_ends_the_handler(scene: Scene) -> None:
    call = scene.caller.send_message(Text("?"), agent("patient"))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(call, TIMEOUT_S)
    await ended(await scene.patient())


async def test_cancelled_call_within_a_call_ends_both_handlers(remote: Scene) -> None:
    call = asyncio.ensure_future(remote.caller.send_message(Text("?"), agent("relay")))
    patient = await remote.patient()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(call)
    await ended(patient)


# -- deadlines -------------------------------------------------------------------------------------------------------


async def test_call_past_its_timeout_is_a_timeout_error_and_its_handler_ends(scene: Scene) -> None:
    with pytest.raises(CallTimeoutError, match="patient/default") as failed:
        await within(scene.caller.send_message(Text("?"), agent("patient"), timeout_s=TIMEOUT_S))
    assert isinstance(failed.value, TimeoutError)
    await ended(await scene.patient())


async def test_call_past_the_timeout_around_it_is_a_timeout_error(scene: Scene) -> None:
    with call_timeout(TIMEOUT_S), pytest.raises(CallTimeoutError):
        await within(scene.caller.send_message(Text("?"), agent("patient")))
    await ended(await scene.patient())


async def test_earliest_of_several_timeouts_holds(remote: Scene) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    with call_timeout(TIMEOUT_S), call_timeout(60), pytest.raises(CallTimeoutError):
        await within(remote.caller.send_message(Text("?"), agent("patient"), timeout_s=60))
    assert loop.time() - began_s < 2


async def test_default_timeout_of_the_runtime_holds_for_calls_without_their_own(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Patient, call_timeout_s=TIMEOUT_S)
    with pytest.raises(CallTimeoutError):
        await within(caller.send_message(Text("?"), agent("patient")))


async def test_call_within_a_call_inherits_the_deadline_across_processes(remote: Scene, cluster: Cluster) -> None:
    third = await cluster.host()
    with pytest.raises(CallTimeoutError):
        await within(third.send_message(Text("?"), agent("relay"), timeout_s=TIMEOUT_S))
    relay: Relay = instance_of(remote.host, "relay/default")
    await eventually(lambda: relay.outcome is not None)
    assert isinstance(relay.outcome, CallTimeoutError)
    await ended(await remote.patient())


async def test_call_within_a_local_call_inherits_its_deadline(cluster: Cluster) -> None:
    await cluster.host(Patient)
    middle = await cluster.host(Relay)
    with pytest.raises(CallTimeoutError):
        await within(middle.send_message(Text("?"), agent("relay"), timeout_s=TIMEOUT_S))
    relay: Relay = instance_of(middle, "relay/default")
    await eventually(lambda: relay.outcome is not None)


async def test_deadline_of_a_call_does_not_bind_what_an_event_sets_off(scene: Scene) -> None:
    await scene.host.add_subscription(TypeSubscription("news", "detached"))
    await eventually(lambda: node_of(scene.caller).directory.agent_types("news"))
    with call_timeout(TIMEOUT_S):
        await scene.caller.publish_message(Number(1), TopicId("news", "default"))
        patient = await scene.patient()
        with pytest.raises(CallTimeoutError):
            await scene.caller.send_message(Text("?"), agent("patient"))
    patient.go_on.set()
    detached: Detached = instance_of(scene.host, "detached/default")
    await eventually(lambda: detached.answer == Text("because of an event"))


async def test_deadline_around_start_does_not_bind_what_comes_in(cluster: Cluster) -> None:
    host = cluster.make()
    await Patient.register(host, "patient", Patient)
    await Relay.register(host, "relay", Relay)
    with call_timeout(TIMEOUT_S):
        await within(host.start())
    caller = await cluster.host()
    call = asyncio.ensure_future(caller.send_message(Text("?"), agent("relay")))
    patient = await Scene(host, caller).patient()
    with pytest.raises(CallTimeoutError):
        await within(caller.send_message(Text("?"), agent("patient"), timeout_s=2 * TIMEOUT_S))
    patient.go_on.set()
    assert await within(call) == Text("?")


async def test_answer_after_the_deadline_is_dropped_and_counted(remote: Scene) -> None:
    with pytest.raises(CallTimeoutError):
        await within(remote.caller.send_message(Text("?"), agent("patient"), timeout_s=TIMEOUT_S))
    patient = await remote.patient()
    patient.go_on.set()
    await eventually(lambda: node_of(remote.caller).pending.late_answers == 1)
    assert await within(remote.caller.send_message(Text("again"), agent("patient"))) == Text("again")


@pytest.mark.parametrize("timeout_s", [0.0, -1.0])
async def test_call_without_any_time_left_is_a_timeout_error(scene: Scene, timeout_s: float) -> None:
    with pytest.raises(CallTimeoutError):
        await within(scene.caller.send_message(Text("?"), agent("patient"), timeout_s=timeout_s))


async def test_deadline_holds_before_the_runtime_is_started(cluster: Cluster) -> None:
    runtime = cluster.make()
    await Patient.register(runtime, "patient", Patient)
    with pytest.raises(CallTimeoutError, match="patient/default had not left this process"):
        await within(runtime.send_message(Text("?"), agent("patient"), timeout_s=TIMEOUT_S))


async def test_deadline_ends_the_search_for_a_host(cluster: Cluster) -> None:
    caller = await cluster.host(discovery_timeout_s=60)
    with pytest.raises((CallTimeoutError, UndeliverableException), match="nobody"):
        await within(caller.send_message(Text("?"), agent("nobody"), timeout_s=TIMEOUT_S))
