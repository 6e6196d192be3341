"""What a runtime answers to others: also when it leaves, and when nobody waits for the answer any more."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from autogen_core import MessageContext, RoutedAgent, message_handler
from msgspec.structs import replace

from tests.integration.agents import Counter, Echo, Patient, agent
from tests.integration.clusters import eventually, instance_of, node_of, within
from tests.integration.messages import Text
from tests.unit.runtime.by_hand import ByHand
from tests.unit.runtime.wired import WiredCluster
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Incoming


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


def request(agent_key: str = "echo/k", **fields: Any) -> f.Request:
    plain = f.Request(7, agent_key, "m", None, "Text", "application/json", None, 0, None, b'{"content":"hi"}')
    return replace(plain, **fields)


@pytest.fixture
async def host(wired: WiredCluster, monkeypatch: pytest.MonkeyPatch) -> ByHand:
    return ByHand(*await wired.pair(Echo, Counter), monkeypatch)


async def test_request_is_answered_with_what_the_handler_returns(host: ByHand) -> None:
    assert await host.to(request()) == f.Reply(7, "Text", "application/json", b'{"content":"hi"}')


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
    host: ByHand, fields: dict[str, Any], code: f.ErrorCode, text: str
) -> None:
    answer = await host.to(
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
    host: ByHand, operation: f.Operation, payload: bytes, expected: object
) -> None:
    answer = await host.to(f.Agent(7, operation, "counter/k", None, payload))
    assert isinstance(answer, f.Reply)
    assert (json.loads(bytes(answer.payload)) if answer.payload else None) == expected


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (f.Agent(7, 99, "echo/k", None, b""), f.ErrorCode.UNDELIVERABLE),
        (f.Agent(7, f.Operation.METADATA, "nobody/k", None, b""), f.ErrorCode.UNDELIVERABLE),
        (f.Agent(7, f.Operation.LOAD_STATE, "echo/k", None, b"no json"), f.ErrorCode.RAISED),
        (f.Agent(7, f.Operation.MATCH, "", None, b"[1]"), f.ErrorCode.RAISED),
    ],
)
async def test_agent_operation_that_makes_no_sense_is_an_error(host: ByHand, frame: f.Agent, code: f.ErrorCode) -> None:
    answer = await host.to(frame)
    assert isinstance(answer, f.Error)
    assert answer.code == code


async def test_process_that_leaves_takes_no_new_calls(host: ByHand) -> None:
    host.running.cluster.announce_leaving()
    answer = await host.to(request())
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
    host: ByHand, caplog: pytest.LogCaptureFixture
) -> None:
    broken: Any = "no frame at all"
    host.running.node.state.effects.append(Incoming(host.peer_id, 1, broken))
    host.feed(request())
    await eventually(lambda: host.answers)
    assert "Incoming could not be handled" in caplog.text
