"""The connections of the memory transport."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import NodeId

if TYPE_CHECKING:
    from zmqagents.transport.memory import Dial, MemoryHub, MemoryTransport


class Pipe:
    """One direction of a connection: a bounded queue that the event loop empties in order."""

    def __init__(
        self, hub: MemoryHub, source: NodeId, destination: NodeId, limit: int, deliver: Callable[[list[Part]], None]
    ) -> None:
        self._hub = hub
        self._way = (source, destination)
        self._limit = limit
        self._deliver = deliver
        self._queue: deque[list[Part]] = deque()
        self._loop = asyncio.get_running_loop()

    def put(self, parts: Sequence[Part]) -> bool:
        """Queue a message; False if there is no room."""
        if len(self._queue) >= self._limit:
            return False
        if not self._hub.takes_drop(*self._way):
            self._queue.append(list(parts))
            self._loop.call_soon(self._deliver_one)
        return True

    def resume(self) -> None:
        """Go on after a fault."""
        for _ in self._queue:
            self._loop.call_soon(self._deliver_one)

    def clear(self) -> None:
        """Lose what is queued."""
        self._queue.clear()

    def _deliver_one(self) -> None:
        if self._queue and self._hub.passes(*self._way):
            self._deliver(self._queue.popleft())


class Wire:
    """A connection from a dial to a listening transport."""

    def __init__(self, hub: MemoryHub, dial: Dial, listener: MemoryTransport) -> None:
        self.dial = dial
        self.listener = listener
        self._hub = hub
        self._expiry: asyncio.TimerHandle | None = None
        here, there = dial.owner.node_id, listener.node_id
        self.there = Pipe(hub, here, there, dial.limit, partial(listener.accept, self))
        self.back = Pipe(hub, there, here, dial.limit, partial(dial.receive, self))
        hub.join(self)

    def faults_changed(self) -> None:
        """Time out while a direction is blocked; go on when none is."""
        here, there = self.dial.owner.node_id, self.listener.node_id
        if self._hub.passes(here, there) and self._hub.passes(there, here):
            self._stop_expiry()
        elif self._expiry is None:
            timeout_s = self.dial.owner.options.zmtp_timeout_ms / 1_000
            self._expiry = asyncio.get_running_loop().call_later(timeout_s, self.lose)
        self.there.resume()
        self.back.resume()

    def lose(self) -> None:
        """End the connection with what it holds; the dial reports it."""
        self._stop_expiry()
        self._hub.forget(self)
        self.there.clear()
        self.back.clear()
        self.listener.lost(self)
        self.dial.lost(self)

    def _stop_expiry(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
