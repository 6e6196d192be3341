"""Lets agents register whose message classes AutoGen has no serializer for.

``RoutedAgent.register``, ``ClosureAgent.register_closure`` and the ``handles`` decorator ask AutoGen's
``try_get_known_serializers_for_type`` about every message class. For a dataclass with a union, a nested dataclass or a
nested model it raises, and for text or numbers it has no answer, so that such an agent can't be registered with any
runtime. ``install_autogen_extension`` puts a function in its place, in the AutoGen modules that hold it, which asks
AutoGen first and gives our serializer only where AutoGen has none. What AutoGen can do stays as it is, for its own
runtimes too.

Rejected: overriding ``_handles_types`` in a class of ours (agents would have to change their base class), and catching
the error in the runtime (it is raised in the agent's class method, before the runtime is asked).
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from typing import Any, get_origin

from autogen_core import MessageSerializer

from zmqagents.runtime.codecs.json_codecs import JsonSerializer, TaggedJsonSerializer
from zmqagents.runtime.codecs.names import is_structured
from zmqagents.runtime.codecs.values import VALUE_SERIALIZERS

_Lookup = Callable[[type[Any]], list[MessageSerializer[Any]]]

_NAME = "try_get_known_serializers_for_type"
# Each of these has bound the function to a name of its own.
_HOLDERS = (
    "autogen_core._serialization",
    "autogen_core._base_agent",
    "autogen_core._routed_agent",
    "autogen_core._closure_agent",
    "autogen_core",
)
_MARK = "__zmqagents_extension__"
_lock = threading.Lock()


def install_autogen_extension() -> None:
    """Extends AutoGen's lookup of serializers in this process. Calling it again changes nothing."""
    with _lock:
        for holder in map(importlib.import_module, _HOLDERS):
            current: _Lookup = getattr(holder, _NAME)
            if not hasattr(current, _MARK):
                setattr(holder, _NAME, _extended(current))


def _extended(original: _Lookup) -> _Lookup:
    def try_get_known_serializers_for_type(cls: type[Any]) -> list[MessageSerializer[Any]]:
        """AutoGen's serializers for a message type, else those of zmqagents."""
        try:
            return original(cls) or _own_serializers(cls)
        except (ValueError, TypeError):  # TypeError: list[str] and the like are no classes
            own = _own_serializers(cls)
            if not own:
                raise
            return own

    setattr(try_get_known_serializers_for_type, _MARK, True)
    return try_get_known_serializers_for_type


def _own_serializers(annotation: Any) -> list[MessageSerializer[Any]]:
    cls = get_origin(annotation) or annotation
    if is_structured(cls):
        return [JsonSerializer(cls), TaggedJsonSerializer(cls)]
    return list(VALUE_SERIALIZERS.get(cls, ()))
