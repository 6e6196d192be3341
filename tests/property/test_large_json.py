"""Large JSON is written as the same bytes, and read as the same objects or refused alike, whichever way is taken."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, fields, make_dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

import orjson
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from msgspec import json as msgspec_json

from zmqagents.runtime.codecs import large_json

LONG = "x" * (2 * large_json.LARGE)
PADDING = b" " * large_json.LARGE  # legal before a document, and not unlike text
FEW = 150  # characters of repr of values few enough to be looked at
ENCODE = msgspec_json.Encoder().encode


@dataclass
class Leaf:
    name: str
    rank: int = 0
    below: Leaf | None = None


@dataclass
class Message:
    text: str
    number: int = 0
    note: str | None = None
    flag: bool = False
    nothing: None = None
    either: int | str | bool | None = None
    names: list[str] = field(default_factory=list)
    leaf: Leaf | None = None
    leaves: list[Leaf] = field(default_factory=list)
    table: dict[str, int] = field(default_factory=dict)
    groups: dict[str, list[str | Leaf]] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    __slots__ = ("number", "text")
    text: str
    number: int

    def __post_init__(self) -> None:
        if self.number == 0:
            raise ValueError("no zero")
        if self.number == 1:
            raise RuntimeError("no one")


class Colour(str, enum.Enum):
    RED = "red"

    @property
    def value(self) -> str:
        return "another"


class Text(str):
    __slots__ = ()


@dataclass
class Loose(Leaf):
    @cached_property
    def length(self) -> int:
        return len(self.name)


class Undecorated(Leaf):
    pass


def outcome(run: Callable[[Any], Any], given_value: Any) -> Any:
    try:
        result = run(given_value)
    except Exception as error:  # noqa: BLE001 - that it's the same is what is tested
        return type(error), str(error)
    return result if isinstance(result, bytes) else repr(result)


class Both:
    """The two ways to write and read one class, and whether msgspec was asked by the large one."""

    def __init__(self, cls: type[Any]) -> None:
        self.asked = 0
        self.decode = msgspec_json.Decoder(cls).decode
        self.write = large_json.writer(cls, self._spied(ENCODE))
        self.read = large_json.reader(cls, self._spied(self.decode))

    def _spied(self, function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def call(value: Any) -> Any:
            self.asked += 1
            return function(value)

        return call

    def written(self, message: Any) -> bool:
        """Whether orjson did it; either way, it's as msgspec does it."""
        outcome(self.write, _large(message))  # the last message of the class was large
        self.asked = 0
        assert outcome(self.write, message) == outcome(ENCODE, message)
        return self.asked == 0

    def taken(self, document: bytes) -> bool:
        """Whether jiter did it; either way, it's as msgspec does it."""
        payload = PADDING + document
        self.asked = 0
        expected = outcome(self.decode, payload)
        assert outcome(self.read, payload) == expected
        assert outcome(self.read, memoryview(payload)) == expected
        return self.asked == 0


def _large(message: Any) -> Any:
    made = {each.name: None for each in fields(message) if each.init}
    return type(message)(**{**made, "text": LONG})


MESSAGES, CHECKED = Both(Message), Both(Checked)

TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(Leaf, st.text(max_size=3), inner, inner)
    ),
    max_leaves=6,
)
STRANGERS = (Colour.RED, Text("a"), Undecorated("a"), Loose("a"), Leaf, object(), orjson.Fragment(b"1"), Decimal(1))
TIMES = (dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc), dt.date(2026, 1, 1), dt.time(1), dt.timedelta(1))
CONTAINERS = ((1, "a"), {1}, OrderedDict(a=1), {Text("a"): 1}, {1: 2}, {None: 1}, {"\udc00": 1}, uuid.UUID(int=1))
SCALARS = (1e16, 1e-7, float("nan"), "\ud800", 2**64, -(2**63) - 1)
ANYTHING = st.recursive(
    PLAIN
    | st.floats()
    | st.integers()
    | TEXTS
    | st.binary(max_size=3)
    | st.sampled_from([*STRANGERS, *TIMES, *CONTAINERS, *SCALARS]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.text(max_size=2) | st.integers(0, 3), inner, max_size=2)
        | st.builds(Leaf, inner, inner)
    ),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=30), values=st.lists(PLAIN, max_size=5))
def test_plain_message_is_written_the_other_way_with_the_same_bytes(text: str, values: list[Any]) -> None:
    message = Message(LONG + text, *values)
    assert MESSAGES.written(message) or len(repr(values)) > FEW


@settings(max_examples=300, deadline=None)
@given(values=st.lists(ANYTHING, min_size=1, max_size=10))
def test_any_message_is_written_with_the_same_bytes_or_refused_alike(values: list[Any]) -> None:
    MESSAGES.written(Message(LONG, *values))


@given(text=st.text(), number=st.integers(2))
def test_message_with_slots_is_written_with_the_same_bytes(text: str, number: int) -> None:
    both = CHECKED
    both.write(Checked(LONG, 2))
    assert both.write(Checked(LONG + text, number)) == ENCODE(Checked(LONG + text, number))


@dataclass
class Private:
    _hidden: str | None
    text: str
    __number: int = 0


@dataclass(slots=True)
class Slotted:
    text: str


@dataclass
class HalfSlotted(Slotted):
    more: str = "more"


def _with_another_order(message: Message) -> Message:
    del message.text
    message.text = LONG
    return message


def _with_another_attribute(message: Message) -> Message:
    message.another = 1  # type: ignore[attr-defined]
    return message


def _without_an_attribute(message: Message) -> Message:
    del message.names
    return message


@pytest.mark.parametrize(
    "message",
    [
        Private("a", LONG),
        HalfSlotted(LONG),
        _with_another_order(Message("")),
        _with_another_attribute(Message(LONG)),
        _without_an_attribute(Message(LONG)),
    ],
    ids=lambda message: type(message).__name__,
)
def test_fields_are_written_alike_and_nothing_else(message: Any) -> None:
    Both(type(message)).written(message)


@dataclass
class Defaulting:
    text: str
    number: int = 4
    late: int = field(init=False, default=5)


def _without_its_own(message: Defaulting) -> Defaulting:
    message.late = 6
    del message.number
    return message


@pytest.mark.parametrize("message", [Defaulting(LONG), _without_its_own(Defaulting(LONG))], ids=["late", "deleted"])
def test_field_that_only_its_class_has_a_value_for_is_written_alike(message: Defaulting) -> None:
    Both(Defaulting).written(message)


@dataclass
class RaisedError(Exception):
    text: str


@dataclass
class Shown:
    text: str

    def __getattribute__(self, name: str) -> Any:
        return "shown" if name == "text" else object.__getattribute__(self, name)


@dataclass
class Covered:
    text: str


setattr(Covered, "text", property(lambda _: "covered", lambda _self, _value: None))  # noqa: B010


@pytest.mark.parametrize("cls", [RaisedError, Shown, Covered])
def test_class_whose_fields_are_not_what_they_seem_is_left_to_msgspec(cls: type[Any]) -> None:
    assert large_json.writer(cls, ENCODE) is ENCODE


@pytest.mark.parametrize("code", range(0x10000 // 0x400))
def test_each_character_is_written_alike(code: int) -> None:
    characters = [chr(each) for each in range(code * 0x400, (code + 1) * 0x400) if not 0xD800 <= each < 0xE000]
    for text in ("".join(characters), "-".join(characters), "0123456789abcdef".join(characters)):
        assert MESSAGES.written(Message(LONG + text))


# JSON, with all that a parser can get wrong.

ODD_NUMBERS = ("0", "1.0", "1.5", "1e2", "1E+2", "1e20", "1e400", "-1e400", "1e-400", "5e-324", "-0", "-0.0")
LARGE_NUMBERS = (
    "18446744073709551616",
    "-9223372036854775809",
    "9007199254740993.0",
    "9" * 400,
    "9" * 4300,
    "9" * 4301,
)
NO_NUMBERS = ("NaN", "Infinity", "-Infinity", "+1", "0x1", "1_0", "01", "1.", ".5", "-")
NUMBERS = (
    st.sampled_from([*ODD_NUMBERS, *LARGE_NUMBERS, *NO_NUMBERS])
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(repr)
)
ESCAPES = st.sampled_from([
    "\\ud800", "\\udc00", "\\ud83d\\ude00", "\\u0000", "\\/", "\\x", "\\n", "\\\"", "\\", "\x01", "\x7f", "é", "\u2028",
    "😀",
])  # fmt: skip
STRINGS = st.builds(
    lambda text, escape, ascii_only: json.dumps(text, ensure_ascii=ascii_only)[:-1] + escape + '"',
    st.text(max_size=4),
    st.just("") | ESCAPES,
    st.booleans(),
)
WORDS = st.sampled_from(["null", "true", "false", "None", "nul", ""])
ODD_KEYS = st.sampled_from(['"te\\u0078t"', '"other"', '""', "1", "null", "text", "'text'"])


def _array(items: list[str]) -> str:
    return "[" + ",".join(items) + "]"


def _object(members: list[tuple[str, str]]) -> str:
    return "{" + ", ".join(f"{key}: {value}" for key, value in members) + "}"


def documents(*names: str) -> st.SearchStrategy[str]:
    keys = st.sampled_from([f'"{name}"' for name in names])
    return st.recursive(
        STRINGS | NUMBERS | WORDS,
        lambda inner: (
            st.lists(inner, max_size=3).map(_array)
            | st.lists(st.tuples(keys | ODD_KEYS | STRINGS, inner), max_size=3).map(_object)
        ),
        max_leaves=5,
    )


STRING = st.text(max_size=6).map(json.dumps) | st.text(max_size=6).map(
    lambda text: json.dumps(text, ensure_ascii=False)
)
INTEGER = st.integers().map(str) | st.integers(0, 9).map(str) | st.sampled_from(["1.0", "1e2", "-0", "1e18"])
LEAF: st.SearchStrategy[str] = st.deferred(
    lambda: st.builds(
        lambda name, rank, below: _object(
            [('"rank"', rank), ('"name"', name), *([('"below"', below)] if below else [])]
        ),
        STRING,
        INTEGER,
        st.none() | LEAF,
    )
)
FITTING = {
    "number": INTEGER,
    "note": STRING | st.just("null"),
    "flag": st.sampled_from(["true", "false"]),
    "nothing": st.just("null"),
    "either": STRING | INTEGER | WORDS,
    "names": st.lists(STRING, max_size=3).map(_array),
    "leaf": LEAF | st.just("null"),
    "leaves": st.lists(LEAF, max_size=2).map(_array),
    "table": st.lists(st.tuples(STRING, INTEGER), max_size=3).map(_object),
    "groups": st.lists(st.tuples(STRING, st.lists(STRING | LEAF, max_size=2).map(_array)), max_size=2).map(_object),
}
ANY_DOCUMENT = documents("text", *FITTING, "name", "rank", "below")
FITTING_MEMBER = st.sampled_from(sorted(FITTING)).flatmap(lambda name: st.tuples(st.just(f'"{name}"'), FITTING[name]))
ODD_MEMBER = st.tuples(ODD_KEYS | st.sampled_from([f'"{name}"' for name in ("text", *FITTING)]), ANY_DOCUMENT)
FITTING_MEMBERS = st.lists(FITTING_MEMBER, max_size=6, unique_by=lambda member: member[0])
MEMBERS = st.tuples(FITTING_MEMBERS, st.lists(ODD_MEMBER, max_size=2)).flatmap(
    lambda both: st.permutations([*both[0], *both[1]])
)
TAILS = st.sampled_from([" ", "\n\t\r ", ",", "}", "x", "\0", "\x0b", "{}", "\ufeff"])


@settings(max_examples=800, deadline=None)
@given(members=FITTING_MEMBERS, text=STRING)
def test_document_that_fits_is_read_as_the_same_object(members: list[tuple[str, str]], text: str) -> None:
    MESSAGES.taken(_object([*members, ('"text"', text)]).encode("utf-8"))


@settings(max_examples=800, deadline=None)
@given(members=MEMBERS, text=st.none() | STRING, tail=st.just("") | TAILS)
@example(members=[('"text"', "5"), ('"text"', '"a"')], text=None, tail="")
@example(members=[('"leaf"', '{"name": 5, "na\\u006de": "a"}')], text='"a"', tail="")
@example(members=[('"other"', '{"a": 1e400, "a": 2}')], text='"a"', tail="")
@example(members=[('"other"', "[NaN, -Infinity]")], text='"a"', tail="")
@example(members=[('"other"', "[" * 150 + "]" * 150)], text='"a"', tail="")
@example(members=[('"other"', "[" * 5000 + "]" * 5000)], text='"a"', tail="")
def test_document_is_read_as_the_same_object_or_refused_alike(
    members: list[tuple[str, str]], text: str | None, tail: str
) -> None:
    document = _object([*members, *([('"text"', text)] if text else [])]) + tail
    MESSAGES.taken(document.encode("utf-8"))


@settings(max_examples=600, deadline=None)
@given(members=MEMBERS, data=st.data())
def test_damaged_document_is_read_as_the_same_object_or_refused_alike(
    members: list[tuple[str, str]], data: st.DataObject
) -> None:
    document = bytearray(_object([('"text"', '"a"'), *members]).encode("utf-8"))
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(document)))
        document[place : place + data.draw(st.integers(0, 2))] = data.draw(
            st.binary(max_size=2)
            | st.sampled_from([b'"', b"\\", b",", b"\xed\xa0\x80", b"\xc0\x80", b"\xef\xbb\xbf", b"e5", b"-"])
        )
    MESSAGES.taken(bytes(document))


@settings(max_examples=200, deadline=None)
@given(message=st.builds(Message, TEXTS, st.integers(-(2**62), 2**62), st.none() | TEXTS, table=st.just({"a": 1})))
def test_document_as_we_write_it_is_read_the_other_way(message: Message) -> None:
    assume(message.text.isprintable() and (message.note or "").isprintable())
    assert MESSAGES.taken(ENCODE(message))


@settings(max_examples=50)
@given(number=st.integers(-1, 4) | st.text(max_size=1))
def test_class_that_refuses_a_value_is_read_alike(number: int | str) -> None:
    CHECKED.taken(json.dumps({"text": "a", "number": number}).encode())


@pytest.mark.parametrize(
    "annotation",
    [
        float,
        int | float,
        list[int],
        list[int | None],
        dict[int, str],
        list[list[bool]],
        bytes,
        Any,
        set[str],
        tuple[str, ...],
        Colour,
    ],
)
def test_class_that_would_be_read_in_another_way_is_left_to_msgspec(annotation: Any) -> None:
    cls = make_dataclass("Other", [("text", str), ("other", annotation)])
    decode: Any = msgspec_json.Decoder(cls).decode
    assert large_json.reader(cls, decode) is decode
