"""Which dataclasses msgspec alone writes and reads as this package would.

msgspec is several times faster than building from shapes, so it does all the flat dataclasses and most nested ones. It
must not where a class has to be called to be built (a pydantic dataclass, one with an InitVar or a hand-written
``__init__`` that does more), where None stands in for a missing value, or where msgspec would ask a hook.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator
from typing import Any, get_origin

from msgspec import inspect, json

from zmqagents.runtime.codecs.annotations import admits_none, field_annotations

_NATIVE = (
    inspect.AnyType,
    inspect.NoneType,
    inspect.BoolType,
    inspect.IntType,
    inspect.FloatType,
    inspect.StrType,
    inspect.BytesType,
    inspect.DateTimeType,
    inspect.DateType,
    inspect.TimeType,
    inspect.TimeDeltaType,
    inspect.UUIDType,
    inspect.DecimalType,
    inspect.LiteralType,
)


def msgspec_reads(cls: type[Any]) -> bool:
    """Whether msgspec alone can do a dataclass and everything in it."""
    try:
        root = inspect.type_info(cls)
        json.Decoder(cls)
    except (TypeError, ValueError, NameError, AttributeError, SyntaxError):  # what msgspec says of a type it can't do
        return False
    return all(map(_is_simple, type_nodes(root)))


def type_nodes(root: Any) -> Iterator[Any]:
    """What msgspec knows of a type and of each type in it."""
    seen: set[int] = set()
    waiting: list[Any] = [root]
    while waiting:
        node = waiting.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting.extend(_children(node))


def _is_simple(node: Any) -> bool:
    if isinstance(node, inspect.DataclassType):
        return _is_plain_dataclass(get_origin(node.cls) or node.cls)
    if isinstance(node, inspect.EnumType):
        return not issubclass(node.cls, enum.Flag)
    containers = (inspect.CollectionType, inspect.TupleType, inspect.DictType, inspect.UnionType)
    return isinstance(node, (*_NATIVE, *containers))


def _is_plain_dataclass(cls: Any) -> bool:
    if hasattr(cls, "__pydantic_validator__"):
        return False
    if len(dataclasses.fields(cls)) != len(_stored_fields(cls)) or not cls.__dataclass_params__.init:
        return False
    hints = field_annotations(cls)
    return all(field.default is not None or admits_none(hints[field.name]) for field in dataclasses.fields(cls))


def _stored_fields(cls: Any) -> list[str]:
    """Names of the fields and of what looks like one but isn't stored (InitVar; ClassVar is left out)."""
    pseudo = cls.__dataclass_fields__
    return [name for name, field in pseudo.items() if str(field._field_type) != "_FIELD_CLASSVAR"]  # noqa: SLF001


def _children(node: Any) -> Iterator[Any]:
    if isinstance(node, inspect.DataclassType):
        yield from (field.type for field in node.fields)
    elif isinstance(node, inspect.UnionType):
        yield from node.types
    elif isinstance(node, inspect.DictType):
        yield node.key_type
        yield node.value_type
    elif isinstance(node, inspect.TupleType):
        yield from node.item_types
    elif isinstance(node, inspect.CollectionType):
        yield node.item_type
