"""The end of a context: it waits for what is queued, and must not hold up the event loop meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

import zmq

from zmqagents.transport.zeromq.door import Door

_log = logging.getLogger(__name__)

# Ending a context takes the linger time at most; if it takes this much longer, something is wrong with it.
_SPARE_S = 5.0


class Ending:
    """Ends a context whose sockets are closed. In a thread of its own: the loop's executor would wait for it."""

    def __init__(self, loop: asyncio.AbstractEventLoop, context: zmq.Context[zmq.Socket[bytes]], door: Door) -> None:
        self._loop = loop
        self._context = context
        self._door = door
        self._ended: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._end, name="zmqagents-transport-end", daemon=True)
        self._thread.start()

    async def wait(self, linger_s: float) -> None:
        """Return when the context has ended, or with a complaint if it takes far longer than it should."""
        await asyncio.wait([self._ended], timeout=linger_s + _SPARE_S)
        if self._ended.done():
            self._thread.join()
        else:
            _log.error("the ZeroMQ context did not end in time; its I/O thread stays until the process ends")

    def _end(self) -> None:
        self._context.term()
        self._door.join()
        with contextlib.suppress(RuntimeError):  # the loop was closed while we waited: nobody is there to be told
            self._loop.call_soon_threadsafe(self._tell)

    def _tell(self) -> None:
        if not self._ended.done():
            self._ended.set_result(None)
