"""Names of message classes: the type name of AutoGen, and the class key that a type table carries.

A *type name* is what travels beside a payload: the bare class name, or the full name of a Protobuf message, as AutoGen
has it. A *class key* (``module:Qualified.Name``) is what the type table of a tagged document carries for the places
inside the payload. Neither is ever imported: a key is only compared with the classes that are already loaded below the
declared class. The module part tells two classes of one name apart; a key whose module is not loaded here (a class of
the other process's ``__main__``) still finds the one class of that name.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from types import GenericAlias
from typing import Any, TypeGuard, cast

from google.protobuf.message import Message
from pydantic import BaseModel

from zmqagents.runtime.codecs.shape import UnfitError

# Found classes by (declared class, key). Keys come from peers, and several can mean one class, hence the bound.
_MEMO_LIMIT = 4096
_memo: dict[tuple[type, str], type] = {}

_MODULE_PART = re.compile(r"[\w.]+:")


def type_name(cls: type[Any]) -> str:
    """The name under which messages of this class travel, as AutoGen gives it."""
    if issubclass(cls, Message) and cls.DESCRIPTOR is not None:
        return str(cls.DESCRIPTOR.full_name)
    return cls.__name__


def describe(cls: type[Any]) -> str:
    """``module.qualname``, for people."""
    return f"{cls.__module__}.{cls.__qualname__}"


def is_class(candidate: object) -> TypeGuard[type[Any]]:
    """Whether something is a class; ``list[int]`` is none, though Python 3.10 says it is."""
    return isinstance(candidate, type) and not isinstance(candidate, GenericAlias)


def is_structured(cls: object) -> bool:
    """Whether ``cls`` is a dataclass or a pydantic model: a class whose instances are built from named fields."""
    if not is_class(cls):
        return False
    return dataclasses.is_dataclass(cls) or (issubclass(cls, BaseModel) and cls is not BaseModel)


def is_message_class(cls: object) -> bool:
    """Whether instances of ``cls`` travel without a serializer of the user's: dataclass, pydantic model, Protobuf."""
    return is_structured(cls) or (is_class(cls) and issubclass(cls, Message) and cls.DESCRIPTOR is not None)


def _make_key(cls: type[Any]) -> str:
    generic = getattr(cls, "__pydantic_generic_metadata__", None)
    if generic and generic["origin"] is not None:
        arguments = (class_key(arg) if is_class(arg) else repr(arg) for arg in generic["args"])
        return f"{class_key(generic['origin'])}[{','.join(arguments)}]"
    return f"{cls.__module__}:{cls.__qualname__}"


# Bounded, as classes made at run time would otherwise never be freed.
class_key = cast(Callable[[type[Any]], str], lru_cache(maxsize=4096)(_make_key))
"""``module:qualname``; for ``Model[Arg]`` of pydantic, the keys of the generic model and of its arguments."""


def short_key(key: str) -> str:
    """A class key without its modules."""
    return _MODULE_PART.sub("", key)


def is_current(cls: type[Any]) -> bool:
    """Whether the name of ``cls`` in its module still means this class (a notebook cell may have redefined it)."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls


def choose(candidates: Iterable[type[Any]], key: str) -> type[Any] | None:
    """The candidate that ``key`` means, None if there is none.

    Raises UnfitError, naming them, if it could be several.
    """
    everything = list(candidates)
    short = short_key(key)
    matching = [c for c in everything if class_key(c) == key]
    matching = matching or [c for c in everything if short_key(class_key(c)) == short]
    if len(matching) > 1:
        matching = [c for c in matching if is_current(c)] or matching
    if len(matching) > 1:
        raise UnfitError(f"{key!r} could be any of {', '.join(sorted(map(describe, matching)))}: rename all but one")
    return matching[0] if matching else None


def loaded_subclass(declared: type[Any], key: str) -> type[Any] | None:
    """The dataclass or model below (or equal to) ``declared`` that ``key`` names, if it is loaded.

    Raises UnfitError if ``key`` could mean several.
    """
    found = _memo.get((declared, key))
    if found is None:
        found = choose(_structured_below(declared), key)
        if found is not None:
            if len(_memo) >= _MEMO_LIMIT:
                _memo.clear()
            _memo[declared, key] = found
    return found


def _structured_below(declared: type[Any]) -> Iterator[type[Any]]:
    seen: set[type[Any]] = set()
    waiting = [declared]
    while waiting:
        cls = waiting.pop()
        if cls not in seen:
            seen.add(cls)
            waiting.extend(type.__subclasses__(cls))
            if is_structured(cls):
                yield cls
