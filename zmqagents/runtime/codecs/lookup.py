"""Finds a message class by its type name among the classes that are already loaded. Nothing is ever imported."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs.names import describe, is_class, is_current, is_message_class, type_name

# Longer than any real class name; what is longer isn't looked for.
_NAME_LIMIT = 512


def loaded_class(name: str, modules: Iterable[str]) -> type[Any] | None:
    """The message class that travels as ``name`` and stands in one of the modules, None if there is none.

    Raises SerializationError, naming them, if there are several.
    """
    if not name or len(name) > _NAME_LIMIT:
        return None
    found = {cls for module in modules for cls in _in_module(module, name)}
    if len(found) > 1:
        found = {cls for cls in found if is_current(cls)} or found
    if len(found) > 1:
        raise SerializationError(namesakes(name, found))
    return next(iter(found), None)


def namesakes(name: str, classes: Iterable[type[Any]]) -> str:
    """What is wrong with several classes of one type name, and what to do."""
    names = sorted(map(describe, classes))
    which = " and ".join(names) if len(set(names)) > 1 else f"two definitions of {names[0]}"
    return (
        f"several message classes have the type name {name!r}: {which}; rename one, or give one a type name of its own "
        f"on every process: runtime.add_message_serializer(JsonSerializer({names[-1]}, type_name=...))"
    )


def _in_module(module: str, name: str) -> Iterator[type[Any]]:
    space = getattr(sys.modules.get(module), "__dict__", {})
    # "Model[Arg]" of pydantic hangs below Model; "package.Outer.Inner" of Protobuf ends in the attributes to follow.
    generic, bracket, _ = name.partition("[")
    if bracket:
        origin = space.get(generic)
        below: list[type[Any]] = type.__subclasses__(origin) if is_class(origin) else []
        yield from (cls for cls in below if _is(cls, name))
        return
    parts = name.split(".")
    for start in range(len(parts)):
        found: Any = space.get(parts[start])
        for part in parts[start + 1 :]:
            found = getattr(found, "__dict__", {}).get(part)
        if _is(found, name):
            yield found


def _is(found: Any, name: str) -> bool:
    return is_message_class(found) and type_name(found) == name
