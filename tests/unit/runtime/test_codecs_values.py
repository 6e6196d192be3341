"""Messages and replies that are plain values."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Any

import pytest

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs import content_types
from zmqagents.runtime.serialization import PayloadRegistry


@dataclass
class Thing:
    name: str


VALUES: list[Any] = [
    None,
    True,
    5,
    2**100,
    1.5,
    math.inf,
    "hällo",
    b"\xff\x00",
    [],
    [1, "a", None, [2.5]],
    {"a": {"b": [True]}},
    (1, (2, "x")),
    {1: "pairs"},
    [b"\xff", {3}, dt.timedelta(1)],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_value_arrives_as_it_is_without_being_registered(value: Any) -> None:
    name, content_type, payload = PayloadRegistry().encode(value, {})
    received = PayloadRegistry().decode(name, content_type, payload)
    assert received == value
    assert type(received) is type(value)


def test_nan_arrives_as_nan() -> None:
    registry = PayloadRegistry()
    assert math.isnan(registry.decode(*registry.encode(math.nan, {})))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ("null", "application/json", b"null")),
        ("a", ("str", "application/json", b'"a"')),
        (5, ("int", "application/json", b"5")),
        (b"\xff", ("bytes", "application/octet-stream", b"\xff")),
        ({"a": [1]}, ("dict", "application/json", b'{"a":[1]}')),
    ],
)
def test_value_has_a_reserved_name_and_plain_json(value: Any, expected: tuple[str, str, bytes]) -> None:
    assert PayloadRegistry().encode(value, {}) == expected


def test_values_are_in_no_record() -> None:
    registry = PayloadRegistry()
    registry.on_change = lambda: pytest.fail("nothing has changed that others should know")
    registry.encode([1], {})
    assert registry.readable() == {}


def test_list_keeps_the_classes_inside_when_the_receiver_knows_them() -> None:
    sender, receiver = PayloadRegistry(), PayloadRegistry()
    receiver.add_class(Thing)
    name, content_type, payload = sender.encode([Thing("a"), {"b": Thing("c")}], {})
    assert content_type == content_types.TAGGED_JSON
    assert receiver.decode(name, content_type, payload) == [Thing("a"), {"b": Thing("c")}]


@pytest.mark.parametrize(
    ("name", "payload"),
    [("null", b"1"), ("int", b'"a"'), ("str", b"1"), ("list", b"{}"), ("float", b'"x"'), ("bool", b"")],
)
def test_payload_of_another_kind_is_refused(name: str, payload: bytes) -> None:
    with pytest.raises(SerializationError, match=name):
        PayloadRegistry().decode(name, "application/json", payload)


def test_tagged_payload_of_another_kind_is_refused() -> None:
    with pytest.raises(SerializationError, match="expected list"):
        PayloadRegistry().decode("list", content_types.TAGGED_JSON, b'{"value": {"a": 1}}')


def test_class_with_a_reserved_name_is_refused() -> None:
    reserved: Any = dataclass(type("null", (), {"__annotations__": {"x": int}}))
    with pytest.raises(SerializationError, match="reserved type name 'null'"):
        PayloadRegistry().add_class(reserved)
