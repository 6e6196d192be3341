"""MessagePack, CBOR and Protobuf, which a user asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cbor2
import msgpack
import pytest
from google.protobuf.any_pb2 import Any as PackedAny
from google.protobuf.struct_pb2 import Struct
from google.protobuf.timestamp_pb2 import Timestamp
from pydantic import BaseModel

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs import CborSerializer, MsgpackSerializer
from zmqagents.runtime.codecs.json_codecs import StructuredSerializer
from zmqagents.runtime.serialization import PayloadRegistry


@dataclass
class Flat:
    text: str
    raw: bytes = b""
    ratio: float = 0.0


@dataclass
class Part:
    number: int


@dataclass
class SpecialPart(Part):
    extra: str


class Model(BaseModel):
    part: Part
    raw: bytes | str = ""


@dataclass
class Whole:
    part: Part
    parts: list[Part | Flat] = field(default_factory=list)
    model: Model | None = None
    anything: Any = None


BOMBS = [(MsgpackSerializer, b"\x91" * 100_000 + b"\x01"), (CborSerializer, b"\x81" * 100_000 + b"\x01")]
MODEL = Model(part=SpecialPart(3, "y"), raw=b"\xfd")
MESSAGES = [
    Flat("a", b"\xff\x00", float("inf")),
    Whole(Part(1)),
    Whole(
        SpecialPart(1, "x"), [Part(2), Flat("b", b"\xfe")], Model(part=SpecialPart(3, "y"), raw=b"\xfd"), (1, b"\xfc")
    ),
    Model(part=Part(1), raw=b"\xff"),
]


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("serializer", [MsgpackSerializer, CborSerializer])
def test_message_arrives_equal_in_a_binary_format_that_the_user_added(
    message: Any, serializer: type[StructuredSerializer[Any]]
) -> None:
    registry = PayloadRegistry()
    registry.add(serializer(type(message)))
    name, content_type, payload = registry.encode(message, registry.readable())
    assert content_type == serializer.data_content_type
    received = registry.decode(name, content_type, payload)
    assert repr(received) == repr(message)


@pytest.mark.parametrize(
    ("serializer", "unpack"), [(MsgpackSerializer, msgpack.unpackb), (CborSerializer, cbor2.loads)]
)
def test_flat_message_is_the_map_of_its_fields(serializer: type[StructuredSerializer[Any]], unpack: Any) -> None:
    payload = serializer(Flat).serialize(Flat("a", b"\xff", 0.5))
    assert unpack(payload) == {"text": "a", "raw": b"\xff", "ratio": 0.5}


@pytest.mark.parametrize(("serializer", "bomb"), BOMBS)
def test_deeply_nested_binary_payload_is_refused(serializer: type[StructuredSerializer[Any]], bomb: bytes) -> None:
    registry = PayloadRegistry()
    registry.add(serializer(Whole))
    with pytest.raises(SerializationError, match="Whole"):
        registry.decode("Whole", serializer.data_content_type, bomb)


def test_cbor_value_of_a_class_that_no_message_has_is_refused() -> None:
    registry = PayloadRegistry()
    registry.add(CborSerializer(Whole))
    payload = cbor2.dumps({"part": {"number": 1}, "anything": cbor2.CBORTag(35, "(a+)+$")})  # a regular expression
    with pytest.raises(SerializationError, match="anything"):
        registry.decode("Whole", "application/cbor", payload)


def test_cyclic_cbor_is_refused() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    registry = PayloadRegistry()
    registry.add(CborSerializer(Whole))
    payload = cbor2.dumps({"part": {"number": 1}, "anything": cyclic}, value_sharing=True)
    with pytest.raises(SerializationError):
        registry.decode("Whole", "application/cbor", payload)


def test_protobuf_message_travels_under_its_full_name_as_a_packed_any() -> None:
    sender, receiver = PayloadRegistry(), PayloadRegistry()
    name, content_type, payload = sender.encode(Timestamp(seconds=5), {})
    assert (name, content_type) == ("google.protobuf.Timestamp", "application/x-protobuf")
    packed, expected = PackedAny(), PackedAny()
    packed.ParseFromString(payload)
    expected.Pack(Timestamp(seconds=5))
    assert packed == expected
    receiver.add_class(Timestamp)
    assert receiver.decode(name, content_type, payload) == Timestamp(seconds=5)
    assert receiver.readable() == {"google.protobuf.Timestamp": ("application/x-protobuf",)}


def test_protobuf_class_is_found_by_its_full_name_when_it_is_loaded() -> None:
    name, content_type, payload = PayloadRegistry().encode(Timestamp(seconds=5), {})
    registry = PayloadRegistry()
    registry.add_class(Flat)  # this module, where Timestamp stands
    assert registry.decode(name, content_type, payload) == Timestamp(seconds=5)


@pytest.mark.parametrize("payload", [b"\xff\xff\xff", b"", b"garbage"])
def test_broken_protobuf_is_refused(payload: bytes) -> None:
    registry = PayloadRegistry()
    registry.add_class(Timestamp)
    with pytest.raises(SerializationError, match=r"google\.protobuf\.Timestamp.*application/x-protobuf"):
        registry.decode("google.protobuf.Timestamp", "application/x-protobuf", payload)


def test_protobuf_of_another_message_is_refused() -> None:
    _, content_type, payload = PayloadRegistry().encode(Struct(), {})
    registry = PayloadRegistry()
    registry.add_class(Timestamp)
    with pytest.raises(SerializationError, match="Timestamp"):
        registry.decode("google.protobuf.Timestamp", content_type, payload)
