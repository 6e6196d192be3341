"""Messages that can't go out at once: before the runtime is started, and for intervention handlers to see.

They pass one after the other, in the order in which they were sent, as in AutoGen's own runtime; each is then sent by a
task of its own, in the context of whoever sent it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import NamedTuple

MAX_WAITING = 16_384  # a sender waits for room beyond it


class _Waiting(NamedTuple):
    admit: Callable[[Context], Awaitable[None]]
    refuse: Callable[[BaseException], None]
    context: Context


class WaitingRoom:
    """The queue, and the task that lets messages out once ``open`` has been called.

    ``changed`` is called whenever it has become emptier.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._waiting: deque[_Waiting] = deque()
        self._usher: asyncio.Task[None] | None = None
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._admitting = False

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def busy(self) -> bool:
        """Whether messages wait, or one is on its way out."""
        return bool(self._waiting) or self._admitting

    async def enter(self, admit: Callable[[Context], Awaitable[None]], refuse: Callable[[BaseException], None]) -> None:
        """Queue a message: ``admit`` gets its turn and the caller's context; ``refuse`` is told if there is none."""
        while len(self._waiting) >= MAX_WAITING:
            self._room.clear()
            await self._room.wait()
        self._waiting.append(_Waiting(admit, refuse, copy_context()))
        self._arrived.set()

    def open(self) -> None:
        """Let messages out, now and as they come."""
        if self._usher is None:
            self._usher = asyncio.get_running_loop().create_task(self._let_out())

    async def _let_out(self) -> None:
        while True:
            while self._waiting:
                entry = self._waiting.popleft()
                self._room.set()
                self._admitting = True
                try:
                    await entry.admit(entry.context)
                except asyncio.CancelledError:
                    entry.refuse(RuntimeError("the runtime was stopped before the message was sent"))
                    raise
                except Exception as error:  # noqa: BLE001 - it is the sender's, who is told
                    entry.refuse(error)
                finally:
                    self._admitting = False
                    self._changed()
            self._arrived.clear()
            await self._arrived.wait()

    async def close(self, reason: BaseException) -> None:
        """Stop letting out; refuse whoever waits."""
        usher, self._usher = self._usher, None
        if usher is not None:
            usher.cancel()
            await asyncio.gather(usher, return_exceptions=True)
        while self._waiting:
            self._waiting.popleft().refuse(reason)
        self._room.set()
