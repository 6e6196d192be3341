"""What a shape is: how the values at one place of a message are written as plain data and read back.

A shape is made from a type annotation. ``dump`` turns a value into what JSON can hold, and says in a *type table* what
that plain data does not tell: the class of a value wherever the annotation leaves it open. ``load`` builds the value
again from both, innermost first. ``exact`` tells whether the plain data alone would do.

A type table mirrors the data::

    "key"                   the class of the value here
    {"field": table, ...}   tables of what is inside (a list's elements by their index)
    ["key", {...}]          both

so a value that needs no table has none, and a document's table is no deeper than its data.

Rejected: a ``"__class__"`` member inside the data (other languages' readers, and models that forbid extra fields, would
trip over it, and it collides with dictionaries of the user's), and flat paths (every path repeats its parents).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from pydantic import ValidationError

TypeTable = str | dict[str, Any] | list[Any]
Dumped = tuple[Any, TypeTable | None]


# Pydantic lists every error of a payload, and a hostile one can have millions.
_MANY_ERRORS = 8
_TEXT_LIMIT = 1000


class UnfitError(ValueError):
    """A value or a piece of data does not fit its place; ``path`` grows outwards."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text
        self.path: list[str] = []

    def inside(self, name: str) -> None:
        """Notes that the place is inside another."""
        self.path.insert(0, name)

    def __str__(self) -> str:
        return f"{'.'.join(self.path)}: {self.text}" if self.path else self.text


class Shape(ABC):
    """How the values at one place are written and read."""

    __slots__ = ()

    closed: bool = False
    """Whether plain data always says everything, whatever the value, so that nobody needs to ask ``exact``."""

    key: str = ""
    """The key of a value here, where all of them share one."""

    def exact(self, value: Any) -> bool:
        """Whether the plain data of ``value`` alone gives back an equal value of the same class."""
        return self.closed

    def key_of(self, value: Any) -> str:
        """The key that tells ``value`` from the values of other shapes."""
        return self.key

    def claims(self, key: str) -> bool:
        """Whether a value whose key in the type table is ``key`` may stand here."""
        return key == self.key

    @abstractmethod
    def accepts(self, value: Any) -> bool:
        """Whether ``value`` is of a class that may stand here."""

    @abstractmethod
    def dump(self, value: Any, *, binary: bool) -> Dumped:
        """Plain data, and the type table or None. ``binary``: the format has bytes and non-finite floats of its own.

        Raises UnfitError (or the error of the library that does the work) if the value can't be written.
        """

    @abstractmethod
    def load(self, data: Any, table: TypeTable | None) -> Any:
        """The value. Raises UnfitError (or the error of the class that is built) if the data can't be read."""


class Instance(ABC):
    """How the instances of one class are written and read, field by field.

    Tables here are those of the fields: the class itself is said (or not) by the shape of the place.
    """

    __slots__ = ()

    closed: bool = False
    """As ``Shape.closed``."""

    @abstractmethod
    def exact(self, value: Any) -> bool:
        """As ``Shape.exact``, for an instance of exactly this class."""

    @abstractmethod
    def dump(self, value: Any, *, binary: bool) -> tuple[Any, dict[str, Any]]:
        """As ``Shape.dump``."""

    @abstractmethod
    def load(self, data: Any, tables: dict[str, Any]) -> Any:
        """As ``Shape.load``."""


def join(key: str | None, children: dict[str, Any] | None) -> TypeTable | None:
    """A type table from the class here and the tables inside."""
    if not children:
        return key
    return children if key is None else [key, children]


def split(table: Any) -> tuple[str | None, dict[str, Any]]:
    """The class here and the tables inside. Raises UnfitError for what is no type table."""
    if table is None:
        return None, {}
    if isinstance(table, str):
        return table, {}
    if isinstance(table, dict):
        return None, table
    if isinstance(table, list) and len(table) == 2 and isinstance(table[0], str) and isinstance(table[1], dict):
        return table[0], table[1]
    raise UnfitError("malformed type table")


def kind_of(value: Any) -> str:
    """How an error calls a value's class."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def bounded(error: Exception) -> Exception:
    """An error that a payload caused, or one in its place if its text is too long to be logged."""
    if isinstance(error, ValidationError) and error.error_count() > _MANY_ERRORS:
        return UnfitError(f"{error.error_count():,} validation errors for {error.title[:_TEXT_LIMIT]}")
    text = str(error)
    if len(text) > _TEXT_LIMIT:
        return UnfitError(f"{text[:_TEXT_LIMIT]} [...]")
    return error if text else UnfitError(type(error).__name__)
