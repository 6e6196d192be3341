"""Tasks that go on within a callback of the event loop, rather than in the turn after it.

A handler's task begins, and a caller's task goes on, one turn of the loop after the message was read: ``call_soon``,
``select`` and the way back into the task. Of a call that is alone that is a tenth. So whoever reads such a message may
go straight on: ``Prompt`` is a future whose awaiting task is resumed within ``resume``, and ``Parking`` keeps a task
that has been created ahead of time, and waits on a Prompt for its work.

Promised: to the code that runs so, nothing is different. It runs in a true task from first to last, which is the
current one (so timeouts and task groups work), which can be cancelled, and which has a context of its own: a parked
task does one job and ends. What ``resume`` calls is the wake-up that the task itself has registered with
``add_done_callback``, in the context given there, as the loop would have; asyncio lets a task wait for any object that
acts as a future. In every other way a Prompt is an asyncio.Future.

``resume`` must not be called from within a task, for steps of tasks do not nest; and whoever calls it must be prepared
for anything to be called from the code that it resumes, and so should have finished his own work.

A parked task shows in ``asyncio.all_tasks()``. Whoever cancels it, as ``asyncio.run`` does at its end, ends it, and the
next one is parked when it is missed.

Rejected: eager tasks, which need Python 3.12, and make each task within the time of its call; running the first step of
a coroutine outside of any task, where ``asyncio.timeout`` does not work; taking the step out of the loop's queue, which
is private and different in other loops; one parked task for all handlers, whose contexts would mix.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Work: TypeAlias = Coroutine[Any, Any, None]


class Prompt(asyncio.Future[T]):
    """A future whose one awaiting task can be resumed at once. With another callback it acts as any future does."""

    _wake_up: tuple[Callable[[Any], object], Context] | None = None
    """The only callback so far. asyncio.Future is not given it until the outcome is to come by way of the loop."""
    _plain = False
    """Whether asyncio.Future has all the callbacks."""

    @property
    def is_awaited(self) -> bool:
        """Whether somebody waits, whom ``resume`` would resume at once."""
        return self._wake_up is not None

    def resume(self, result: T) -> None:
        """As ``set_result``, but the awaiting task goes on before this returns. Nothing happens if it is done."""
        if self.done():
            return
        waiting, self._wake_up = self._wake_up, None
        super().set_result(result)
        if waiting is not None:
            wake_up, context = waiting
            context.run(wake_up, self)

    def add_done_callback(self, callback: Callable[[Any], object], /, *, context: Context | None = None) -> None:
        """See asyncio.Future."""
        if self._wake_up is None and not self._plain and not self.done():
            self._wake_up = callback, context or copy_context()
        else:
            self._give_back()
            super().add_done_callback(callback, context=context)

    def remove_done_callback(self, callback: Callable[[Any], object], /) -> int:
        """See asyncio.Future."""
        self._give_back()
        return super().remove_done_callback(callback)

    def set_result(self, result: T, /) -> None:
        """See asyncio.Future."""
        self._give_back()
        super().set_result(result)

    def set_exception(self, exception: type | BaseException, /) -> None:
        """See asyncio.Future."""
        self._give_back()
        super().set_exception(exception)

    def cancel(self, msg: Any | None = None) -> bool:
        """See asyncio.Future."""
        self._give_back()
        return super().cancel(msg)

    def _give_back(self) -> None:
        """Let the loop call what waits."""
        self._plain = True
        if self._wake_up is not None:
            wake_up, context = self._wake_up
            self._wake_up = None
            super().add_done_callback(wake_up, context=context)


class Parking:
    """Keeps one task that waits for its work, once one was asked for; each in a copy of the context of the first."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._parked: tuple[asyncio.Task[None], Prompt[Work]] | None = None
        self._closed = False

    def take(self) -> tuple[asyncio.Task[None], Callable[[Work], None]] | None:
        """A task, and what begins its work, to be called at once; None if none waits, but the next time one will."""
        parked = self._parked
        if parked is None or not parked[1].is_awaited:  # none, or not yet, or it was cancelled
            if parked is None or parked[1].done():
                self._loop.call_soon(self._park)
            return None
        self._parked = None
        task, place = parked
        return task, place.resume

    def close(self) -> None:
        """Let the task that waits end, in the next turn of the loop; none is parked from now on."""
        self._closed = True
        if self._parked is not None:
            self._parked[0].cancel()
            self._parked = None

    def _park(self) -> None:
        if not self._closed and (self._parked is None or self._parked[1].done()):
            place: Prompt[Work] = Prompt(loop=self._loop)
            self._parked = self._context.run(self._loop.create_task, self._wait(place)), place

    async def _wait(self, place: Prompt[Work]) -> None:
        work = await place
        try:
            await work
        finally:
            self._park()
