"""Shapes of lists, tuples, sets and dictionaries."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from typing_extensions import override

from zmqagents.runtime.codecs.scalars import NativeShape
from zmqagents.runtime.codecs.shape import Dumped, Shape, TypeTable, UnfitError, join, kind_of, split

KINDS: dict[str, type] = {
    "builtins:list": list,
    "builtins:tuple": tuple,
    "builtins:set": set,
    "builtins:frozenset": frozenset,
}
KIND_KEYS: dict[type, str] = {cls: key for key, cls in KINDS.items()}
DICT_KEY = "builtins:dict"


class SequenceShape(Shape):
    """Any number of items of one shape; ``kind`` is what is built where the table doesn't say.

    ``abstract``: the annotation (``Sequence[...]``) leaves open which kind the value is.
    """

    __slots__ = ("_abstract", "_item", "closed", "key", "kind")

    def __init__(self, item: Shape, kind: type, *, abstract: bool = False) -> None:
        self._item = item
        self._abstract = abstract
        self.kind = kind
        self.key = KIND_KEYS[kind]
        self.closed = item.closed and not abstract

    @override
    def exact(self, value: Any) -> bool:
        if type(value) is not self.kind:
            return False
        items: Any = value
        return self._item.closed or all(map(self._item.exact, items))

    @override
    def key_of(self, value: Any) -> str:
        return KIND_KEYS.get(type(value), self.key)

    @override
    def claims(self, key: str) -> bool:
        return key in KINDS if self._abstract else key == self.key

    @override
    def accepts(self, value: Any) -> bool:
        if not self._abstract:
            return isinstance(value, self.kind)
        return isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray, Mapping))

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if not isinstance(value, Collection) or isinstance(value, (str, bytes, bytearray, Mapping)):
            raise UnfitError(f"declared {self.kind.__name__}, holds {kind_of(value)}")
        data, tables = dump_items(((self._item, item) for item in value), binary=binary)
        key = self.key_of(value)
        return data, join(None if key == self.key else key, tables)

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        key, tables = split(table)
        kind = self.kind if key is None else KINDS.get(key)
        if kind is None:
            raise UnfitError(f"a {key} can't stand here")
        if type(data) is not list:
            raise UnfitError(f"expected a list, got {kind_of(data)}")
        load = self._item.load
        if not tables:
            return kind([load(item, None) for item in data])
        return kind([load(item, tables.get(str(index))) for index, item in enumerate(data)])


class TupleShape(Shape):
    """A tuple with a shape for each place."""

    __slots__ = ("_items", "closed")

    key = "builtins:tuple"

    def __init__(self, items: tuple[Shape, ...]) -> None:
        self._items = items
        self.closed = all(item.closed for item in items)

    @override
    def exact(self, value: Any) -> bool:
        if type(value) is not tuple or len(value) != len(self._items):
            return False
        return all(shape.closed or shape.exact(item) for shape, item in zip(self._items, value, strict=True))

    @override
    def accepts(self, value: Any) -> bool:
        return isinstance(value, tuple) and len(value) == len(self._items)

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if not isinstance(value, (tuple, list)) or len(value) != len(self._items):
            raise UnfitError(f"declared a tuple of {len(self._items)}, holds {kind_of(value)}")
        data, tables = dump_items(zip(self._items, value, strict=True), binary=binary)
        return data, join(None, tables)

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        key, tables = split(table)
        if key not in {None, self.key}:
            raise UnfitError(f"a {key} can't stand here")
        if type(data) is not list or len(data) != len(self._items):
            raise UnfitError(f"expected a list of {len(self._items)}, got {kind_of(data)}")
        pairs = zip(self._items, data, strict=True)
        return tuple(shape.load(item, tables.get(str(index))) for index, (shape, item) in enumerate(pairs))


class DictShape(Shape):
    """A dictionary: an object of JSON where the keys are text or whole numbers, else a list of pairs, with a key."""

    __slots__ = ("_key", "_kind", "_plain_keys", "_value", "closed")

    key = DICT_KEY

    def __init__(self, key: Shape, value: Shape, kind: type = dict) -> None:
        self._key = key
        self._value = value
        self._kind = kind
        # The class that all keys have to be of for an object of JSON to do.
        self._plain_keys: type | None = str
        if isinstance(key, NativeShape):
            self._plain_keys = key.cls if key.cls in {str, int} else None
        elif key.closed:
            self._plain_keys = None
        self.closed = value.closed and isinstance(key, NativeShape) and self._plain_keys is not None

    @override
    def exact(self, value: Any) -> bool:
        if type(value) is not self._kind:
            return False
        items: Any = value
        if not all(type(name) is self._plain_keys for name in items):
            return False
        return self._value.closed or all(map(self._value.exact, items.values()))

    @override
    def accepts(self, value: Any) -> bool:
        return isinstance(value, Mapping)

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if not self.accepts(value):
            raise UnfitError(f"declared {self._kind.__name__}, holds {kind_of(value)}")
        if not all(type(name) is self._plain_keys for name in value):
            return self._dump_pairs(value, binary=binary)
        data: dict[str, Any] = {}
        tables: dict[str, Any] = {}
        for key, item in value.items():
            name = str(key)
            try:
                data[name], table = self._value.dump(item, binary=binary)
            except UnfitError as error:
                error.inside(f"[{key!r}]")
                raise
            if table is not None:
                tables[name] = table
        return data, join(None, tables)

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        key, tables = split(table)
        if key not in {None, DICT_KEY}:
            raise UnfitError(f"a {key} can't stand here")
        if type(data) is list:
            return self._kind(self._load_pairs(data, tables))
        if type(data) is not dict:
            raise UnfitError(f"expected an object, got {kind_of(data)}")
        load = self._value.load
        loaded = {name: load(item, tables.get(name)) for name, item in data.items()}
        if self._plain_keys is str:
            if not all(type(name) is str for name in loaded):  # JSON has no others, MessagePack and CBOR do
                raise UnfitError("expected text as every key")
        else:
            loaded = {self._load_name(name): item for name, item in loaded.items()}
        return loaded if self._kind is dict else self._kind(loaded)

    def _load_name(self, name: Any) -> Any:
        if self._plain_keys is int and isinstance(name, str):
            return int(name)
        return self._key.load(name, None)

    def _dump_pairs(self, value: Mapping[Any, Any], *, binary: bool) -> Dumped:
        pair = TupleShape((self._key, self._value))
        data, tables = dump_items(((pair, item) for item in value.items()), binary=binary)
        return data, join(DICT_KEY, tables)

    def _load_pairs(self, data: list[Any], tables: dict[str, Any]) -> list[tuple[Any, Any]]:
        pair = TupleShape((self._key, self._value))
        return [pair.load(item, tables.get(str(index))) for index, item in enumerate(data)]


def dump_items(items: Any, *, binary: bool) -> tuple[list[Any], dict[str, Any]]:
    """The data and tables of (shape, value) pairs. Raises UnfitError."""
    data: list[Any] = []
    tables: dict[str, Any] = {}
    for index, (shape, value) in enumerate(items):
        try:
            item, table = shape.dump(value, binary=binary)
        except UnfitError as error:
            error.inside(f"[{index}]")
            raise
        data.append(item)
        if table is not None:
            tables[str(index)] = table
    return data, tables
