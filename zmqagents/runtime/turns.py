"""Publishers that wait for room at nodes, each in its turn.

Whenever something has come in or left, all that there is room for is sent at once. Rejected: a lock that publishers
pass on, since each of them would then need a turn of the event loop, and each event an envelope of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from zmqagents.errors import RuntimeNotStartedError
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import NodeId
from zmqagents.transport.driver import Driver


class _Wait:
    """One publisher that waits until the last of its events has been sent."""

    __slots__ = ("deadline_s", "left", "sent")

    def __init__(self, sent: asyncio.Future[None], deadline_s: float) -> None:
        self.sent = sent
        self.left = 0
        self.deadline_s = deadline_s


class Turns:
    """Gives events to ``send`` in the order in which they came for their node."""

    def __init__(self, driver: Driver, timeout_s: float, send: Callable[[f.Event], None]) -> None:
        self._driver = driver
        self._node = driver.node
        self._timeout_s = timeout_s
        self._send = send
        self._waiting: dict[NodeId, deque[tuple[f.Event, _Wait]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._at_work = False

    def are_due(self, node_id: NodeId) -> bool:
        """Whether an event for the node has to wait: there is no room, or others wait already."""
        return node_id in self._waiting or not self._node.can_publish(node_id)

    async def wait(self, events: Iterable[tuple[NodeId, f.Event]]) -> None:
        """Send each event once its node has room for it.

        BackpressureError, naming the node, if one has none for ``timeout_s``: what waited is not sent then.
        """
        loop = asyncio.get_running_loop()
        wait = _Wait(loop.create_future(), loop.time() + self._timeout_s)
        for node_id, event in events:
            wait.left += 1
            self._waiting.setdefault(node_id, deque()).append((event, wait))
        self._driver.on_change = self._go_on
        if self._timer is None:
            self._timer = loop.call_at(wait.deadline_s, self._expire)
        await wait.sent

    def _go_on(self) -> None:
        if self._at_work:  # sending changes things, too
            return
        self._at_work = True
        try:
            for node_id, waiting in list(self._waiting.items()):
                self._serve(node_id, waiting)
        finally:
            self._at_work = False
        if not self._waiting:
            self._driver.on_change = None

    def _serve(self, node_id: NodeId, waiting: deque[tuple[f.Event, _Wait]]) -> None:
        """Send what there is room for; what its publisher has given up is left out."""
        closed = self._driver.closed
        while waiting:
            event, wait = waiting[0]
            if not wait.sent.done():
                if closed:
                    text = "the runtime was stopped before the event was sent"
                    wait.sent.set_exception(RuntimeNotStartedError(text))
                elif not self._node.can_publish(node_id):
                    return
                else:
                    self._send(event)
                    wait.left -= 1
                    if not wait.left:
                        wait.sent.set_result(None)
            waiting.popleft()
        del self._waiting[node_id]

    def _expire(self) -> None:
        """Fail who has waited for too long: in each queue those that came first. The timer goes on while some wait."""
        self._timer = None
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        for node_id, waiting in self._waiting.items():
            for _, wait in waiting:
                if wait.deadline_s > now_s:
                    break
                if not wait.sent.done():
                    wait.sent.set_exception(self._driver.no_room(node_id, self._timeout_s))
        self._go_on()
        first_s = [waiting[0][1].deadline_s for waiting in self._waiting.values()]
        if first_s:
            self._timer = loop.call_at(max(min(first_s), now_s + _EXPIRE_S), self._expire)


_EXPIRE_S = 0.01  # the timer is no busier than this when those at the heads have been sent, or given up
