"""What a runtime answers to others: also when it leaves, and when nobody waits for the answer any more."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from autogen_core import MessageContext, RoutedAgent, message_handler

from tests.integration.agents import Counter, Echo, Patient, agent
from tests.integration.clusters import eventually, instance_of, node_of, within
from tests.integration.messages import Text
from tests.unit.runtime.wired import WiredCluster
from zmqagents import ZmqAgentRuntime
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Incoming

PEER = b"\x01" * 16


class Raising(RoutedAgent):
    """Hangs a callback on its token that raises, and then waits for ever."""

    def __init__(self) -> None:
        super().__init__("raises")
        self.ended = asyncio.Event()

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        def callback() -> None:
            raise ValueError("the callback's own fault")

        ctx.cancellation_token.add_callback(callback)
        try:
            await asyncio.Event().wait()
        finally:
            self.ended.set()
        return message


class Answers:
    """A runtime that is fed frames by hand, and what it answers."""

    def __init__(self, runtime: ZmqAgentRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        running = runtime._lifecycle.running
        assert running is not None
        self.runtime = runtime
        self._inbound = running.inbound
        self.frames: list[f.Reply | f.Error] = []
        monkeypatch.setattr(running.node, "answer", lambda node_id, frame: self.frames.append(frame))

    async def to(self, frame: f.Request | f.Agent) -> f.Reply | f.Error:
        """The answer to one frame."""
        self._inbound.on_incoming(PEER, 1, frame)
        await eventually(lambda: self.frames)
        return self.frames.pop()


def request(agent_key: str = "echo/k", **fields: Any) -> f.Request:
    return f.Request(7, agent_key, "m", None, "Text", "application/json", None, 0, None, b'{"content":"hi"}')._replace(
        **fields
    )


@pytest.fixture
async def answers(wired: WiredCluster, monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(await wired.host(Echo, Counter), monkeypatch)


async def test_request_is_answered_with_what_the_handler_returns(answers: Answers) -> None:
    assert await answers.to(request()) == f.Reply(7, "Text", "application/json", b'{"content":"hi"}')


@pytest.mark.parametrize(
    ("fields", "code", "text"),
    [
        ({"agent": "nobody/k"}, f.ErrorCode.UNDELIVERABLE, "Its type is not registered there."),
        ({"timeout_ms": 0}, f.ErrorCode.DEADLINE, ""),
        ({"payload": b"{"}, f.ErrorCode.UNREADABLE, "'Text' (application/json, 1 bytes) can't be read"),
        ({"type_name": "Unheard"}, f.ErrorCode.UNREADABLE, "message type 'Unheard' as application/json is not known"),
        ({"content_type": "x/y"}, f.ErrorCode.UNREADABLE, "message type 'Text' as x/y is not known"),
        ({"agent": "not valid!/k"}, f.ErrorCode.UNDELIVERABLE, "Its type is not registered there."),
        ({"sender": "not valid!/k"}, f.ErrorCode.RAISED, "Invalid agent type"),
    ],
)
async def test_request_that_cannot_be_served_says_why(
    answers: Answers, fields: dict[str, Any], code: f.ErrorCode, text: str
) -> None:
    answer = await answers.to(
        request(**{"agent_key" if name == "agent" else name: value for name, value in fields.items()})
    )
    assert isinstance(answer, f.Error)
    assert (answer.call_id, answer.code) == (7, code)
    assert text in answer.text


@pytest.mark.parametrize(
    ("operation", "payload", "expected"),
    [
        (f.Operation.METADATA, b"", {"type": "counter", "key": "k", "description": "a counter"}),
        (f.Operation.SAVE_STATE, b"", {"total": 0}),
        (f.Operation.LOAD_STATE, b'{"total": 5}', None),
        (f.Operation.ACTIVATE, b"", None),
    ],
)
async def test_agent_operation_is_answered_with_json(
    answers: Answers, operation: f.Operation, payload: bytes, expected: object
) -> None:
    answer = await answers.to(f.Agent(7, operation, "counter/k", None, payload))
    assert isinstance(answer, f.Reply)
    assert (json.loads(answer.payload) if answer.payload else None) == expected


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (f.Agent(7, 99, "echo/k", None, b""), f.ErrorCode.UNDELIVERABLE),
        (f.Agent(7, f.Operation.METADATA, "nobody/k", None, b""), f.ErrorCode.UNDELIVERABLE),
        (f.Agent(7, f.Operation.LOAD_STATE, "echo/k", None, b"no json"), f.ErrorCode.RAISED),
        (f.Agent(7, f.Operation.MATCH, "", None, b"[1]"), f.ErrorCode.RAISED),
    ],
)
async def test_agent_operation_that_makes_no_sense_is_an_error(
    answers: Answers, frame: f.Agent, code: f.ErrorCode
) -> None:
    answer = await answers.to(frame)
    assert isinstance(answer, f.Error)
    assert answer.code == code


async def test_process_that_leaves_takes_no_new_calls(answers: Answers) -> None:
    running = answers.runtime._lifecycle.running
    assert running is not None
    running.cluster.announce_leaving()
    answer = await answers.to(request())
    assert isinstance(answer, f.Error)
    assert (answer.code, answer.text) == (f.ErrorCode.UNDELIVERABLE, "It is leaving the cluster.")


async def test_handler_whose_caller_is_lost_goes_on(wired: WiredCluster) -> None:
    host, caller = await wired.pair(Patient)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    await eventually(lambda: "patient/default" in host._parts.agents.instances)
    patient: Patient = instance_of(host, "patient/default")
    wired.kill(caller)
    await eventually(lambda: not node_of(host).served)
    assert patient.ended_s is None
    patient.go_on.set()
    await eventually(lambda: patient.ended_s is not None)
    call.cancel()


async def test_handler_is_cancelled_though_a_callback_of_its_token_raises(wired: WiredCluster) -> None:
    host, caller = await wired.pair(Raising, cancel_grace_s=0.05)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("raising")))
    await eventually(lambda: "raising/default" in host._parts.agents.instances)
    raising: Raising = instance_of(host, "raising/default")
    call.cancel()
    await within(raising.ended.wait())


async def test_error_in_the_application_does_not_stop_what_comes_after_it(
    answers: Answers, caplog: pytest.LogCaptureFixture
) -> None:
    running = answers.runtime._lifecycle.running
    assert running is not None
    broken: Any = "no frame at all"
    running.node.state.effects.append(Incoming(PEER, 1, broken))
    running.node.state.effects.append(Incoming(PEER, 2, request()))
    running.driver.perform()
    await eventually(lambda: answers.frames)
    assert "Incoming could not be handled" in caplog.text
