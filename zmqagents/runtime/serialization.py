"""Chooses how a message becomes bytes, and which class bytes become.

The registry does what AutoGen's does (serializers by type name and content type, the last one added wins) and more:

- A message class needs no registration. Its codecs are made on first use, from its annotations.
- The receiver's record says which content types it reads for a type; the first of ours that it reads is used. A
  serializer that the user added comes before those that the class has by itself.
- Plain JSON is used only for a message that it carries without loss; else a content type of our own (see
  ``codecs.json_codecs``) that every Python process of the cluster reads.
- A type name that is not registered is looked for among the classes that are already loaded, in the modules which
  define the message classes of this process and in ``__main__``. Nothing is ever imported because of a payload.
- An UnknownPayload is passed on as what it is: its type name, content type and bytes. Tools that have none of a
  cluster's classes speak that way.
- Two classes with one type name are an error that names both: AutoGen's names are bare class names, and a silent choice
  would build the wrong one.

On the hot path there is one dictionary lookup for encoding (by class) and one for decoding (by type name and content
type); everything else is prepared when a class is first seen.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import NoneType
from typing import Any, NamedTuple, NoReturn

from autogen_core import Agent, MessageSerializer, UnknownPayload
from google.protobuf.message import Message
from pydantic import BaseModel

from zmqagents.errors import SerializationError
from zmqagents.protocol.frames import Part
from zmqagents.runtime.codecs import content_types
from zmqagents.runtime.codecs.lookup import loaded_class, namesakes
from zmqagents.runtime.codecs.names import class_key, describe, is_class, is_current, is_message_class, type_name
from zmqagents.runtime.codecs.selection import Codec, builtin_codecs, is_builtin
from zmqagents.runtime.codecs.serializer import unreadable, unwritable
from zmqagents.runtime.codecs.shape import bounded
from zmqagents.runtime.codecs.values import NULL_NAME, VALUE_NAMES, VALUE_SERIALIZERS

Accepts = Mapping[str, Sequence[str]] | Callable[[str], Sequence[str]]
"""What a receiver reads: content types by type name. Nothing for a type means that it didn't say."""

NOT_SERIALIZABLE = "Message could not be serialized"
"""What AutoGen's log records carry in place of a payload."""

_NULL_MESSAGE = (NULL_NAME, content_types.JSON, b"null")


class _Entry(NamedTuple):
    """All that encoding a class needs."""

    type_name: str
    codecs: tuple[Codec, ...]


class PayloadRegistry:
    """The serializers of one runtime."""

    def __init__(self) -> None:
        self._custom: dict[str, dict[str, MessageSerializer[Any]]] = {}
        self._builtin: dict[str, tuple[Codec, ...]] = {}
        self._classes: dict[str, type[Any]] = {}
        self._own_names: dict[type[Any], str] = {}
        # Modules in which an unknown type name is looked for; only this process's own classes add to them.
        self._modules: set[str] = {"__main__"}
        self._entries: dict[type[Any], _Entry] = {}
        self._readers: dict[tuple[str, str], Callable[[Part], Any]] = {}
        self._readable: dict[str, tuple[str, ...]] = {}
        self.on_change: Callable[[], None] = _nothing
        """Called whenever ``readable`` has changed, which others should know."""
        for cls in VALUE_NAMES:
            self._prepare(cls)

    def readable(self) -> dict[str, tuple[str, ...]]:
        """Content types by type name, preferred first, for this process's record. Reserved names are left out."""
        return dict(self._readable)

    def add(self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]) -> None:
        """Adds a serializer, or several; one of the same type name and content type is replaced.

        A serializer with a ``cls`` attribute whose ``type_name`` is not that class's gives the class that name. Raises
        SerializationError if another class has the name.
        """
        if isinstance(serializer, Sequence):
            for one in serializer:
                self.add(one)
            return
        cls = getattr(serializer, "cls", None)
        name = serializer.type_name
        if is_class(cls) and is_message_class(cls):
            if name == type_name(cls):
                name = self._own_names.get(cls, name)
            self._claim(cls, name)
        if is_class(cls) and is_builtin(serializer):
            self.add_class(cls)
            return
        self._custom.setdefault(name, {})[serializer.data_content_type] = serializer
        self._readers[name, serializer.data_content_type] = Codec.of(serializer).read
        self._refresh(name)

    def add_class(self, cls: type[Any]) -> None:
        """Makes a message class readable.

        Raises SerializationError if nobody can serialize it, or if another class has its type name.
        """
        if cls in VALUE_NAMES:
            return
        if not is_message_class(cls):
            _refuse(cls)
        self._register(cls)
        self._modules.add(cls.__module__)

    def add_handler_class(self, cls: type[Agent]) -> None:
        """Makes what the handlers of an agent class take and return readable.

        Raises SerializationError for a message type that nobody can serialize; such a reply type is left for
        ``encode`` to refuse, as it may never be sent.
        """
        for _, serializers in getattr(cls, "internal_extra_handles_types", ()):
            self.add(serializers)
        for name in dir(cls):
            handler = getattr(cls, name, None)
            if getattr(handler, "is_message_handler", False) is True:
                self._add_types(getattr(handler, "target_types", ()), required=True)
                self._add_types(getattr(handler, "produces_types", ()), required=False)

    def name_of(self, cls: type[Any]) -> str:
        """The type name under which messages of the class travel."""
        return self._own_names.get(cls) or VALUE_NAMES.get(cls) or type_name(cls)

    def name_of_message(self, message: Any) -> str:
        """The type name under which this message travels."""
        return message.type_name if type(message) is UnknownPayload else self.name_of(type(message))

    def encode(self, message: Any, accepts: Accepts) -> tuple[str, str, bytes]:
        """Type name, content type and payload of a message for a receiver that reads ``accepts``.

        Raises SerializationError if the class can't be serialized, if this message can't, or if the receiver reads none
        of the content types that this process writes.
        """
        if message is None:
            return _NULL_MESSAGE
        cls = type(message)
        entry = self._entries.get(cls)
        if entry is None:
            if cls is UnknownPayload:
                return _passed_on(message, accepts)
            entry = self._prepare(cls)
        name, codecs = entry
        readable = accepts(name) if callable(accepts) else accepts.get(name)
        try:
            for content_type, write, _, fits, _ in codecs:
                if (not readable or content_type in readable) and (fits is None or fits(message)):
                    return name, content_type, write(message)
        except Exception as error:  # noqa: BLE001 - the class's code, or the user's serializer, may raise anything
            raise unwritable(cls, error) from bounded(error)
        raise SerializationError(
            f"the receiver reads {name!r} as {', '.join(readable or ())}; this process writes it as "
            f"{', '.join(dict.fromkeys(codec.content_type for codec in codecs))}: add a serializer that both have"
        )

    def decode(self, type_name: str, content_type: str, payload: Part) -> Any:
        """The message, or AutoGen's UnknownPayload if its class isn't known here.

        Raises SerializationError if the payload can't be read, or if the type name could mean several loaded classes.
        """
        read = self._readers.get((type_name, content_type)) or self._find_reader(type_name, content_type)
        if read is None:
            return UnknownPayload(type_name, content_type, bytes(payload))
        try:
            return read(payload)
        except Exception as error:  # noqa: BLE001 - the class's code, or the user's serializer, may raise anything
            raise unreadable(type_name, content_type, payload, error) from bounded(error)

    def to_log_text(self, message: Any) -> str:
        """The message as JSON for AutoGen's log records, worded as AutoGen's runtime words it. Never raises."""
        cls: Any = type(message)
        try:
            custom = self._custom.get(self._own_names.get(cls) or type_name(cls), {}).get(content_types.JSON)
            if custom is not None:
                return custom.serialize(message).decode("utf-8")
            if isinstance(message, Message):  # AutoGen has no JSON for it
                return NOT_SERIALIZABLE
            if isinstance(message, BaseModel):
                return message.model_dump_json(warnings=False)
            return _autogen_text(message) or _plain_writer(cls)(message).decode("utf-8")
        except Exception:  # noqa: BLE001 - a log record must not fail the message, whatever its class does
            return NOT_SERIALIZABLE

    def _add_types(self, types: Iterable[Any], *, required: bool) -> None:
        for cls in types:
            if is_message_class(cls):
                self.add_class(cls)
            elif required and not (cls in VALUE_NAMES or _is_anything(cls) or self._has_custom(cls)):
                _refuse(cls)

    def _has_custom(self, cls: Any) -> bool:
        return not is_class(cls) or type_name(cls) in self._custom

    def _prepare(self, cls: type[Any]) -> _Entry:
        """Makes the entry of a class. Raises SerializationError if there is no way to serialize it."""
        if cls in VALUE_SERIALIZERS:
            name, builtin = VALUE_NAMES[cls], builtin_codecs(cls)
            self._readers.update({(name, codec.content_type): codec.read for codec in builtin})
        elif is_message_class(cls):
            self.add_class(cls)
            name = self._own_names.get(cls) or type_name(cls)
            builtin = self._builtin[name]
        else:
            name, builtin = type_name(cls), ()
            if name in self._custom:
                self._claim(cls, name)
        custom = self._custom.get(name, {})
        codecs = [Codec.of(serializer)._replace(fits=None) for serializer in custom.values()]
        codecs += [codec for codec in builtin if codec.content_type not in custom]
        if not codecs:
            _refuse(cls)
        entry = self._entries[cls] = _Entry(name, tuple(codecs))
        return entry

    def _register(self, cls: type[Any]) -> None:
        """Gives a message class its name and its codecs. Raises SerializationError if another class has the name."""
        name = self._own_names.get(cls) or type_name(cls)
        if self._classes.get(name) is cls and name in self._builtin:
            return
        self._claim(cls, name)
        self._builtin[name] = builtin_codecs(cls)
        custom = self._custom.get(name, {})
        for codec in self._builtin[name]:
            if codec.content_type not in custom:
                self._readers[name, codec.content_type] = codec.read
        self._refresh(name)

    def _claim(self, cls: type[Any], name: str) -> None:
        """Gives a class its type name. Raises SerializationError if another class has it."""
        holder = self._classes.get(name)
        if name in VALUE_NAMES.values():
            raise SerializationError(f"{describe(cls)} can't have the reserved type name {name!r}: rename it")
        if holder is not None and holder is not cls:
            if not _supersedes(cls, holder):
                raise SerializationError(namesakes(name, (holder, cls)))
            self._builtin.pop(name, None)
        default = type_name(cls)
        if name != default:
            self._own_names[cls] = name
            if self._classes.get(default) is cls:
                self._forget(default)
        self._classes[name] = cls

    def _forget(self, name: str) -> None:
        """Takes back what a class had under its default name, before it got one of its own."""
        del self._classes[name]
        for codec in self._builtin.pop(name, ()):
            self._readers.pop((name, codec.content_type), None)
        self._refresh(name)

    def _refresh(self, name: str) -> None:
        """After a change of what is registered under a name."""
        self._entries = {cls: entry for cls, entry in self._entries.items() if entry.type_name != name}
        custom = self._custom.get(name, {})
        builtin = (codec.content_type for codec in self._builtin.get(name, ()) if codec.published)
        readable = tuple(dict.fromkeys([*custom, *builtin]))
        if readable != self._readable.get(name, ()):
            if readable:
                self._readable[name] = readable
            else:
                del self._readable[name]
            self.on_change()

    def _find_reader(self, name: str, content_type: str) -> Callable[[Part], Any] | None:
        """Looks for a class that isn't registered. Not remembered if there is none: it may be loaded later."""
        if name in self._classes:
            return None
        cls = loaded_class(name, self._modules)
        if cls is None or self._own_names.get(cls, name) != name:
            return None
        self._register(cls)
        return self._readers.get((name, content_type))


@lru_cache(maxsize=256)  # only classes that AutoGen has no text for come here
def _plain_writer(cls: Any) -> Callable[[Any], bytes]:
    """What writes a class as plain JSON, registered or not. Raises StopIteration if it has no JSON."""
    return next(codec.write for codec in builtin_codecs(cls) if codec.content_type == content_types.JSON)


def _nothing() -> None:
    """Nobody has to know."""


def _passed_on(message: UnknownPayload, accepts: Accepts) -> tuple[str, str, bytes]:
    """An UnknownPayload as it is. SerializationError if the receiver reads its type, but not its content type."""
    name, content_type = message.type_name, message.data_content_type
    readable = accepts(name) if callable(accepts) else accepts.get(name)
    if readable and content_type not in readable:
        raise SerializationError(f"the receiver reads {name!r} as {', '.join(readable)}, and not as {content_type}")
    return name, content_type, message.payload


def _refuse(cls: type[Any]) -> NoReturn:
    raise SerializationError(
        f"messages of class {describe(cls)} can't be serialized: make it a dataclass, a pydantic model or a Protobuf "
        "message, or give it a serializer with runtime.add_message_serializer(...) on both sides"
    )


def _supersedes(new: type[Any], old: type[Any]) -> bool:
    """Whether ``new`` is ``old`` defined anew, as by running a notebook's cell again."""
    return class_key(new) == class_key(old) and is_current(new) and not is_current(old)


def _is_anything(cls: type[Any]) -> bool:
    """Whether AutoGen stands for Any, or for None, with this class."""
    return cls is NoneType or (cls.__name__ == "AnyType" and cls.__module__.startswith("autogen_core"))


def _autogen_text(message: Any) -> str | None:
    """The JSON that AutoGen writes of a dataclass, None where it can't."""
    if not dataclasses.is_dataclass(message) or isinstance(message, type):
        return None
    try:
        return json.dumps(dataclasses.asdict(message))
    except (TypeError, ValueError, RecursionError):
        return None
