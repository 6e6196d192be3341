"""prototype"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeVar

T = TypeVar("T")


class PromptFuture(asyncio.Future[T]):
    """A future whose one awaiting task can be resumed at once."""

    _waiting: tuple[Callable[[Any], object], Context] | None = None

    def add_done_callback(self, callback: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        if self._waiting is None and not self.done():
            self._waiting = callback, context or copy_context()
            return
        self._settle()
        super().add_done_callback(callback, context=context)

    def _settle(self) -> None:
        if self._waiting is not None:
            callback, context = self._waiting
            self._waiting = None
            super().add_done_callback(callback, context=context)

    def set_result(self, result: T, /) -> None:
        self._settle()
        super().set_result(result)

    def set_exception(self, exception: type | BaseException, /) -> None:
        self._settle()
        super().set_exception(exception)

    def cancel(self, msg: Any | None = None) -> bool:
        self._settle()
        return super().cancel(msg)

    def resume(self, result: T) -> None:
        if self.done():
            return
        waiting = self._waiting
        self._waiting = None
        super().set_result(result)
        if waiting is not None:
            callback, context = waiting
            context.run(callback, self)


class Parking:
    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._place: PromptFuture[Coroutine[Any, Any, None]] | None = None
        self.task: asyncio.Task[None] | None = None
        self._closed = False

    def park(self) -> None:
        if self._place is None and not self._closed:
            self._place = PromptFuture(loop=self._loop)
            self.task = self._context.run(self._loop.create_task, self._wait(self._place))

    def take(self):
        place, task = self._place, self.task
        if place is None or place._waiting is None:
            self._loop.call_soon(self.park)
            return None
        self._place = self.task = None
        return place, task

    async def _wait(self, place: PromptFuture[Coroutine[Any, Any, None]]) -> None:
        work = await place
        try:
            await work
        finally:
            self.park()

    async def close(self) -> None:
        self._closed = True
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
