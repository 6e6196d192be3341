"""The two JSON codecs of dataclasses and pydantic models.

``application/json`` is AutoGen's plain JSON: an object with the fields, readable by any peer. It is lossless for most
classes; ``JsonSerializer.fits`` tells whether it is for one message.

``application/vnd.zmqagents.tagged+json`` is ``{"value": <the plain JSON>, "types": <type table>}`` and loses nothing:
the table (see ``shape``) names the class of each value whose annotation leaves it open, such as the messages of
AgentChat's teams. ``types`` is missing where there is nothing to say.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from msgspec import json
from pydantic import BaseModel

from zmqagents.protocol.frames import Part
from zmqagents.runtime.codecs import content_types, large_json
from zmqagents.runtime.codecs.compiler import instance_of
from zmqagents.runtime.codecs.fast import msgspec_reads
from zmqagents.runtime.codecs.names import is_structured, type_name
from zmqagents.runtime.codecs.serializer import Serializer
from zmqagents.runtime.codecs.shape import Instance, UnfitError, split

T = TypeVar("T")

_encode = json.Encoder().encode


class StructuredSerializer(Serializer[T]):
    """A serializer of one dataclass or pydantic model. A ``type_name`` of its own sets it apart from a namesake.

    Raises TypeError if ``cls`` is neither.
    """

    def __init__(self, cls: type[T], *, type_name: str | None = None) -> None:
        if not is_structured(cls):
            raise TypeError(f"{cls!r} is neither a dataclass nor a pydantic model")
        self.cls = cls
        self.type_name = type_name or _default_name(cls)


class JsonSerializer(StructuredSerializer[T]):
    """Plain JSON, as AutoGen's own serializers write it."""

    data_content_type = content_types.JSON

    def __init__(self, cls: type[T], *, type_name: str | None = None) -> None:
        super().__init__(cls, type_name=type_name)
        instance = instance_of(cls)
        self.fits = None if instance.closed else instance.exact
        if issubclass(cls, BaseModel):
            self.write = _model_writer
            self.read = _model_reader(cls)
        elif msgspec_reads(cls):
            self.write = large_json.writer(cls, _encode)
            self.read = large_json.reader(cls, json.Decoder(cls).decode)
        else:
            self.write = lambda message: _encode(instance.dump(message, binary=False)[0])
            self.read = lambda payload: instance.load(json.decode(payload), {})


class TaggedJsonSerializer(StructuredSerializer[T]):
    """Plain JSON and the table of classes that it doesn't tell."""

    data_content_type = content_types.TAGGED_JSON

    def __init__(self, cls: type[T], *, type_name: str | None = None) -> None:
        super().__init__(cls, type_name=type_name)
        instance = instance_of(cls)
        self.write = lambda message: _encode(_document(instance, message))
        self.read = lambda payload: _from_document(instance, json.decode(payload))


def _document(instance: Instance, message: Any) -> dict[str, Any]:
    data, tables = instance.dump(message, binary=False)
    return {"value": data, "types": tables} if tables else {"value": data}


def _from_document(instance: Instance, document: Any) -> Any:
    value, table = open_document(document)
    key, tables = split(table)
    if key is not None:
        raise UnfitError("the class of the message itself is no part of the type table")
    return instance.load(value, tables)


def open_document(document: Any) -> tuple[Any, Any]:
    """The value and the type table of a tagged document. Raises UnfitError."""
    if type(document) is not dict or "value" not in document:
        raise UnfitError('expected {"value": ..., "types": ...}')
    return document["value"], document.get("types")


def _model_writer(message: Any) -> bytes:
    text: str = message.model_dump_json(warnings=False)
    return text.encode("utf-8")


def _model_reader(cls: type[Any]) -> Callable[[Part], Any]:
    def read(payload: Part) -> Any:
        return cls.model_validate_json(bytes(payload), by_alias=True, by_name=True)

    return read


def _default_name(cls: type[Any]) -> str:
    return type_name(cls)
