"""The same JSON as msgspec's, several times faster where nearly all of it is long texts.

msgspec goes over a text byte by byte; orjson, which writes here, and jiter, which reads, take 16 or 32 at once: a
dataclass with 1 MiB of text takes 35 instead of 250 microseconds to write, and 85 to read. Nothing but the time may
change, so each way is taken only where the results are known to be the same, and msgspec does the rest, the errors
included.

Writing: a message that holds nothing but ``str``, ``int``, ``bool``, ``None``, lists, dicts and the dataclasses of its
annotations, each of exactly that class. Floats are left out (orjson writes 1e+16, msgspec 1e16), and so is what orjson
would see in another way, such as attributes that are no fields. orjson itself refuses whole numbers beyond 64 bits,
keys that are no ``str`` and lone surrogates.

Reading: classes whose annotations say no more than that. jiter is the stricter parser, and as it refuses a key that
comes twice, no value goes unchecked. Floats are left out here, too (jiter reads 1e400 as infinity, msgspec refuses it).
Rejected: pydantic_core's reader, which is jiter without the check of keys, and orjson's, which is slower than msgspec.

Each way costs more than it gains for short texts, and jiter does for those that are not ASCII. How long a message
becomes is not known before it is written; to look at each field would cost small ones more than to write them, so the
last message of the class tells. What arrives is looked at in three places.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Collection, Iterator
from inspect import getattr_static
from types import MemberDescriptorType, NoneType
from typing import Any, cast, get_origin

import orjson
from jiter import from_json
from msgspec import convert, inspect

from zmqagents.protocol.frames import Part
from zmqagents.runtime.codecs.fast import type_nodes

LARGE = 32 * 1024
"""Bytes of JSON from which another way is tried; both pay from about 8 KiB on."""

_MOST_VALUES = 64
"""Values in a message to look at before it is written: in Python, so more would cost what orjson saves."""

_TEXT_PER_VALUE = 512
"""Characters that there must be for each value, or msgspec is as fast."""

_FIXED_COST = 8
"""What it takes to try, in values."""

_SAMPLE = 256
"""Bytes to look at in each place of a payload; what isn't long texts has a quotation mark in nearly all of them."""

_Names = dict[type[Any], tuple[str, ...]]

_PLAIN = (inspect.StrType(), inspect.IntType(), inspect.BoolType(), inspect.NoneType())
_NUMBERS = (inspect.IntType, inspect.BoolType, inspect.NoneType)
_SCALARS = frozenset((int, bool, NoneType))
_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE: made by a class statement

# ASCII inside of a JSON string, with few escapes, as each stops jiter. The first byte may be the second one of an
# escape, and the last one the first.
_INSIDE_TEXT = re.compile(rb'"?[^"\\\x80-\xff]*(?:\\[^\x80-\xff][^"\\\x80-\xff]*){0,16}\\?', re.DOTALL)


def writer(cls: type[Any], encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    """What writes instances of a dataclass as ``encode``, msgspec's, does."""
    names = {each: tuple(field.name for field in dataclasses.fields(each)) for each in _dataclasses(cls)}
    if not all(map(_is_ordinary, names)):
        return encode

    def fields(value: Any) -> dict[str, Any]:
        return {name: getattr(value, name) for name in names[type(value)]}

    last_was_large = False

    def write(message: Any) -> bytes:
        nonlocal last_was_large
        if last_was_large and _is_long_texts(message, names):
            try:
                return orjson.dumps(message, fields, orjson.OPT_PASSTHROUGH_DATACLASS)
            except TypeError:  # msgspec may know how
                pass
        payload = encode(message)
        last_was_large = len(payload) >= LARGE
        return payload

    return write


def reader(cls: type[Any], decode: Callable[[Part], Any]) -> Callable[[Part], Any]:
    """What reads instances of a dataclass as ``decode``, msgspec's, does."""
    if not _reads_the_same(cls):
        return decode

    def read(payload: Part) -> Any:
        if len(payload) < LARGE or not _looks_like_text(payload):
            return decode(payload)
        try:
            value = from_json(bytes(payload), allow_inf_nan=False, catch_duplicate_keys=True)
            return convert(value, cls)
        except ValueError:  # both refuse with it; msgspec may be able to read it, or says what is wrong
            return decode(payload)

    return read


def _is_long_texts(message: Any, names: _Names) -> bool:
    """Whether orjson writes the same, and in less time."""
    values = [message]
    characters = 0
    for value in values:
        kind = type(value)
        if kind is str:
            characters += len(value)
        elif kind not in _SCALARS:
            inner = _inside(value, names)
            if inner is None or len(values) + len(inner) > _MOST_VALUES:
                return False
            values.extend(inner)
    return characters >= _TEXT_PER_VALUE * (len(values) + _FIXED_COST)


def _inside(value: Any, names: _Names) -> Collection[Any] | None:
    """What a list, dict or dataclass holds; None if ``value`` is none of these."""
    kind = type(value)
    if kind is list:
        return cast("list[Any]", value)
    if kind is dict:
        return cast("dict[Any, Any]", value).values()
    try:
        stored = getattr(value, "__dict__", None)
        if stored is not None:
            return [stored[name] for name in names[kind]]
        return [getattr(value, name) for name in names[kind]]
    except (KeyError, AttributeError):  # another class; or a field has no value of its own, which msgspec leaves out
        return None


def _is_ordinary(cls: type[Any]) -> bool:
    """Whether ``getattr`` gives what msgspec takes, and nothing takes an instance for something else."""
    return (
        getattr_static(cls, "__getattribute__") is object.__getattribute__
        and all(base is object or base.__flags__ & _HEAP_TYPE for base in cls.__mro__)
        and all(_is_stored(getattr_static(cls, field.name, None)) for field in dataclasses.fields(cls))
    )


def _is_stored(attribute: Any) -> bool:
    """Whether an instance's own value goes before what its class has by the same name."""
    return isinstance(attribute, MemberDescriptorType) or not hasattr(type(attribute), "__set__")


def _looks_like_text(payload: Part) -> bool:
    quarter = len(payload) // 4
    return all(_INSIDE_TEXT.fullmatch(payload, place, place + _SAMPLE) for place in (quarter, 2 * quarter, 3 * quarter))


def _reads_the_same(cls: type[Any]) -> bool:
    return all(map(_is_plain, type_nodes(inspect.type_info(cls))))


def _is_plain(node: Any) -> bool:
    if isinstance(node, inspect.DictType):
        return node.key_type == inspect.StrType() and _is_unbounded(node)
    if isinstance(node, inspect.ListType):
        # A list of numbers can be large without a quotation mark, and takes longer by way of a dict.
        return not any(isinstance(item, _NUMBERS) for item in _members(node.item_type)) and _is_unbounded(node)
    return isinstance(node, (inspect.DataclassType, inspect.UnionType)) or node in _PLAIN


def _is_unbounded(node: inspect.DictType | inspect.ListType) -> bool:
    return node.min_length is None and node.max_length is None


def _members(node: Any) -> tuple[Any, ...]:
    return node.types if isinstance(node, inspect.UnionType) else (node,)


def _dataclasses(cls: type[Any]) -> Iterator[type[Any]]:
    for node in type_nodes(inspect.type_info(cls)):
        if isinstance(node, inspect.DataclassType):
            yield get_origin(node.cls) or node.cls
