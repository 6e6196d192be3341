"""Shapes of single values: text, numbers, bytes, enums, and whatever else pydantic can turn into JSON and back."""

from __future__ import annotations

import base64
import binascii
import datetime
import decimal
import enum
import math
import uuid
from types import NoneType
from typing import Annotated, Any, Literal, get_origin

from pydantic import ConfigDict, Field, PydanticUserError, TypeAdapter, ValidationError
from typing_extensions import is_typeddict, override

from zmqagents.runtime.codecs.names import class_key, is_class
from zmqagents.runtime.codecs.shape import Dumped, Shape, TypeTable, UnfitError, bounded, kind_of, split

NATIVE: frozenset[type] = frozenset({str, int, bool, NoneType})
"""What JSON holds as it is, always."""

FLOAT_KEY = "builtins:float"
BYTES_KEY = "builtins:bytes"


class NativeShape(Shape):
    """``str``, ``int``, ``bool`` or ``None``."""

    __slots__ = ("cls", "key")

    closed = True

    def __init__(self, cls: type) -> None:
        self.cls = cls
        self.key = class_key(cls)

    @override
    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.cls) and (self.cls is bool or not isinstance(value, bool))

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if type(value) is self.cls:
            return value, None
        # A subclass (an IntEnum in an int field) is written as what it is equal to; True is no int here.
        if self.accepts(value):
            return self.cls(value.value if isinstance(value, enum.Enum) else value), None
        raise UnfitError(f"declared {self.cls.__name__}, holds {kind_of(value)}")

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        if type(data) is self.cls:
            return data
        if self.cls is int and type(data) is float and data.is_integer():
            return int(data)
        raise UnfitError(f"expected {self.cls.__name__}, got {kind_of(data)}")


class FloatShape(Shape):
    """``float``. JSON has no infinity and no NaN: those are written as text, with a key."""

    __slots__ = ()

    key = FLOAT_KEY

    @override
    def exact(self, value: Any) -> bool:
        try:
            return math.isfinite(value)
        except (TypeError, OverflowError):  # no number at all, or an int too big for a float: not this shape's concern
            return True

    @override
    def accepts(self, value: Any) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool)

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if not self.accepts(value):
            raise UnfitError(f"declared float, holds {kind_of(value)}")
        if isinstance(value, float):
            return dump_float(float(value), binary=binary)
        return int(value), None

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        return load_float(data, keyed=table is not None)


class BytesShape(Shape):
    """``bytes``, written as base64 where the format has no bytes.

    Inside a pydantic model it always carries a key, as pydantic's own plain JSON reads text into bytes as UTF-8.
    """

    __slots__ = ("closed", "keyed")

    key = BYTES_KEY

    def __init__(self, *, keyed: bool) -> None:
        self.keyed = keyed
        self.closed = not keyed

    @override
    def accepts(self, value: Any) -> bool:
        return isinstance(value, (bytes, bytearray, memoryview))

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if not self.accepts(value):
            raise UnfitError(f"declared bytes, holds {kind_of(value)}")
        if binary:
            return bytes(value), None
        return base64.b64encode(value).decode("ascii"), BYTES_KEY if self.keyed else None

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        return load_bytes(data)


class EnumShape(Shape):
    """An ``Enum``: by value where every value is text or a whole number, else by member name, with a key."""

    __slots__ = ("_by_value", "closed", "cls", "key")

    def __init__(self, cls: type[enum.Enum]) -> None:
        self.cls = cls
        self.key = class_key(cls)
        self._by_value = not issubclass(cls, enum.Flag) and all(type(member.value) in {str, int} for member in cls)
        self.closed = self._by_value

    @override
    def accepts(self, value: Any) -> bool:
        return isinstance(value, self.cls)

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if not self.accepts(value):
            raise UnfitError(f"declared {self.cls.__name__}, holds {kind_of(value)}")
        if self._by_value:
            return value.value, None
        return (value.value if isinstance(value, enum.Flag) else value.name), self.key

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        if table is not None and not self._by_value and not issubclass(self.cls, enum.Flag):
            if data not in self.cls.__members__:
                raise UnfitError(f"{self.cls.__name__} has no member of that name")
            return self.cls[data]
        return self.cls(data)


class LeafShape(Shape):
    """A type that pydantic turns into JSON and back by itself: dates, UUID, Decimal, paths, TypedDict, images."""

    __slots__ = ("_adapter", "_cls", "_literal", "key")

    closed = True

    def __init__(self, annotation: Any) -> None:
        """Raises pydantic's PydanticUserError if pydantic can't handle the type."""
        self._cls = annotation if is_class(annotation) and not is_typeddict(annotation) else None
        # Pydantic writes any number or text where a Literal stands, without a warning.
        self._literal = get_origin(annotation) is Literal
        self.key = repr(annotation) if self._cls is None else class_key(self._cls)
        # A dataclass may hold Decimal("NaN"); a model that may not checks that by itself.
        infinite = Annotated[decimal.Decimal, Field(allow_inf_nan=True)]
        self._adapter = adapter_for(infinite if annotation is decimal.Decimal else annotation)

    @override
    def accepts(self, value: Any) -> bool:
        if self._cls is not None:
            return isinstance(value, self._cls)
        try:
            self._adapter.validate_python(value, strict=True)
        except ValidationError:
            return False
        return True

    @override
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        if self._literal and not self.accepts(value):
            raise UnfitError(f"{value!r:.80} is none of {self.key}")
        try:
            return self._adapter.dump_python(value, mode="json", warnings="error"), None
        except ValueError as error:
            raise UnfitError(f"holds {kind_of(value)}: {error}") from error

    @override
    def load(self, data: Any, table: TypeTable | None) -> Any:
        key, _ = split(table)
        if key is not None and key != self.key:
            raise UnfitError(f"a {key} can't stand here")
        return validated(self._adapter, data)


def adapter_for(annotation: Any) -> TypeAdapter[Any]:
    """Pydantic's adapter for a type.

    Raises PydanticUserError if pydantic can't handle it, NameError if it mentions what isn't defined.
    """
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=False))
    except PydanticUserError as error:
        if error.code != "type-adapter-config-unused":
            raise
        adapter = TypeAdapter(annotation)  # a TypedDict or a model brings its own settings
    if not adapter.pydantic_complete:
        raise NameError(f"{annotation!r} mentions what isn't defined")
    return adapter


def validated(adapter: TypeAdapter[Any], data: Any) -> Any:
    """What an adapter makes of data. Raises UnfitError."""
    try:
        return adapter.validate_python(data, strict=False)
    except ValidationError as error:
        raise UnfitError(str(bounded(error))) from None  # the error itself may print as a thousand times the data


def dump_float(value: float, *, binary: bool) -> Dumped:
    """A float; a non-finite one as text with a key, unless the format holds it."""
    if binary or math.isfinite(value):
        return value, None
    return repr(value), FLOAT_KEY


def load_float(data: Any, *, keyed: bool) -> float:
    """The float of ``dump_float``. Raises UnfitError."""
    if type(data) is float:
        return data
    if type(data) is int or (keyed and isinstance(data, str) and data in {"inf", "-inf", "nan"}):
        return float(data)
    raise UnfitError(f"expected float, got {kind_of(data)}")


def load_bytes(data: Any) -> bytes:
    """Bytes as they are, or from base64. Raises UnfitError."""
    if isinstance(data, bytes):
        return data
    if not isinstance(data, str):
        raise UnfitError(f"expected bytes, got {kind_of(data)}")
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise UnfitError(f"expected base64: {error}") from error


_STANDARD: tuple[type, ...] = (
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    uuid.UUID,
    decimal.Decimal,
)
STANDARD_LEAVES: dict[type, LeafShape] = {cls: LeafShape(cls) for cls in _STANDARD}
"""Leaves that may stand where the annotation says Any."""

STANDARD_BY_KEY: dict[str, LeafShape] = {class_key(cls): shape for cls, shape in STANDARD_LEAVES.items()}
