"""Makes shapes from annotations, one set per class, once per process.

A class inside a pydantic model is compiled apart from the same class inside a dataclass (``in_model``): the plain JSON
of a model is pydantic's, which has its own idea of bytes.
"""

from __future__ import annotations

import collections.abc
import enum
import inspect
from collections import OrderedDict
from functools import lru_cache
from types import NoneType
from typing import Any, ForwardRef, get_args, get_origin

from google.protobuf.message import Message
from pydantic import BaseModel, JsonValue, PydanticUserError, RootModel
from typing_extensions import is_typeddict

from zmqagents.runtime.codecs.annotations import (
    alias_value,
    dataclass_annotations,
    is_special,
    is_union,
    peel,
    union_members,
)
from zmqagents.runtime.codecs.containers import DictShape, SequenceShape, TupleShape
from zmqagents.runtime.codecs.instances import DataclassInstance, ModelInstance, RootInstance
from zmqagents.runtime.codecs.names import choose, class_key, is_class, is_structured
from zmqagents.runtime.codecs.places import AnyShape, ClassShape, OptionalShape, UnionShape
from zmqagents.runtime.codecs.scalars import NATIVE, BytesShape, EnumShape, FloatShape, LeafShape, NativeShape
from zmqagents.runtime.codecs.shape import Instance, Shape, UnfitError

_SEQUENCES: dict[Any, tuple[type, bool]] = {
    list: (list, False),
    set: (set, False),
    frozenset: (frozenset, False),
    collections.abc.Sequence: (list, True),
    collections.abc.MutableSequence: (list, True),
    collections.abc.Collection: (list, True),
    collections.abc.Iterable: (list, True),
    collections.abc.Set: (set, True),
    collections.abc.MutableSet: (set, True),
}
_MAPPINGS: dict[Any, type] = {
    dict: dict,
    OrderedDict: OrderedDict,
    collections.abc.Mapping: dict,
    collections.abc.MutableMapping: dict,
}

_instances: dict[tuple[type[Any], bool], Instance] = {}
_leaves: dict[type[Any], Shape] = {}
# By key, so that a class defined anew takes the place of its former self.
_known: dict[str, type[Any]] = {}


def instance_of(cls: type[Any], *, in_model: bool = False) -> Instance:
    """How instances of a dataclass or pydantic model are written and read."""
    made = _instances.get((cls, in_model))
    if made is None:
        _known[class_key(cls)] = cls
        made = _instances[cls, in_model] = _make_instance(cls, in_model=in_model)
    return made


def shape_of(annotation: Any, *, in_model: bool) -> Shape:
    """The shape for an annotation."""
    bare, special = peel(annotation)
    if special and in_model:
        return _leaf_or_class(annotation, in_model=in_model)
    if bare is JsonValue or isinstance(bare, (str, ForwardRef)):  # text is a name that nobody could resolve
        return _any_shape()
    alias = alias_value(bare)
    if alias is not None:
        # A recursive alias would never end; Any carries the same values, if with more keys.
        return _any_shape() if _mentions(alias, bare) else shape_of(alias, in_model=in_model)
    if bare is None or bare in {Any, object}:
        return NativeShape(NoneType) if bare is None else _any_shape()
    if is_union(bare):
        return _union(bare, in_model=in_model)
    return _container(bare, in_model=in_model) or _scalar(bare, in_model=in_model)


def known_class(key: str) -> type[Any]:
    """The class of that key among those that the messages of this process are made of. Raises UnfitError."""
    return _known.get(key) or _known_elsewhere(key)


# The keys come from peers, hence the bound; a failure is not remembered, as the class may come later.
@lru_cache(maxsize=1024)
def _known_elsewhere(key: str) -> type[Any]:
    """The class that has this name in another module. Raises UnfitError."""
    found = choose(_known.values(), key)
    if found is None:
        raise UnfitError(
            f"{key!r} is no class that a message here is made of: register it, or name it in an annotation"
        )
    return found


def _make_instance(cls: type[Any], *, in_model: bool) -> Instance:
    if not issubclass(cls, BaseModel):
        return DataclassInstance(cls, _dataclass_shapes(cls, in_model=in_model))
    if issubclass(cls, RootModel) and not cls.__pydantic_decorators__.model_serializers:
        return RootInstance(cls, shape_of(cls.model_fields["root"].annotation, in_model=True))
    return ModelInstance(cls, _open_fields(cls), _any_shape() if cls.model_config.get("extra") == "allow" else None)


def _dataclass_shapes(cls: type[Any], *, in_model: bool) -> dict[str, Shape]:
    return {name: shape_of(hint, in_model=in_model) for name, hint in dataclass_annotations(cls).items()}


def _open_fields(cls: type[BaseModel]) -> dict[str, Shape]:
    """The fields whose plain JSON may not say everything, except for those that the model writes in its own way."""
    cls.model_rebuild(raise_errors=False)  # what it mentions may have been defined after it
    decorators = cls.__pydantic_decorators__
    if decorators.model_serializers:
        return {}
    written = {name for item in decorators.field_serializers.values() for name in item.info.fields}
    # Reading undoes what writing did only where both are custom; a serializer alone would lose the class.
    read = {
        name
        for item in decorators.field_validators.values()
        if item.info.mode in {"before", "wrap", "plain"}
        for name in item.info.fields
    }
    found: dict[str, Shape] = {}
    for name, info in cls.model_fields.items():
        own_way = name in written & read or any(map(is_special, info.metadata))
        if info.exclude or own_way:
            continue
        shape = shape_of(info.annotation, in_model=True)
        if not shape.closed:
            found[name] = shape
    return found


def _union(annotation: Any, *, in_model: bool) -> Shape:
    members = [shape_of(member, in_model=in_model) for member in union_members(annotation)]
    if any(isinstance(member, AnyShape) for member in members):
        return _any_shape()
    if len(members) == 1:
        return OptionalShape(members[0])
    return UnionShape(members, annotation)


def _container(annotation: Any, *, in_model: bool) -> Shape | None:
    origin = get_origin(annotation) or annotation
    arguments = get_args(annotation)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            return SequenceShape(shape_of(arguments[0], in_model=in_model), tuple)
        if not arguments and annotation is tuple:
            return SequenceShape(_any_shape(), tuple)
        return TupleShape(tuple(shape_of(arg, in_model=in_model) for arg in arguments if arg != ()))
    if origin in _SEQUENCES:
        kind, abstract = _SEQUENCES[origin]
        item = shape_of(arguments[0], in_model=in_model) if arguments else _any_shape()
        return SequenceShape(item, kind, abstract=abstract)
    if origin in _MAPPINGS:
        key, value = (shape_of(arg, in_model=in_model) for arg in (arguments or (Any, Any)))
        return DictShape(key, value, _MAPPINGS[origin])
    return None


def _scalar(annotation: Any, *, in_model: bool) -> Shape:
    if is_structured(get_origin(annotation)):
        annotation = get_origin(annotation)  # Box[int]: an instance of a generic dataclass doesn't know its arguments
    if not is_class(annotation):
        return _leaf_or_class(annotation, in_model=in_model)
    if annotation in NATIVE:
        return NativeShape(annotation)
    if annotation is float:
        return FloatShape()
    if annotation is bytes:
        return BytesShape(keyed=in_model)
    if issubclass(annotation, enum.Enum) and list(annotation):
        _known[class_key(annotation)] = annotation
        return EnumShape(annotation)
    return _leaf_or_class(annotation, in_model=in_model)


def _leaf_or_class(annotation: Any, *, in_model: bool) -> Shape:
    """Pydantic's way for what it can handle, else any class below the declared one."""
    if is_class(annotation):
        structured = is_structured(annotation) or annotation is BaseModel
        if structured or inspect.isabstract(annotation) or issubclass(annotation, Message):
            return _class_shape(annotation, in_model=in_model)
    try:
        leaf = LeafShape(annotation)
    except (PydanticUserError, NameError):  # no schema for it, or it mentions what isn't defined
        if is_typeddict(annotation):  # pydantic doesn't take typing's own before Python 3.12
            return DictShape(NativeShape(str), _any_shape())
        if is_class(annotation):
            return _class_shape(annotation, in_model=in_model)
        return _any_shape()
    if is_class(annotation):
        _known[class_key(annotation)] = annotation
    return leaf


def _class_shape(cls: type[Any], *, in_model: bool) -> ClassShape:
    if is_structured(cls):
        _known[class_key(cls)] = cls
    return ClassShape(cls, _instance_in_model if in_model or issubclass(cls, BaseModel) else instance_of)


def _instance_in_model(cls: type[Any]) -> Instance:
    return instance_of(cls, in_model=True)


def _leaf(cls: type[Any]) -> Shape:
    made = _leaves.get(cls)
    if made is None:
        made = _leaves[cls] = _scalar(cls, in_model=True)
    return made


@lru_cache(maxsize=1)
def _any_shape() -> AnyShape:
    return AnyShape(_instance_in_model, _leaf, known_class)


def _mentions(annotation: Any, alias: Any) -> bool:
    """Whether a type alias stands within its own value."""
    return annotation is alias or any(_mentions(arg, alias) for arg in get_args(annotation))
