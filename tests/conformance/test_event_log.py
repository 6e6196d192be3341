"""The records of the logger "autogen_core.events"."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from autogen_core import (
    EVENT_LOGGER_NAME,
    AgentId,
    DefaultInterventionHandler,
    DefaultTopicId,
    DropMessage,
    MessageContext,
    default_subscription,
)
from autogen_core.exceptions import MessageDroppedException

from .agents import Echo, Failing, Recorder, Relay
from .bench import LOCAL, Bench
from .conftest import NewBench
from .messages import Received, Text


@default_subscription
class DefaultRecorder(Recorder):
    """Subscribed to the default topic type."""


@default_subscription
class DefaultFailing(Failing):
    """Subscribed to the default topic type."""


class Drop(DefaultInterventionHandler):
    """Drops at one of the three places."""

    def __init__(self, place: str) -> None:
        self._place = place

    def _decide(self, place: str, message: Any) -> Any:
        return DropMessage if place == self._place else message

    async def on_send(self, message: Any, *, message_context: MessageContext, recipient: AgentId) -> Any:
        return self._decide("send", message)

    async def on_publish(self, message: Any, *, message_context: MessageContext) -> Any:
        return self._decide("publish", message)

    async def on_response(self, message: Any, *, sender: AgentId, recipient: AgentId | None) -> Any:
        return self._decide("response", message)


@pytest.fixture(autouse=True)
def _listening(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger=EVENT_LOGGER_NAME)


def records(caplog: pytest.LogCaptureFixture, record_type: str) -> list[dict[str, Any]]:
    """The records of one type, as their JSON text says them; payloads are compared without their spaces."""
    logged = [json.loads(str(record.msg)) for record in caplog.records if record.name == EVENT_LOGGER_NAME]
    return [record for record in logged if record["type"] == record_type]


def steps(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str, str | None, str | None]]:
    """Kind, stage, sender and receiver of each Message record."""
    return [
        (
            record["kind"].removeprefix("MessageKind."),
            record["delivery_stage"].removeprefix("DeliveryStage."),
            record["sender"],
            record["receiver"],
        )
        for record in records(caplog, "Message")
    ]


def payloads(caplog: pytest.LogCaptureFixture) -> list[Any]:
    return [json.loads(record["payload"]) for record in records(caplog, "Message")]


async def test_call_is_logged_when_sent_delivered_and_answered(bench: Bench, caplog: Any) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    await bench.call(Text("hi"), "echo")
    assert steps(caplog) == [
        ("DIRECT", "SEND", None, "echo/default"),
        ("DIRECT", "DELIVER", None, "echo/default"),
        ("RESPOND", "SEND", "echo/default", None),
        ("RESPOND", "DELIVER", "echo/default", None),
    ]


async def test_call_is_logged_with_what_was_said(bench: Bench, caplog: Any) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    await bench.call(Text("hi"), "echo")
    asked, answered = {"content": "hi"}, {"content": "echo/default: hi"}
    assert payloads(caplog) == [asked, asked, answered, answered]


async def test_call_between_agents_is_logged_with_both(bench: Bench, caplog: Any) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await Relay.register(bench.host, "relay", lambda: Relay(AgentId("echo", "k")))
    await bench.start("echo", "relay")
    await bench.call(Text("hi"), "relay")
    assert steps(caplog)[2:6] == [
        ("DIRECT", "SEND", "relay/default", "echo/k"),
        ("DIRECT", "DELIVER", "relay/default", "echo/k"),
        ("RESPOND", "SEND", "echo/k", "relay/default"),
        ("RESPOND", "DELIVER", "echo/k", "relay/default"),
    ]


async def test_event_is_logged_once_when_sent_and_for_each_delivery(
    bench: Bench, log: list[Received], caplog: Any
) -> None:
    for agent_type in ("one", "two"):
        await DefaultRecorder.register(bench.host, agent_type, lambda: DefaultRecorder(log))
    await bench.start("one", "two")
    await bench.publish(Text("hi"), DefaultTopicId())
    await bench.idle()
    assert steps(caplog) == [
        ("PUBLISH", "SEND", None, "default/default"),
        ("PUBLISH", "DELIVER", None, None),
        ("PUBLISH", "DELIVER", None, None),
    ]
    assert payloads(caplog) == [{"content": "hi"}] * 3


@pytest.mark.parametrize("kind", LOCAL, indirect=True)  # it can't be sent to another process at all
async def test_message_that_no_serializer_knows_is_logged_as_such(bench: Bench, caplog: Any) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    assert await bench.call(object(), "echo") is None
    assert records(caplog, "Message")[0]["payload"] == "Message could not be serialized"


async def test_failed_call_is_logged_with_agent_payload_and_error(bench: Bench, caplog: Any) -> None:
    await Failing.register(bench.host, "failing", lambda: Failing(ValueError("as always")))
    await bench.start("failing")
    with pytest.raises(ValueError, match=r"^as always$"):
        await bench.call(Text("hi"), "failing")
    [failure] = records(caplog, "MessageHandlerException")
    assert (failure["handling_agent"], failure["exception"]) == ("failing/default", "as always")
    assert json.loads(failure["payload"]) == {"content": "hi"}
    assert [step[:2] for step in steps(caplog)] == [("DIRECT", "SEND"), ("DIRECT", "DELIVER")]


async def test_failed_event_is_logged_with_agent_payload_and_error(bench: Bench, caplog: Any) -> None:
    await DefaultFailing.register(bench.host, "failing", lambda: DefaultFailing(ValueError("as always")))
    await bench.start("failing")
    await bench.publish(Text("hi"), DefaultTopicId())
    await bench.idle()
    [failure] = records(caplog, "MessageHandlerException")
    assert (failure["handling_agent"], failure["exception"]) == ("failing/default", "as always")
    assert json.loads(failure["payload"]) == {"content": "hi"}


async def test_failed_factory_is_logged_with_the_id_and_the_error(bench: Bench, caplog: Any) -> None:
    def fail() -> Echo:
        raise LookupError("no model")

    await Echo.register(bench.host, "echo", fail)
    await bench.start("echo")
    with pytest.raises(LookupError, match=r"^no model$"):
        await bench.call(Text("hi"), AgentId("echo", "k"))
    [failure] = records(caplog, "AgentConstructionException")
    assert (failure["agent_id"], failure["exception"]) == ("echo/k", "no model")
    [failure] = records(caplog, "MessageHandlerException")
    assert (failure["handling_agent"], failure["exception"]) == ("echo/k", "no model")


async def dropped(bench: Bench, caplog: Any) -> dict[str, Any]:
    """The record of a call that is dropped somewhere."""
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    with pytest.raises(MessageDroppedException):
        await bench.call(Text("hi"), "echo")
    [drop] = records(caplog, "MessageDropped")
    return {**drop, "payload": json.loads(drop["payload"])}


async def test_dropped_call_is_logged(new_bench: NewBench, caplog: Any) -> None:
    assert await dropped(new_bench(intervention_handlers=[Drop("send")]), caplog) == {
        "type": "MessageDropped",
        "kind": "MessageKind.DIRECT",
        "sender": None,
        "receiver": "echo/default",
        "payload": {"content": "hi"},
    }


async def test_dropped_response_is_logged(new_bench: NewBench, caplog: Any) -> None:
    assert await dropped(new_bench(intervention_handlers=[Drop("response")]), caplog) == {
        "type": "MessageDropped",
        "kind": "MessageKind.RESPOND",
        "sender": "echo/default",
        "receiver": None,
        "payload": {"content": "echo/default: hi"},
    }


async def test_dropped_event_is_logged(new_bench: NewBench, caplog: Any) -> None:
    bench = new_bench(intervention_handlers=[Drop("publish")])
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    await bench.publish(Text("hi"), DefaultTopicId(source="k"))
    await bench.call(Text("after it"), "echo")
    [drop] = records(caplog, "MessageDropped")
    assert (drop["kind"], drop["sender"], drop["receiver"]) == ("MessageKind.PUBLISH", None, "default/k")
    assert json.loads(drop["payload"]) == {"content": "hi"}
