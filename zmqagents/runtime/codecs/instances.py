"""How dataclasses and pydantic models are written and read, field by field.

A dataclass is built by calling it, so that its ``__init__`` and ``__post_init__`` run; fields outside ``__init__`` are
set afterwards. A pydantic model is written by pydantic (custom serializers, excluded fields and all) except for its
*open* fields, those whose plain data may not say everything; it is built by ``model_validate``, into which the open
fields go as ready instances, so that every value still passes validation.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from pydantic import BaseModel, RootModel
from typing_extensions import override

from zmqagents.runtime.codecs.names import describe
from zmqagents.runtime.codecs.shape import Instance, Shape, UnfitError, kind_of

_UNSET = object()


class DataclassInstance(Instance):
    """A dataclass, given the shape of each field."""

    __slots__ = ("_cls", "_fields", "_late", "_open", "_required_initvars", "closed")

    def __init__(self, cls: type[Any], shapes: dict[str, Shape]) -> None:
        self._cls = cls
        self._fields = shapes
        self._open = [(name, shape) for name, shape in shapes.items() if not shape.closed]
        self.closed = not self._open
        self._late = [field.name for field in dataclasses.fields(cls) if not field.init]
        self._required_initvars = _required_initvars(cls)

    @override
    def exact(self, value: Any) -> bool:
        return all(shape.exact(getattr(value, name, None)) for name, shape in self._open)

    @override
    def dump(self, value: Any, *, binary: bool) -> tuple[Any, dict[str, Any]]:
        if self._required_initvars:
            missing = self._required_initvars[0]
            raise UnfitError(f"{describe(self._cls)} can't be built again without its InitVar {missing!r}")
        data: dict[str, Any] = {}
        tables: dict[str, Any] = {}
        for name, shape in self._fields.items():
            item = getattr(value, name, _UNSET)
            if item is _UNSET:
                continue
            try:
                data[name], table = shape.dump(item, binary=binary)
            except UnfitError as error:
                error.inside(name)
                raise
            if table is not None:
                tables[name] = table
        return data, tables

    @override
    def load(self, data: Any, tables: dict[str, Any]) -> Any:
        if type(data) is not dict:
            raise UnfitError(f"expected the fields of {describe(self._cls)}, got {kind_of(data)}")
        values: dict[str, Any] = {}
        for name, shape in self._fields.items():
            if name in data:
                try:
                    values[name] = shape.load(data[name], tables.get(name))
                except UnfitError as error:
                    error.inside(name)
                    raise
        late = {name: values.pop(name) for name in self._late if name in values}
        instance = self._cls(**values)
        for name, item in late.items():
            object.__setattr__(instance, name, item)  # a frozen dataclass has no other way in
        return instance


class ModelInstance(Instance):
    """A pydantic model, given the shapes of its open fields and of extra ones (None where they are not allowed)."""

    __slots__ = ("_cls", "_extra", "_open", "closed")

    def __init__(self, cls: type[BaseModel], open_fields: dict[str, Shape], extra: Shape | None) -> None:
        self._cls = cls
        self._open = open_fields
        self._extra = extra
        self.closed = not open_fields and extra is None

    @override
    def exact(self, value: Any) -> bool:
        if not all(shape.exact(getattr(value, name, None)) for name, shape in self._open.items()):
            return False
        extras = value.__pydantic_extra__
        return self._extra is None or not extras or all(map(self._extra.exact, extras.values()))

    @override
    def dump(self, value: Any, *, binary: bool) -> tuple[Any, dict[str, Any]]:
        extras = value.__pydantic_extra__ if self._extra is not None else None
        shapes = {**self._open, **dict.fromkeys(extras or (), self._extra)}
        data = dump_model(value, leaving_out=set(shapes))
        tables: dict[str, Any] = {}
        for name, shape in shapes.items():
            item = getattr(value, name, _UNSET)
            if item is _UNSET or shape is None:
                continue
            try:
                data[name], table = shape.dump(item, binary=binary)
            except UnfitError as error:
                error.inside(name)
                raise
            if table is not None:
                tables[name] = table
        return data, tables

    @override
    def load(self, data: Any, tables: dict[str, Any]) -> Any:
        if not tables:
            return build_model(self._cls, data)
        if type(data) is not dict:
            raise UnfitError(f"expected the fields of {describe(self._cls)}, got {kind_of(data)}")
        values = dict(data)
        for name, table in tables.items():
            shape = self._open.get(name) or (None if name in self._cls.model_fields else self._extra)
            if shape is None or name not in values:
                raise UnfitError(f"{describe(self._cls)} has no open field {name!r}")
            try:
                values[name] = shape.load(values[name], table)
            except UnfitError as error:
                error.inside(name)
                raise
        return build_model(self._cls, values)


class RootInstance(Instance):
    """A pydantic ``RootModel``: its data is that of its one value, whose table stands under ``root``."""

    __slots__ = ("_cls", "_root", "closed")

    def __init__(self, cls: type[RootModel[Any]], root: Shape) -> None:
        self._cls = cls
        self._root = root
        self.closed = root.closed

    @override
    def exact(self, value: Any) -> bool:
        return self.closed or self._root.exact(value.root)

    @override
    def dump(self, value: Any, *, binary: bool) -> tuple[Any, dict[str, Any]]:
        if self.closed:
            return dump_model(value, leaving_out=None), {}
        data, table = self._root.dump(value.root, binary=binary)
        return data, {} if table is None else {"root": table}

    @override
    def load(self, data: Any, tables: dict[str, Any]) -> Any:
        table = tables.get("root")
        return build_model(self._cls, data if table is None else self._root.load(data, table))


def dump_model(value: BaseModel, *, leaving_out: set[str] | None) -> Any:
    """What pydantic makes of a model, by field name and without computed fields, so that it validates again."""
    return value.model_dump(mode="json", round_trip=True, by_alias=False, exclude=leaving_out, warnings=False)


def build_model(cls: type[BaseModel], data: Any) -> BaseModel:
    """A validated model. Lax even where the model is strict: JSON has text where a strict field wants a datetime."""
    return cls.model_validate(data, strict=False, by_alias=True, by_name=True)


def _required_initvars(cls: type[Any]) -> list[str]:
    pseudo = getattr(cls, "__dataclass_fields__", {})
    names = (name for name, field in pseudo.items() if str(field._field_type) == "_FIELD_INITVAR")  # noqa: SLF001
    return [name for name in names if pseudo[name].default is dataclasses.MISSING]
