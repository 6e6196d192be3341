"""The deadline of a call, which its handler's own calls inherit.

It is kept in a context variable, since agents call through AutoGen's ``BaseAgent.send_message``, which knows no
timeout. Times are seconds of the event loop's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_deadline_s: ContextVar[float | None] = ContextVar("zmqagents_deadline_s", default=None)


@contextmanager
def call_timeout(timeout_s: float) -> Iterator[None]:
    """Calls made inside this block end within ``timeout_s`` seconds from its start, or raise CallTimeoutError.

    An enclosing deadline, such as that of the call being handled, stays in force if it is earlier. ValueError if
    ``timeout_s`` is not above 0.
    """
    if timeout_s <= 0:
        raise ValueError(f"timeout_s is {timeout_s}: it must be above 0")
    token = _deadline_s.set(earliest(_deadline_s.get(), asyncio.get_running_loop().time() + timeout_s))
    try:
        yield
    finally:
        _deadline_s.reset(token)


@contextmanager
def until(deadline_s: float | None) -> Iterator[None]:
    """Calls made inside this block end by ``deadline_s``, if it is not None, and by no deadline from outside it."""
    token = _deadline_s.set(deadline_s)
    try:
        yield
    finally:
        _deadline_s.reset(token)


def set_deadline(deadline_s: float | None) -> None:
    """For the rest of this task: calls end by ``deadline_s``, if it is not None, and by no deadline from outside."""
    if _deadline_s.get() is not deadline_s:
        _deadline_s.set(deadline_s)


def current_deadline_s(timeout_s: float | None, default_timeout_s: float | None, now_s: float) -> float | None:
    """The deadline of a call made now: its own timeout, else the default one, and the enclosing deadline if earlier."""
    own = timeout_s if timeout_s is not None else default_timeout_s
    return earliest(_deadline_s.get(), None if own is None else now_s + own)


def earliest(one_s: float | None, other_s: float | None) -> float | None:
    """The earlier of two deadlines, each None if there is none."""
    if one_s is None or other_s is None:
        return other_s if one_s is None else one_s
    return min(one_s, other_s)
