"""Shapes of places whose annotation leaves the class open: a base class, a union, or anything at all."""

from __future__ import annotations

import enum
from collections.abc import Callable
from functools import cached_property
from typing import Any

from pydantic import TypeAdapter
from typing_extensions import override

from zmqagents.runtime.codecs.containers import DICT_KEY, KIND_KEYS, KINDS, DictShape, SequenceShape, TupleShape
from zmqagents.runtime.codecs.names import class_key, describe, is_structured, loaded_subclass
from zmqagents.runtime.codecs.scalars import (
    BYTES_KEY,
    FLOAT_KEY,
    NATIVE,
    STANDARD_BY_KEY,
    STANDARD_LEAVES,
    BytesShape,
    FloatShape,
    NativeShape,
    adapter_for,
    validated,
)
from zmqagents.runtime.codecs.shape import Dumped, Instance, Shape, TypeTable, UnfitError, join, kind_of, split

# What a format may hold as it is; CBOR could bring more, which nobody here wrote.
_PLAIN = NATIVE | {float, bytes}
_NATIVE_KEYS: dict[str, NativeShape] = {class_key(cls): NativeShape(cls) for cls in NATIVE}
# Members of a union by key. Keys come from peers, and several can mean one class, hence the bound.
_MEMO_LIMIT = 256
_KEYED_BYTES = BytesShape(keyed=True)
_FLOAT = FloatShape()


class ClassShape(Shape):
    """An instance of a declared class or of any class below it."""

    __slots__ = ("_instance", "_own", "_structured", "cls")

    def __init__(self, cls: type[Any], instance: Callable[[type[Any]], Instance]) -> None:
        self.cls = cls
        self._instance = instance
        self._structured = is_structured(cls)
        # Made when first needed: a class may hold instances of itself.
        self._own: Instance | None = None

    @override
    def exact(self, value: Any) -> bool:
        if type(value) is not self.cls or not self._structured:
            return False
        if self._own is None:
            self._own = self._instance(self.cls)
        return self._own.closed or self._own.exact(value)

    @override
    def key_of(self, value: Any) -> str:
        return class_key(type(value))

    @override
    def claims(self, key: str) -> bool:
        return loaded_subclass(self.cls, key) is not None

    @override
    def accepts(self, value: Any) -> bool:
        return issubclass(type(value), self.cls) and is_structured(type(value))

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        cls = type(value)
        if not self.accepts(value):
            raise UnfitError(f"declared {describe(self.cls)}, holds {kind_of(value)}")
        data, tables = self._instance(cls).dump(value, binary=binary)
        return data, join(None if cls is self.cls else class_key(cls), tables)

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        key, tables = split(table)
        cls = self.cls if key is None else loaded_subclass(self.cls, key)
        if cls is None:
            what = "write it out once, as in the key" if "[" in str(key) else "import the module that defines it"
            raise UnfitError(f"{key!r} is no loaded kind of {describe(self.cls)}: {what}")
        if not is_structured(cls):
            raise UnfitError(f"{describe(cls)} is neither a dataclass nor a pydantic model")
        return self._instance(cls).load(data, tables)


class OptionalShape(Shape):
    """One shape, or None: null tells the two apart."""

    __slots__ = ("_inner", "closed")

    def __init__(self, inner: Shape) -> None:
        self._inner = inner
        self.closed = inner.closed

    @override
    def exact(self, value: Any) -> bool:
        return value is None or self._inner.exact(value)

    @override
    def accepts(self, value: Any) -> bool:
        return value is None or self._inner.accepts(value)

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        return (None, None) if value is None else self._inner.dump(value, binary=binary)

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        return None if data is None else self._inner.load(data, table)


class UnionShape(Shape):
    """One of several shapes, or None, with a key wherever the plain data alone could mean more than one of them.

    Between several lists, or several dictionaries, a key alone doesn't tell: there it is ``<member's index>#<key>``.
    """

    def __init__(self, members: list[Shape], annotation: Any) -> None:
        """``members`` without None or unions; ``annotation`` is the union itself, for data that carries no key."""
        self._members = members
        self._annotation = annotation
        self._found: dict[str, Shape] = {}
        self._floats = any(isinstance(m, FloatShape) for m in members)
        self._arrays = [m for m in members if isinstance(m, (SequenceShape, TupleShape))]
        self._objects = [m for m in members if isinstance(m, (DictShape, ClassShape))]
        dicts = [m for m in members if isinstance(m, DictShape)]
        self._indexed = [*self._arrays * (len(self._arrays) > 1), *dicts * (len(dicts) > 1)]
        known = (NativeShape, FloatShape, SequenceShape, TupleShape, DictShape, ClassShape)
        # A date or an enum beside text, say: then even text needs a key.
        self._others = any(not isinstance(m, known) for m in members)
        single = not self._others and len(self._arrays) <= 1 and len(self._objects) <= 1
        self.closed = single and all(m.closed for m in members)

    @override
    def exact(self, value: Any) -> bool:
        if value is None:
            return True
        member = self._plain_member(value)
        return member is not None and (member.closed or member.exact(value))

    @override
    def accepts(self, value: Any) -> bool:
        return value is None or any(member.accepts(value) for member in self._members)

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if value is None:
            return None, None
        plain = self._plain_member(value)
        if plain is not None:
            return plain.dump(value, binary=binary)
        failure: UnfitError | None = None
        for member in self._candidates(value):
            try:
                data, table = member.dump(value, binary=binary)
            except UnfitError as error:  # a list of something else, say
                failure = failure or error
                continue
            key, tables = split(table)
            key = key or member.key_of(value)
            return data, join(f"{self._members.index(member)}#{key}" if member in self._indexed else key, tables)
        raise failure or UnfitError(f"holds {kind_of(value)}, which is none of the declared types")

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        key, tables = split(table)
        if key is not None:
            member, key = self._named(key)
            return member.load(data, join(key, tables))
        if data is None:
            return None
        likely = None if self._others else self._by_data(data)
        return validated(self._adapter, data) if likely is None else likely.load(data, table)

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return adapter_for(self._annotation)

    def _named(self, key: str) -> tuple[Shape, str]:
        """The member that a key means, and the key without its index. Raises UnfitError."""
        found = self._found.get(key)
        if found is not None:
            return found, key
        index, mark, rest = key.partition("#")
        for number, member in enumerate(self._members):
            if mark and member in self._indexed:
                if str(number) == index:
                    return member, rest
            elif member.claims(key):
                if len(self._found) >= _MEMO_LIMIT:
                    self._found.clear()
                self._found[key] = member
                return member, key
        raise UnfitError(f"{key!r} is none of the types declared here, or its module isn't loaded")

    def _by_data(self, data: Any) -> Shape | None:
        if type(data) is list:
            return self._arrays[0] if len(self._arrays) == 1 else None
        if type(data) is dict:
            return self._objects[0] if len(self._objects) == 1 else None
        if type(data) is float and self._floats:
            return _FLOAT
        return next((m for m in self._members if isinstance(m, NativeShape) and m.cls is type(data)), None)

    def _plain_member(self, value: Any) -> Shape | None:
        """The member that the plain data of ``value`` leads back to, None if a key is needed."""
        if self._others:
            return None
        cls = type(value)
        if cls in NATIVE or cls is float:
            return next((m for m in self._members if m.key == class_key(cls)), None)
        if cls in KIND_KEYS:
            fits = len(self._arrays) == 1 and (isinstance(self._arrays[0], TupleShape) or cls is list)
            return self._arrays[0] if fits else None
        if len(self._objects) == 1:
            only = self._objects[0]
            same = cls is only.cls if isinstance(only, ClassShape) else cls is dict
            return only if same else None
        return None

    def _candidates(self, value: Any) -> list[Shape]:
        """Members that a value may belong to, those of its very class first."""
        key = class_key(type(value))
        fitting = [m for m in self._members if m.accepts(value)]
        return sorted(fitting, key=lambda m: (m.cls is not type(value)) if isinstance(m, ClassShape) else m.key != key)


class AnyShape(Shape):
    """Whatever JSON holds, and what carries a key: standard types, and classes that messages here are made of.

    ``known`` finds, by its key, a class that a message of this process mentions: a peer can name no other.
    """

    def __init__(
        self,
        instance: Callable[[type[Any]], Instance],
        leaf: Callable[[type[Any]], Shape],
        known: Callable[[str], type],
    ) -> None:
        self._instance = instance
        self._leaf = leaf
        self._known = known
        self._items = SequenceShape(self, list)
        self._pairs = DictShape(self, self)

    @override
    def exact(self, value: Any) -> bool:
        cls = type(value)
        if cls in NATIVE:
            return True
        if cls is float:
            return _FLOAT.exact(value)
        if cls is list:
            return all(map(self.exact, value))
        return cls is dict and self._pairs.exact(value)

    @override
    def accepts(self, value: Any) -> bool:
        return True

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        cls = type(value)
        if cls in NATIVE:
            return value, None
        if cls is float:
            return _FLOAT.dump(value, binary=binary)
        if cls in KIND_KEYS:
            return self._items.dump(value, binary=binary)
        if isinstance(value, dict):
            return self._pairs.dump(value, binary=binary)
        if isinstance(value, (bytes, bytearray)):
            return _KEYED_BYTES.dump(value, binary=binary)
        return self._dump_object(value, binary=binary)

    def _dump_object(self, value: Any, *, binary: bool) -> Dumped:
        cls = type(value)
        if is_structured(cls):
            data, tables = self._instance(cls).dump(value, binary=binary)
            return data, join(class_key(cls), tables)
        if isinstance(value, enum.Enum):
            return self._leaf(cls).dump(value, binary=binary)[0], class_key(cls)
        for base, shape in STANDARD_LEAVES.items():
            if isinstance(value, base):
                return shape.dump(value, binary=binary)[0], shape.key
        for base in (str, int, float):
            if isinstance(value, base):  # a subclass, as numpy.float64: written as what it is equal to
                return self.dump(base(value), binary=binary)
        leaf = self._leaf(cls)
        if isinstance(leaf, ClassShape):
            raise UnfitError(f"holds {kind_of(value)}, which is neither plain data nor a dataclass or pydantic model")
        return leaf.dump(value, binary=binary)[0], class_key(cls)

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        key, tables = split(table)
        if key is None:
            return self._load_plain(data, table)
        if key in KINDS:
            return self._items.load(data, table)
        if key == DICT_KEY:
            return self._pairs.load(data, table)
        if key == BYTES_KEY:
            return _KEYED_BYTES.load(data, table)
        if key == FLOAT_KEY:
            return _FLOAT.load(data, table)
        standard = STANDARD_BY_KEY.get(key) or _NATIVE_KEYS.get(key)
        if standard is not None:
            return standard.load(data, table)
        cls = self._known(key)
        if is_structured(cls):
            return self._instance(cls).load(data, tables)
        return self._leaf(cls).load(data, key)

    def _load_plain(self, data: Any, table: TypeTable | None) -> Any:
        if type(data) is dict:
            return self._pairs.load(data, table)
        if type(data) is list:
            return self._items.load(data, table)
        if type(data) not in _PLAIN:
            raise UnfitError(f"{kind_of(data)} is no plain data")
        return data
