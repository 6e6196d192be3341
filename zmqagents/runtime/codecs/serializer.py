"""What our serializers have in common: the interface of AutoGen's ``MessageSerializer``, and one kind of error.

``serialize`` and ``deserialize`` raise SerializationError and nothing else, as anybody may call them. ``write`` and
``read`` are what they call; the registry calls those directly and makes the errors itself, which spares a call on the
hot path.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

from zmqagents.errors import SerializationError
from zmqagents.protocol.frames import Part
from zmqagents.runtime.codecs.names import describe
from zmqagents.runtime.codecs.shape import bounded

T = TypeVar("T")


class Serializer(Generic[T]):
    """A serializer of one class in one content type."""

    cls: type[T]
    type_name: str
    data_content_type: str

    write: Callable[[Any], bytes]
    """As ``serialize``, but raises whatever the library that does the work raises."""

    read: Callable[[Part], Any]
    """As ``deserialize``, but also reads views, and raises whatever the library, or the class that is built, raises."""

    fits: Callable[[Any], bool] | None = None
    """Whether the content type loses nothing of a message; None if it never does."""

    def serialize(self, message: T) -> bytes:
        """The payload. Raises SerializationError."""
        try:
            return self.write(message)
        except Exception as error:  # noqa: BLE001 - the class's own code may raise anything
            raise unwritable(type(message), error) from bounded(error)

    def deserialize(self, payload: bytes) -> T:
        """The message. Raises SerializationError."""
        try:
            message: T = self.read(payload)
        except Exception as error:  # noqa: BLE001 - the class's own code may raise anything
            raise unreadable(self.type_name, self.data_content_type, payload, error) from bounded(error)
        return message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe(self.cls)}, type_name={self.type_name!r})"


def unwritable(cls: type[Any], error: Exception) -> SerializationError:
    """What to raise for a message that can't be written."""
    return SerializationError(f"a message of class {describe(cls)} can't be serialized: {bounded(error)}")


def unreadable(type_name: str, content_type: str, payload: Part, error: Exception) -> SerializationError:
    """What to raise for a payload that can't be read."""
    return SerializationError(
        f"a payload of type {type_name!r} ({content_type}, {len(payload):,} bytes) can't be read: {bounded(error)}"
    )
