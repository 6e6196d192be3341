"""Tasks that go on within a callback of the event loop, rather than in the turn after it.

A handler's task begins, and a caller's task goes on, one turn of the loop after the message was read: ``call_soon``,
``select`` and the way back into the task, 8 to 10 µs with cold caches, at either end of a call that is alone. So
whoever reads such a message may go straight on: ``Prompt`` is a future whose awaiting task is resumed within
``resume``, and ``Parking`` keeps tasks that have been created ahead of time, and wait on a Prompt for their work.

Promised: to the code that runs so, nothing is different. It runs in a true task from first to last, which is the
current one (so timeouts and task groups work), which can be cancelled, and which has a context of its own: a parked
task does one job and ends. What ``resume`` calls is the wake-up that the task itself has registered with
``add_done_callback``, in the context given there, as the loop would have; asyncio lets a task wait for any object that
acts as a future. In every other way a Prompt is an asyncio.Future.

``resume`` must not be called from within a task, for steps of tasks do not nest; and whoever calls it must be prepared
for anything to be called from the code that it resumes, and so should have finished his own work.

Parked tasks show in ``asyncio.all_tasks()``. Whoever cancels them, as ``asyncio.run`` does at its end, ends them, and
others are parked when they are missed. A process that no lone call has reached has none.

Rejected: eager tasks, which need Python 3.12, and make each task within the time of its call; running the first step of
a coroutine outside of any task, where ``asyncio.timeout`` does not work; taking the step out of the loop's queue, which
is private and different in other loops; one parked task for all handlers, whose contexts would mix; parking another
one with each call, since what a process does after it has answered also keeps a core from the threads that carry the
answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
Work: TypeAlias = Coroutine[Any, Any, None]

PARKED = 4  # made in one go: the turn of the loop in which they begin to wait takes longer than making one


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
            self._wake_up = callback, copy_context() if context is None else context  # an empty one is false
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
    """Keeps tasks that wait for their work, once one was asked for; each in a copy of the context of its making."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._context = copy_context()
        self._parked: list[tuple[asyncio.Task[None], Prompt[Work]]] = []
        self._closed = False

    def take(self) -> tuple[asyncio.Task[None], Callable[[Work], None]] | None:
        """A task, and what begins its work, to be called at once; None if none waits, but soon some will."""
        taken = None
        while self._parked and taken is None:
            task, place = self._parked[-1]
            if place.is_awaited:
                taken = task, place.resume
            elif not task.done():  # it has yet to begin to wait, or was cancelled just now
                return None
            self._parked.pop()
        if not self._parked:
            self._loop.call_soon(self._park, context=self._context)
        return taken

    def close(self) -> None:
        """Let the tasks that wait end, in the next turn of the loop; none is parked from now on."""
        self._closed = True
        for task, _ in self._parked:
            task.cancel()
        self._parked.clear()

    def _park(self) -> None:
        if self._closed or self._parked:
            return
        for _ in range(PARKED):
            place: Prompt[Work] = Prompt(loop=self._loop)
            self._parked.append((self._loop.create_task(_work(place)), place))


async def _work(place: Prompt[Work]) -> None:
    await (await place)
