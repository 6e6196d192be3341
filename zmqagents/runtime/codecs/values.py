"""Messages and replies that are no class of the user's: None, text, numbers, bytes, lists, dictionaries.

AutoGen's in-process runtime lets a handler return these. They travel under reserved type names, which every process
knows, so that no record lists them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import NoneType
from typing import Any

from msgspec import json

from zmqagents.protocol.frames import Part
from zmqagents.runtime.codecs import content_types
from zmqagents.runtime.codecs.compiler import shape_of
from zmqagents.runtime.codecs.json_codecs import open_document
from zmqagents.runtime.codecs.serializer import Serializer
from zmqagents.runtime.codecs.shape import UnfitError, join, kind_of, split

NULL_NAME = "null"
_NULL = b"null"
_encode = json.Encoder().encode
_ANYTHING = shape_of(Any, in_model=False)

VALUE_NAMES: dict[type, str] = {
    NoneType: NULL_NAME,
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    bytes: "bytes",
    list: "list",
    dict: "dict",
    tuple: "tuple",
}


class ValueSerializer(Serializer[Any]):
    """A serializer of one kind of plain value. Raises KeyError for another class."""

    def __init__(self, cls: type, *, tagged: bool = False) -> None:
        self.cls = cls
        self.type_name = VALUE_NAMES[cls]
        self.data_content_type = content_types.JSON
        if tagged:
            self.data_content_type = content_types.TAGGED_JSON
            self.write, self.read = _write_tagged, self._checked(_read_tagged)
        elif cls is NoneType:
            self.write, self.read = _write_null, _read_null
        elif cls is float:
            self.write, self.read = _write_float, _read_float
        elif cls is bytes:
            self.data_content_type = content_types.OCTETS
            self.write, self.read = bytes, bytes
        else:
            self.write, self.read = _encode, json.Decoder(cls).decode
            if cls in {list, dict}:
                self.fits = _ANYTHING.exact
            elif cls is tuple:
                self.fits = _never

    def _checked(self, read: Callable[[Part], Any]) -> Callable[[Part], Any]:
        def checked(payload: Part) -> Any:
            value = read(payload)
            if type(value) is not self.cls:
                raise UnfitError(f"expected {self.type_name}, got {kind_of(value)}")
            return value

        return checked


def _write_null(_: None) -> bytes:
    return _NULL


def _read_null(payload: Part) -> None:
    if payload != _NULL:
        raise UnfitError("expected null")


def _write_float(value: float) -> bytes:
    return _encode(value if math.isfinite(value) else repr(value))


_read_number = json.Decoder(float | str).decode


def _read_float(payload: Part) -> float:
    return float(_read_number(payload))


def _never(_: Any) -> bool:
    return False


def _write_tagged(value: Any) -> bytes:
    data, table = _ANYTHING.dump(value, binary=False)
    # The type name tells the kind of the outermost value, except for a tuple and for pairs, which carry their key.
    key, tables = split(table)
    return _encode({"value": data, "types": join(key, tables)} if table is not None else {"value": data})


def _read_tagged(payload: Part) -> Any:
    value, table = open_document(json.decode(payload))
    return _ANYTHING.load(value, table)


VALUE_SERIALIZERS: dict[type, tuple[ValueSerializer, ...]] = {
    cls: (ValueSerializer(cls), ValueSerializer(cls, tagged=True))
    if cls in {list, dict, tuple}
    else (ValueSerializer(cls),)
    for cls in VALUE_NAMES
}
