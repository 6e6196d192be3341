"""Large payloads come as views of the transport's memory: every serializer reads them, and nobody else sees one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from autogen_core import UnknownPayload
from google.protobuf.struct_pb2 import Struct
from pydantic import BaseModel

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs import CborSerializer, JsonSerializer, MsgpackSerializer, TaggedJsonSerializer
from zmqagents.runtime.serialization import PayloadRegistry

TEXT = "0123456789" * 10_000


@dataclass
class Flat:
    text: str
    raw: bytes = b""


@dataclass
class Open:
    anything: Any


class Model(BaseModel):
    text: str


class Reversing:
    """A serializer of the user's own, which wants bytes and says so."""

    data_content_type = "text/reversed"
    type_name = "Flat"

    def serialize(self, message: Flat) -> bytes:
        return message.text.encode()[::-1]

    def deserialize(self, payload: bytes) -> Flat:
        assert type(payload) is bytes
        return Flat(payload[::-1].decode())


STRUCT = Struct()
STRUCT.update({"text": TEXT})


@pytest.mark.parametrize(
    ("message", "serializer"),
    [
        pytest.param(Flat(TEXT, b"\xff" * 100_000), None, id="dataclass as JSON"),
        pytest.param(Flat(TEXT, b"\xff" * 100_000), TaggedJsonSerializer(Flat), id="dataclass as tagged JSON"),
        pytest.param(Flat(TEXT, b"\xff" * 100_000), MsgpackSerializer(Flat), id="dataclass as MessagePack"),
        pytest.param(Flat(TEXT, b"\xff" * 100_000), CborSerializer(Flat), id="dataclass as CBOR"),
        pytest.param(Flat(TEXT), Reversing(), id="dataclass by a serializer of the user's"),
        pytest.param(Open([Flat(TEXT), b"\xff" * 100_000, (1,)]), None, id="open"),
        pytest.param(Open([Flat(TEXT), b"\xff" * 100_000]), MsgpackSerializer(Open), id="open as MessagePack"),
        pytest.param(Open([Flat(TEXT), b"\xff" * 100_000]), CborSerializer(Open), id="open as CBOR"),
        pytest.param(Model(text=TEXT), None, id="model"),
        pytest.param(STRUCT, None, id="Protobuf"),
        pytest.param(TEXT, None, id="str"),
        pytest.param(b"\xff" * 100_000, None, id="bytes"),
        pytest.param([TEXT], None, id="list"),
        pytest.param({"text": (TEXT,)}, None, id="dict with a tuple"),
        pytest.param(10**4_000, None, id="int"),
        pytest.param(1.5, None, id="float"),
        pytest.param(None, None, id="None"),
    ],
)
def test_message_is_read_from_a_view_as_from_bytes(message: Any, serializer: Any) -> None:
    registry = PayloadRegistry()
    registry.add_class(Flat)
    if serializer is not None:
        registry.add(serializer)
    accepts = {} if serializer is None else {serializer.type_name: [serializer.data_content_type]}
    name, content_type, payload = registry.encode(message, accepts)
    received = registry.decode(name, content_type, memoryview(payload))

    assert received == message
    assert type(received) is type(message)
    assert received == registry.decode(name, content_type, payload)


def test_bytes_that_are_read_from_a_view_are_copies_of_their_own() -> None:
    memory = bytearray(JsonSerializer(Flat).serialize(Flat(TEXT)))

    received = PayloadRegistry()
    received.add_class(Flat)
    message = received.decode("Flat", "application/json", memoryview(memory))
    memory[:] = b"x" * len(memory)

    assert message == Flat(TEXT)


def test_unknown_payload_holds_bytes() -> None:
    received = PayloadRegistry().decode("Nobody", "text/plain", memoryview(b"x" * 100_000))

    assert received == UnknownPayload("Nobody", "text/plain", b"x" * 100_000)
    assert type(received.payload) is bytes


def test_view_that_cannot_be_read_is_an_error_with_its_size() -> None:
    registry = PayloadRegistry()
    registry.add_class(Flat)

    with pytest.raises(SerializationError, match="100,000 bytes"):
        registry.decode("Flat", "application/json", memoryview(b"x" * 100_000))
