"""The tasks of one runtime: what is running here, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from itertools import count
from typing import Any

from zmqagents.runtime.parking import Parking

logger = logging.getLogger("zmqagents")


class Tasks:
    """Keeps every task that the runtime starts; ``ended`` is called whenever one has ended."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, asyncio.Task[Any]] = {}
        self.number = count(1).__next__
        """Gives the number of a task to be started with ``start``."""
        self._ended = ended
        self._parking = Parking()

    def __len__(self) -> int:
        return len(self._running)

    def start(self, number: int, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run ``work``, which says ``end(number)`` when it has ended. Tasks start in the order of these calls.

        That saves a callback, which costs a handler call a good part of its time.
        """
        task = self._running[number] = self._loop.create_task(work)
        return task

    def start_parked(
        self, number: int, work: Coroutine[Any, Any, None]
    ) -> tuple[asyncio.Task[None], Callable[[], None]] | None:
        """As ``start``, of a task that waits already; the work begins when what is returned is called, and must be.

        None, and nothing is started, if no task waits. See ``parking.py``.
        """
        parked = self._parking.take()
        if parked is None:
            return None
        task, begin = parked
        self._running[number] = task
        return task, partial(begin, work)

    def close(self) -> None:
        """Let the tasks that wait for work end; none waits from now on. What works goes on."""
        self._parking.close()

    def end(self, number: int) -> None:
        """The task has ended; saying so again does no harm."""
        self._running.pop(number, None)
        self._ended()

    def spawn(self, work: Coroutine[Any, Any, Any], context: Context | None = None) -> asyncio.Task[Any]:
        """Run ``work`` as a task, in a copy of ``context`` if one is given. Tasks start in the order of these calls."""
        number = self.number()
        if context is None:
            task = self.start(number, work)
        else:
            task = self._running[number] = context.run(self._loop.create_task, work)
        task.add_done_callback(lambda _: self.end(number))
        return task

    async def cancel_all(self) -> None:
        """Cancel what still runs, and wait for its end."""
        tasks = [task for task in self._running.values() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                logger.warning("a task ended with an error while the runtime stopped: %r", outcome)
        self._running = {number: task for number, task in self._running.items() if not task.done()}
