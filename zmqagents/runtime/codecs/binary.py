"""MessagePack and CBOR for dataclasses and pydantic models, for who asks for them with ``add_message_serializer``.

The payload is the map of the message's fields, bytes and non-finite floats in the format's own form. Where the
annotations leave a class open, it is ``{"$value": <that map>, "$types": <type table>}`` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import cbor2
from msgspec import msgpack

from zmqagents.protocol.frames import Part
from zmqagents.runtime.codecs import content_types
from zmqagents.runtime.codecs.compiler import instance_of
from zmqagents.runtime.codecs.json_codecs import StructuredSerializer
from zmqagents.runtime.codecs.shape import Instance

T = TypeVar("T")

_VALUE = "$value"
_TYPES = "$types"


class MsgpackSerializer(StructuredSerializer[T]):
    """MessagePack. Whole numbers beyond 64 bits can't be written."""

    data_content_type = content_types.MSGPACK

    def __init__(self, cls: type[T], *, type_name: str | None = None) -> None:
        super().__init__(cls, type_name=type_name)
        self.write = _writer(instance_of(cls), msgpack.encode)
        self.read = _reader(instance_of(cls), msgpack.decode)


class CborSerializer(StructuredSerializer[T]):
    """CBOR (RFC 8949)."""

    data_content_type = content_types.CBOR

    def __init__(self, cls: type[T], *, type_name: str | None = None) -> None:
        super().__init__(cls, type_name=type_name)
        self.write = _writer(instance_of(cls), cbor2.dumps)
        self.read = _reader(instance_of(cls), cbor2.loads)


def _writer(instance: Instance, pack: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def write(message: Any) -> bytes:
        data, tables = instance.dump(message, binary=True)
        return pack({_VALUE: data, _TYPES: tables} if tables else data)

    return write


def _reader(instance: Instance, unpack: Callable[[Part], Any]) -> Callable[[Part], Any]:
    def read(payload: Part) -> Any:
        data = unpack(payload)
        if isinstance(data, dict) and data.keys() == {_VALUE, _TYPES} and isinstance(data[_TYPES], dict):
            return instance.load(data[_VALUE], data[_TYPES])
        return instance.load(data, {})

    return read
