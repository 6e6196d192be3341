"""Payloads of generated message classes come back as they were, and any bytes at all give one of three things."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import enum
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from decimal import Decimal
from itertools import count
from types import NoneType
from typing import Any, Literal, Optional, Union

import pytest
from autogen_core import UnknownPayload
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, create_model

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs import CborSerializer, MsgpackSerializer
from zmqagents.runtime.codecs.content_types import JSON, TAGGED_JSON
from zmqagents.runtime.codecs.json_codecs import StructuredSerializer
from zmqagents.runtime.serialization import PayloadRegistry

NUMBERS = count()

# What makes a type of types is called with types that only exist at run time.
LIST: Any = list
SEQUENCE: Any = Sequence
TUPLE: Any = tuple
DICT: Any = dict
OPTIONAL: Any = Optional
UNION: Any = Union


class Colour(enum.Enum):
    RED = "red"
    GREEN = "green"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Odd(enum.Enum):
    PAIR = (1, 2)
    HALF = 0.5


# A type, and a strategy for its values.
Typed = tuple[Any, st.SearchStrategy[Any]]

INTEGERS = st.integers(-(2**63), 2**63 - 1)  # what every format holds
FLOATS = st.floats(allow_nan=False)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | INTEGERS | FLOATS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
ANY_VALUES = JSON_VALUES | st.recursive(
    st.binary(max_size=5) | st.uuids() | st.dates() | st.sampled_from(Colour) | st.sampled_from(Odd),
    lambda inner: st.tuples(inner, inner) | st.dictionaries(st.integers(0, 9) | st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)

LEAVES: list[Typed] = [
    (int, INTEGERS),
    (str, st.text(max_size=8)),
    (bool, st.booleans()),
    (NoneType, st.none()),
    (float, FLOATS),
    (bytes, st.binary(max_size=8)),
    (dt.datetime, st.datetimes(timezones=st.none() | st.just(dt.timezone.utc))),
    (dt.date, st.dates()),
    (dt.timedelta, st.timedeltas()),
    (uuid.UUID, st.uuids()),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (Colour, st.sampled_from(Colour)),
    (Level, st.sampled_from(Level)),
    (Odd, st.sampled_from(Odd)),
    (Literal["a", "b"], st.sampled_from(["a", "b"])),
    (Any, ANY_VALUES),
]
KEYS: list[Typed] = [
    (str, st.text(max_size=3)),
    (int, st.integers(-9, 9)),
    (uuid.UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
]


def containers(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    """Types made of other types."""
    return st.one_of(
        inner.map(lambda one: (LIST[one[0]], st.lists(one[1], max_size=3))),
        inner.map(lambda one: (SEQUENCE[one[0]], st.lists(one[1], max_size=2) | st.tuples(one[1]))),
        inner.map(lambda one: (TUPLE[one[0], ...], st.lists(one[1], max_size=3).map(tuple))),
        st.tuples(inner, inner).map(lambda two: (TUPLE[two[0][0], two[1][0]], st.tuples(two[0][1], two[1][1]))),
        st.tuples(st.sampled_from(KEYS), inner).map(
            lambda two: (DICT[two[0][0], two[1][0]], st.dictionaries(two[0][1], two[1][1], max_size=2))
        ),
        inner.map(lambda one: (OPTIONAL[one[0]], st.none() | one[1])),
        st.lists(inner, min_size=2, max_size=3).map(
            lambda many: (UNION[tuple(one[0] for one in many)], st.one_of(*(one[1] for one in many)))
        ),
        st.lists(inner, min_size=1, max_size=3).map(dataclass_of),
        st.lists(inner, min_size=1, max_size=3).map(model_of),
    )


def dataclass_of(members: Sequence[Typed]) -> Typed:
    """A new dataclass, and instances of it and of a class below it."""
    name = f"Generated{next(NUMBERS)}"
    fields = [(f"field{number}", member[0]) for number, member in enumerate(members)]
    base = make_dataclass(name, fields)
    below = make_dataclass(f"{name}Below", [("more", int, field(default=0))], bases=(base,))
    values = [member[1] for member in members]
    return base, st.builds(base, *values) | st.builds(below, *values, INTEGERS)


def model_of(members: Sequence[Typed]) -> Typed:
    """A new pydantic model, and instances of it and of a class below it."""
    name = f"Generated{next(NUMBERS)}"
    fields: dict[str, Any] = {f"field{number}": (member[0], ...) for number, member in enumerate(members)}
    base: type[BaseModel] = create_model(name, **fields)
    below = create_model(f"{name}Below", __base__=base, more=(int, 0))
    values = {f"field{number}": member[1] for number, member in enumerate(members)}
    return base, st.builds(base, **values) | st.builds(below, **values, more=INTEGERS)


TYPES = st.recursive(st.sampled_from(LEAVES), containers, max_leaves=6)
MESSAGES = st.lists(TYPES, min_size=1, max_size=3).flatmap(
    lambda members: st.sampled_from([dataclass_of, model_of]).flatmap(lambda make: make(members)[1])
)


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same classes at every depth."""
    if type(one) is not type(other):
        return False
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, BaseModel):
        return same(one.__dict__, other.__dict__)
    return bool(one == other)


@settings(max_examples=250, deadline=None)
@given(message=MESSAGES)
def test_generated_message_arrives_as_it_was(message: Any) -> None:
    sender, receiver = PayloadRegistry(), PayloadRegistry()
    receiver.add_class(type(message))
    name, content_type, payload = sender.encode(message, receiver.readable())
    received = receiver.decode(name, content_type, payload)
    assert same(received, message), (content_type, payload)


@pytest.mark.parametrize("serializer", [MsgpackSerializer, CborSerializer])
@settings(max_examples=80, deadline=None)
@given(message=MESSAGES)
def test_generated_message_arrives_as_it_was_in_a_binary_format(
    serializer: type[StructuredSerializer[Any]], message: Any
) -> None:
    made = serializer(type(message))
    payload = made.serialize(message)
    assert same(made.deserialize(payload), message), payload


@settings(max_examples=80, deadline=None)
@given(message=MESSAGES)
def test_generated_message_is_written_as_plain_json_for_who_reads_nothing_else(message: Any) -> None:
    registry = PayloadRegistry()
    try:
        _, content_type, payload = registry.encode(message, lambda _: [JSON])
    except SerializationError:  # pydantic has no plain JSON for bytes that are no text, or for a key that is a tuple
        return
    assert content_type == JSON
    try:
        registry.decode(type(message).__name__, JSON, payload)
    except SerializationError:
        assert payload  # it may have lost what its class insists on, and says so


@dataclass
class Child:
    name: str


@dataclass
class GrandChild(Child):
    toys: list[str] = field(default_factory=list)


class Model(BaseModel):
    child: Child
    anything: Any = None
    raw: bytes | str | Colour = ""


@dataclass
class Root:
    child: Child
    children: list[Child | Model] = field(default_factory=list)
    anything: Any = None
    table: dict[int, dt.date | str] = field(default_factory=dict)


REGISTRY = PayloadRegistry()
for registered in (Root, Model):
    REGISTRY.add([MsgpackSerializer(registered), CborSerializer(registered)])
    REGISTRY.add_class(registered)
EXAMPLE = Root(
    GrandChild("a", ["x"]),
    [Child("b"), Model(child=GrandChild("c"), anything=(1, b"\xff"), raw=b"\xfe")],
    {"a": (1, {2: dt.date(2026, 1, 1)})},
    {1: dt.date(2026, 1, 1), 2: "x"},
)
CONTENT_TYPES = list(REGISTRY.readable()["Root"])
PAYLOADS = {content_type: REGISTRY.encode(EXAMPLE, {"Root": [content_type]})[2] for content_type in CONTENT_TYPES}
TYPE_NAMES = ["Root", "Model", "null", "int", "float", "str", "list", "dict", "tuple", "bytes", "bool", "Child"]


def check(name: str, content_type: str, payload: bytes) -> None:
    # A value, an UnknownPayload, or this; whatever else it raises fails the test.
    with contextlib.suppress(SerializationError):
        REGISTRY.decode(name, content_type, payload)


@settings(max_examples=300, deadline=None)
@given(
    name=st.sampled_from(TYPE_NAMES) | st.text(max_size=20),
    content_type=st.sampled_from(CONTENT_TYPES) | st.text(max_size=20),
    payload=st.binary(max_size=200),
)
@example(name="Root", content_type=JSON, payload=b"{" * 50_000)
@example(name="list", content_type=TAGGED_JSON, payload=b"[" * 50_000)
def test_any_bytes_give_a_value_an_unknown_payload_or_a_serialization_error(
    name: str, content_type: str, payload: bytes
) -> None:
    check(name, content_type, payload)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), content_type=st.sampled_from(CONTENT_TYPES))
def test_damaged_payload_gives_a_value_or_a_serialization_error(data: st.DataObject, content_type: str) -> None:
    payload = bytearray(PAYLOADS[content_type])
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(payload) - 1))
        payload[position] = data.draw(st.integers(0, 255))
    del payload[data.draw(st.integers(1, len(payload))) :]
    check("Root", content_type, bytes(payload))


KEYS_IN_TABLES = [
    "builtins:tuple",
    "builtins:dict",
    "builtins:float",
    "datetime:date",
    "x:Child",
    "x:Model",
    "os:system",
]
TABLES = st.recursive(
    st.sampled_from(KEYS_IN_TABLES) | st.integers(),
    lambda inner: (
        st.dictionaries(st.sampled_from(["child", "children", "anything", "0", "1", "raw"]), inner)
        | st.lists(inner, max_size=2)
    ),
)


@settings(max_examples=300, deadline=None)
@given(value=JSON_VALUES | st.fixed_dictionaries({"child": JSON_VALUES, "anything": JSON_VALUES}), table=TABLES)
def test_any_type_table_gives_a_value_or_a_serialization_error(value: Any, table: Any) -> None:
    name, _, payload = REGISTRY.encode({"value": value, "types": table}, {})
    assert name == "dict"
    for each in ("Root", "Model", "list", "dict"):
        check(each, TAGGED_JSON, payload)


@given(payload=st.binary(max_size=50), content_type=st.text(max_size=20))
def test_payload_of_an_unknown_type_is_handed_on_untouched(payload: bytes, content_type: str) -> None:
    expected = UnknownPayload("Nobody", content_type, payload)
    assert REGISTRY.decode("Nobody", content_type, payload) == expected
