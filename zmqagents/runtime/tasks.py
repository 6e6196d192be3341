"""The tasks of one runtime: what is running here, and how it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

logger = logging.getLogger("zmqagents")


class Tasks:
    """Keeps every task that the runtime starts; ``ended`` is called whenever one has ended."""

    def __init__(self, ended: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._running: set[asyncio.Task[Any]] = set()
        self._ended = ended

    def __len__(self) -> int:
        return len(self._running)

    def spawn(self, work: Coroutine[Any, Any, Any], context: Context | None = None) -> asyncio.Task[Any]:
        """Run ``work`` as a task, in a copy of ``context`` if one is given. Tasks start in the order of these calls."""
        if context is None:
            task = self._loop.create_task(work)
        else:
            task = context.run(self._loop.create_task, work)
        self._running.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        self._ended()

    async def cancel_all(self) -> None:
        """Cancel what still runs, and wait for its end."""
        tasks = [task for task in self._running if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(outcome, Exception):
                logger.warning("a task ended with an error while the runtime stopped: %r", outcome)
