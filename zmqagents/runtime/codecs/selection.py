"""Which serializers a class has by itself, in order of preference."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from google.protobuf.message import Message

from zmqagents.protocol.frames import Part
from zmqagents.runtime.codecs.autogen import (
    DataclassJsonMessageSerializer,
    ProtobufMessageSerializer,
    PydanticJsonMessageSerializer,
)
from zmqagents.runtime.codecs.json_codecs import JsonSerializer, TaggedJsonSerializer
from zmqagents.runtime.codecs.names import is_message_class
from zmqagents.runtime.codecs.serializer import Serializer
from zmqagents.runtime.codecs.values import VALUE_SERIALIZERS, ValueSerializer


class Codec(NamedTuple):
    """One way to write and read one class."""

    content_type: str
    write: Callable[[Any], bytes]
    read: Callable[[Part], Any]
    fits: Callable[[Any], bool] | None = None
    """Whether it loses nothing of a message; None if it never does."""
    published: bool = True
    """Whether the process's record lists the content type."""

    @classmethod
    def of(cls, serializer: Any) -> Codec:
        """What the registry needs of a ``MessageSerializer``."""
        if isinstance(serializer, Serializer):
            return cls(serializer.data_content_type, serializer.write, serializer.read, serializer.fits)
        serialize, deserialize = serializer.serialize, serializer.deserialize
        return cls(
            serializer.data_content_type,
            lambda message: _as_bytes(serialize(message), serializer),
            lambda payload: deserialize(bytes(payload)),
        )


def _as_bytes(payload: object, serializer: object) -> bytes:
    """What a serializer of the user's has given. TypeError if it is neither bytes nor like them."""
    if type(payload) is bytes:
        return payload
    if isinstance(payload, (bytes, bytearray, memoryview)):
        return bytes(payload)
    raise TypeError(f"{type(serializer).__name__}.serialize gave {type(payload).__name__} instead of bytes")


def builtin_codecs(cls: type[Any]) -> tuple[Codec, ...]:
    """The codecs of a class, best first; empty for a class that is no message class.

    Plain JSON comes first and is used wherever it loses nothing; then the tagged JSON, which never does; and for a
    receiver that reads nothing else, plain JSON once more, whatever it loses.
    """
    if cls in VALUE_SERIALIZERS:
        return tuple(map(Codec.of, VALUE_SERIALIZERS[cls]))
    if not is_message_class(cls):
        return ()
    if issubclass(cls, Message):
        return (Codec.of(ProtobufMessageSerializer(cls)),)
    plain = Codec.of(JsonSerializer(cls))
    tagged = Codec.of(TaggedJsonSerializer(cls))
    if plain.fits is None:
        return (plain, tagged._replace(published=False))
    return (plain, tagged, plain._replace(fits=None))


def is_builtin(serializer: Any) -> bool:
    """Whether a serializer does what its class gets by itself (AutoGen's own, and our two JSON codecs)."""
    autogens = {DataclassJsonMessageSerializer, PydanticJsonMessageSerializer, ProtobufMessageSerializer}
    return type(serializer) in {JsonSerializer, TaggedJsonSerializer, ValueSerializer, *autogens}
