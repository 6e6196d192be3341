"""Payloads that no honest peer writes: a SerializationError each, and nothing else."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from pydantic import BaseModel

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs.content_types import JSON, TAGGED_JSON
from zmqagents.runtime.codecs.names import _memo
from zmqagents.runtime.serialization import PayloadRegistry

DEPTH = 100_000


@dataclass
class Base:
    name: str


@dataclass
class Derived(Base):
    extra: int = 0


@dataclass
class Other:
    name: str


@dataclass
class Holder:
    base: Base
    many: list[Base | Other] = field(default_factory=list)
    anything: Any = None


@dataclass
class Flat:
    text: str


class Model(BaseModel):
    base: Base
    anything: Any = None


class Furious(BaseModel):
    text: str

    def model_post_init(self, _: Any, /) -> None:
        raise KeyError("not even a ValueError")


@dataclass
class Recursive:
    inner: "Recursive | Other | None" = None  # noqa: UP037


@pytest.fixture
def registry() -> PayloadRegistry:
    made = PayloadRegistry()
    for cls in (Holder, Flat, Model, Furious, Recursive):
        made.add_class(cls)
    return made


HEAD = b'{"value": {"base": {"name": "a"}, '
NESTED_VALUE = HEAD + b'"anything": ' + b"[" * DEPTH + b"]" * DEPTH + b"}}"
NESTED_TABLE = b'{"value": {"base": {"name": "a"}}, "types": ' + b'{"a":' * DEPTH + b"1" + b"}" * DEPTH + b"}"
# Shallow enough for the parser, too deep for what follows it.
DEEP_TREE = b'{"inner":' * 900 + b"null" + b"}" * 900

HOSTILE: list[tuple[str, str, bytes]] = [
    ("Flat", JSON, b""),
    ("Flat", JSON, b"\xff\xfe"),
    ("Flat", JSON, b"[1]"),
    ("Flat", JSON, b'{"text": 5}'),
    ("Flat", JSON, b'{"text": "a"'),
    ("Flat", JSON, b'{"text": ' + b"[" * DEPTH + b"]" * DEPTH + b"}"),
    ("Flat", TAGGED_JSON, b'{"text": "a"}'),
    ("Flat", TAGGED_JSON, b'{"value": {"text": "a"}, "types": {"text": "builtins:bytes"}, "x": 1'),
    ("Holder", JSON, b'{"base": "x"}'),
    ("Holder", JSON, b'{"base": {"name": "a"}, "anything": ' + b'{"a":' * DEPTH + b"1" + b"}" * DEPTH + b"}"),
    ("Holder", TAGGED_JSON, b"null"),
    ("Holder", TAGGED_JSON, b"{}"),
    ("Holder", TAGGED_JSON, b'{"value": []}'),
    ("Holder", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": 5}'),
    ("Holder", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": "m:Holder"}'),
    ("Holder", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": ["m:Holder", {}]}'),
    ("Holder", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": {"base": 5}}'),
    ("Holder", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": {"base": "os:system"}}'),
    ("Holder", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": {"base": "builtins:dict"}}'),
    ("Holder", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": {"base": "m:Other"}}'),
    (
        "Holder",
        TAGGED_JSON,
        HEAD + b'"anything": "id"}, "types": {"anything": "os:system"}}',
    ),
    (
        "Holder",
        TAGGED_JSON,
        HEAD + b'"anything": "*"}, "types": {"anything": "builtins:bytes"}}',
    ),
    (
        "Holder",
        TAGGED_JSON,
        HEAD + b'"anything": "x"}, "types": {"anything": "builtins:float"}}',
    ),
    (
        "Holder",
        TAGGED_JSON,
        HEAD + b'"anything": 1}, "types": {"anything": "builtins:set"}}',
    ),
    (
        "Holder",
        TAGGED_JSON,
        HEAD + b'"anything": [[]]}, "types": {"anything": "builtins:set"}}',
    ),
    (
        "Holder",
        TAGGED_JSON,
        HEAD + b'"anything": [[[]]]}, "types": {"anything": "builtins:dict"}}',
    ),
    ("Holder", TAGGED_JSON, NESTED_VALUE),
    ("Holder", TAGGED_JSON, NESTED_TABLE),
    ("Model", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": {"nothing": "x:y"}}'),
    ("Model", TAGGED_JSON, b'{"value": {"base": {"name": "a"}}, "types": {"anything": "x:y"}}'),
    ("Model", TAGGED_JSON, b'{"value": [], "types": {"base": "x:y"}}'),
    ("Model", JSON, b'{"base": {"name": "a"}, "anything": ' + b"[" * DEPTH + b"]" * DEPTH + b"}"),
    ("Furious", JSON, b'{"text": "a"}'),
    ("Recursive", JSON, DEEP_TREE),
    ("Recursive", TAGGED_JSON, b'{"value": ' + DEEP_TREE + b"}"),
    ("list", TAGGED_JSON, b'{"value": ' + b"[" * 900 + b"]" * 900 + b"}"),
]


@pytest.mark.parametrize(("name", "content_type", "payload"), HOSTILE, ids=lambda part: repr(part)[:60])
def test_hostile_payload_is_refused_with_its_type_and_content_type(
    registry: PayloadRegistry, name: str, content_type: str, payload: bytes
) -> None:
    with pytest.raises(SerializationError) as caught:
        registry.decode(name, content_type, payload)
    assert name in str(caught.value)
    assert content_type in str(caught.value)
    assert caught.value.__cause__ is not None
    assert len(str(caught.value)) < 2_000


def test_message_nested_too_deeply_is_refused_when_it_is_sent(registry: PayloadRegistry) -> None:
    deep: list[Any] = []
    for _ in range(DEPTH):
        deep = [deep]
    with pytest.raises(SerializationError, match="Holder"):
        registry.encode(Holder(Base("a"), anything=deep), {})
    with pytest.raises(SerializationError, match="list"):
        registry.encode(deep, {})
    assert registry.to_log_text(deep) == "Message could not be serialized"


def test_cyclic_message_is_refused_when_it_is_sent(registry: PayloadRegistry) -> None:
    message = Recursive()
    message.inner = message
    with pytest.raises(SerializationError, match="Recursive"):
        registry.encode(message, {})


def test_names_that_peers_invent_for_one_class_take_bounded_memory(registry: PayloadRegistry) -> None:
    for number in range(5_000):
        payload = {"value": {"base": {"name": "a"}}, "types": {"base": f"module{number}:Derived"}}
        assert registry.decode("Holder", TAGGED_JSON, json.dumps(payload).encode()) == Holder(Derived("a"))
    assert len(_memo) <= 4096
