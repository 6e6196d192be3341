"""NamedTuples made without their constructor.

That one is a function in Python, which every message would run several times: some 7 % of what an event costs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

T = TypeVar("T")

made = cast("Callable[[type[T], Iterable[Any]], T]", tuple.__new__)
"""``made(Kind, values)``: as ``Kind(*values)``, of exactly as many values as it has fields, which nobody counts."""
