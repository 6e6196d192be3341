"""Reads the annotations of a class's fields, and peels off what doesn't change how a value is written."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
from typing import (
    Annotated,
    Any,
    Final,
    NewType,
    Optional,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import Discriminator, SerializeAsAny, Tag
from pydantic.fields import FieldInfo
from typing_extensions import NotRequired, ReadOnly, Required, TypeAliasType

_WRAPPERS = (Final, Required, NotRequired, ReadOnly)
# Metadata that only says how pydantic should choose or check, and leaves the JSON as it is.
_HARMLESS = (SerializeAsAny, Discriminator, Tag, FieldInfo)


def is_union(annotation: Any) -> bool:
    """Whether an annotation is ``A | B``, ``Union`` or ``Optional``."""
    return get_origin(annotation) in {Union, types.UnionType}


def field_annotations(cls: type[Any]) -> dict[str, Any]:
    """Annotations by field, resolved; one that can't be (a class local to a function, say) becomes Any."""
    try:
        return get_type_hints(cls, include_extras=True)
    except (NameError, TypeError, AttributeError, SyntaxError):
        return _one_by_one(cls)  # one bad annotation has failed them all


def _one_by_one(cls: type[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        module = vars(sys.modules[base.__module__]) if base.__module__ in sys.modules else {}
        for name, annotation in _own_annotations(base).items():
            holder = types.SimpleNamespace(__annotations__={name: annotation})
            local = {**vars(base), base.__name__: base, cls.__name__: cls}
            try:
                found.update(get_type_hints(holder, module, local, include_extras=True))
            except (NameError, TypeError, AttributeError, SyntaxError):
                found[name] = Any
    return found


def _own_annotations(cls: type[Any]) -> dict[str, Any]:
    try:
        return inspect.get_annotations(cls)
    except NameError:  # Python 3.14 evaluates all of them on the first look
        return {}


def dataclass_annotations(cls: type[Any]) -> dict[str, Any]:
    """Annotations of a dataclass's fields. A default of None admits None, as people still write ``x: str = None``."""
    hints = field_annotations(cls)
    found: dict[str, Any] = {}
    for field in dataclasses.fields(cls):
        annotation = hints.get(field.name, Any)
        if field.default is None and not admits_none(annotation):
            annotation = Optional[annotation]  # noqa: UP045 - it may be text
        found[field.name] = annotation
    return found


def admits_none(annotation: Any) -> bool:
    """Whether None fits an annotation."""
    bare, _ = peel(annotation)
    return bare in {Any, object, None, types.NoneType} or (is_union(bare) and any(map(admits_none, get_args(bare))))


def peel(annotation: Any) -> tuple[Any, bool]:
    """The annotation without its wrappers, and whether pydantic was told to write the value in a way of its own."""
    special = False
    seen: set[int] = set()
    while id(annotation) not in seen:
        seen.add(id(annotation))
        origin = get_origin(annotation)
        if origin is Annotated:
            annotation, *metadata = get_args(annotation)
            special = special or any(map(is_special, metadata))
        elif origin in _WRAPPERS:
            (annotation,) = get_args(annotation)
        elif isinstance(annotation, NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, TypeVar):
            annotation = _bound(annotation)
        elif isinstance(annotation, dataclasses.InitVar):
            annotation = annotation.type
    return annotation, special


def is_special(metadata: Any) -> bool:
    """Whether a piece of ``Annotated`` metadata changes how pydantic reads or writes the value."""
    return hasattr(metadata, "__get_pydantic_core_schema__") and not isinstance(metadata, _HARMLESS)


def union_members(annotation: Any) -> list[Any]:
    """The members of a union without None, those of unions within it included."""
    members: list[Any] = []
    for member in get_args(annotation):
        bare, special = peel(member)
        meant = alias_value(bare) or bare
        if is_union(meant) and not special:
            members += union_members(meant)
        elif bare not in {None, types.NoneType}:
            members.append(member)
    return members


def alias_value(annotation: Any) -> Any | None:
    """What a ``type X = ...`` stands for, None for anything else."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, TypeAliasType) or type(origin).__name__ == "TypeAliasType":
        return origin.__value__
    return None


def _bound(variable: TypeVar) -> Any:
    if variable.__constraints__:
        return Union[variable.__constraints__]  # noqa: UP007 - made at run time
    return Any if variable.__bound__ is None else variable.__bound__
