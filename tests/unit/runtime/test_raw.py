"""Messages without their classes."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import Any

import pytest
from autogen_core import (
    AgentId,
    TopicId,
    TypeSubscription,
    UnknownPayload,
)

from tests.integration.agents import Counter, Echo, agent
from tests.integration.clusters import eventually, instance_of, node_of, within
from tests.unit.runtime.wired import WiredCluster
from zmqagents.errors import SerializationError
from zmqagents.runtime.cluster import HostedAgents
from zmqagents.runtime.codecs.content_types import CBOR, JSON, TAGGED_JSON
from zmqagents.runtime.raw import describe_answer, json_message, parse_agent, parse_topic
from zmqagents.runtime.serialization import PayloadRegistry


@dataclass
class Order:
    number: int


def test_agent_and_topic_are_read_with_autogens_defaults() -> None:
    assert parse_agent("cart/a/b") == AgentId("cart", "a/b")
    assert parse_agent("cart") == AgentId("cart", "default")
    assert parse_topic("orders/eu/north") == TopicId("orders", "eu/north")
    assert parse_topic("orders") == TopicId("orders", "default")


@pytest.mark.parametrize("text", ["no agent/x", "/x", ""])
def test_agent_and_topic_that_autogen_refuses_are_value_errors(text: str) -> None:
    for parse in (parse_agent, parse_topic):
        with pytest.raises(ValueError, match=r"."):
            parse(text)


def test_message_keeps_its_text() -> None:
    assert json_message("Ask", '{"a":  "é"}') == UnknownPayload("Ask", JSON, '{"a":  "é"}'.encode())


@pytest.mark.parametrize("text", ["", "{", "NaN", "[Infinity]", '"\udc80'])
def test_message_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        json_message("Ask", text)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (UnknownPayload("A", JSON, b"[1]"), {"type": "A", "content_type": JSON, "reply": [1]}),
        (
            UnknownPayload("A", TAGGED_JSON, b'{"value": [1], "types": {"0": "B"}}'),
            {"type": "A", "content_type": TAGGED_JSON, "reply": [1], "classes": {"0": "B"}},
        ),
        (
            UnknownPayload("A", CBOR, b"\x01"),
            {"type": "A", "content_type": CBOR, "base64": base64.b64encode(b"\x01").decode()},
        ),
        (None, {"type": "null", "content_type": JSON, "reply": None}),
        ({"a": [1, None]}, {"type": "dict", "content_type": JSON, "reply": {"a": [1, None]}}),
        (b"\x00", {"type": "bytes", "content_type": "application/octet-stream", "base64": "AA=="}),
    ],
)
def test_answer_is_told_as_json(answer: Any, told: dict[str, Any]) -> None:
    assert describe_answer(answer) == told


@pytest.mark.parametrize(("content_type", "payload"), [(JSON, b"{"), (TAGGED_JSON, b"[]"), (JSON, b"\xff")])
def test_answer_that_is_not_what_it_says_is_told_as_bytes(content_type: str, payload: bytes) -> None:
    told = describe_answer(UnknownPayload("A", content_type, payload))
    assert base64.b64decode(told["base64"]) == payload
    assert told["unreadable"]


class TestRegistry:
    def test_unknown_payload_is_passed_on_as_it_is(self) -> None:
        registry = PayloadRegistry()
        message = UnknownPayload("Order", CBOR, b"\x01")
        assert registry.encode(message, {}) == ("Order", CBOR, b"\x01")
        assert registry.encode(message, {"Order": (JSON, CBOR)}) == ("Order", CBOR, b"\x01")
        assert registry.name_of_message(message) == "Order"
        assert registry.name_of_message(Order(1)) == "Order"
        assert registry.readable() == {}

    def test_unknown_payload_is_refused_where_its_content_type_is_not_read(self) -> None:
        with pytest.raises(SerializationError, match=r"reads 'Order' as application/cbor, and not as application/json"):
            PayloadRegistry().encode(json_message("Order", "{}"), {"Order": (CBOR,)})


async def test_call_without_classes_is_answered_without_them(wired: WiredCluster) -> None:
    _, caller = await wired.pair(Echo)
    answer = await within(caller.send_message(json_message("Text", '{"content": "hi"}'), agent("echo")))
    assert (answer.type_name, answer.data_content_type) == ("Text", JSON)
    assert answer.payload == b'{"content":"hi"}'


async def test_event_without_a_class_reaches_whom_recipients_names(wired: WiredCluster) -> None:
    host, caller = await wired.pair(Counter)
    topic = TopicId("numbers", "some")
    assert await caller.recipients(topic) == []
    await host.add_subscription(TypeSubscription("numbers", "counter"))
    await host.add_subscription(TypeSubscription("numbers", "hosted-by-nobody"))
    await eventually(lambda: len(node_of(caller).directory.agent_types("numbers")) == 2)
    assert await caller.recipients(topic) == [AgentId("counter", "some")]
    await caller.publish_message(json_message("Number", '{"value": 4}'), topic)
    await eventually(lambda: "counter/some" in host._parts.agents.instances)
    await eventually(lambda: instance_of(host, "counter/some").total == 4)


async def test_peers_tell_what_is_hosted_read_and_spoken(wired: WiredCluster) -> None:
    _, caller = await wired.pair(Echo, weight=7, placements={"echo": "random"}, max_message_bytes=1 << 20)
    (peer,) = caller.peers()
    assert peer.hosted == (HostedAgents("echo", "random", 7),)
    assert peer.reads["Text"] == (JSON,)
    assert (peer.path, peer.connected) == ("direct", True)
    assert peer.endpoint in peer.endpoints
    assert peer.max_message_bytes == 1 << 20
    assert peer.started_ms > 0
    assert peer.protocol[0] <= peer.protocol[1]
    assert len({peer, *caller.peers()}) == 1
