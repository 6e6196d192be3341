"""The asyncio shell of a node: owns the clock, the timer and the sockets, and performs what the core asks for.

Everything happens in the event loop's thread. What is made in one loop iteration leaves together: the first thing to
send schedules one flush with ``call_soon``, and the flush fetches everything from the core as batches.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Protocol

from zmqagents.errors import BackpressureError
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import AgentKey, NodeId, PathId, short
from zmqagents.protocol.membership import MemberChange
from zmqagents.protocol.node import Node
from zmqagents.transport.base import Transport
from zmqagents.transport.strays import StrayLog

logger = logging.getLogger("zmqagents")

EARLY = 32  # messages that leave before the turn ends: whoever reads them works on another core meanwhile
LATE_S = 0.1  # of the timer: handlers commonly hold the loop up for less


class Application(Protocol):
    """Who serves what comes in. No method may block; what they raise is logged and goes no further."""

    def on_incoming(self, peer: NodeId, number: int, frame: f.Request | f.Event | f.Agent | f.Cancel) -> None:
        """Serve a frame, or stop serving it."""

    def on_call_ended(self, token: Any, peer: NodeId, outcome: f.Reply | f.Error | e.Fate) -> None:
        """A call has its outcome."""

    def on_serving_ended(self, tokens: list[Any]) -> None:
        """Nobody waits for the answers of these served calls any more."""

    def on_events_abandoned(self, peer: NodeId, events: int) -> None:
        """A lost peer had so many of our events unfinished; they take their way anew."""

    def on_event_dead(self, event: f.Event, reason: str) -> None:
        """An event can't reach these recipients."""

    def on_pack(self, key: AgentKey) -> None:
        """An agent is to move: give its state to ``Node.packed``."""

    def on_evicted(self, key: AgentKey, to: NodeId | None, lost: str) -> None:
        """An agent is not here any more; ``lost`` says why its state was not taken over, if so."""

    def on_member_changed(self, change: MemberChange) -> None:
        """A member joined, changed, left or died."""


class Driver:
    """Runs one ``Node`` over one transport."""

    def __init__(self, transport: Transport, open_node: Callable[[Driver], Node]) -> None:
        """``open_node`` binds the transport, with the driver it is given for its events, and makes the node."""
        self._transport = transport
        self._tell: dict[type[Any], Callable[..., None]] = {}
        self._loop = asyncio.get_running_loop()
        self._strays = StrayLog(logger)
        self._flush_scheduled = False
        self._made = 0
        self.is_lone = False
        """Whether what the application is told now is all that has come, as far as is known, and no call goes on but
        the one it is about: see ``go_on_with``."""
        self._then: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = 0.0
        self._waiters: dict[asyncio.Future[None], None] = {}  # in the order in which they came
        self.closed = False
        """Whether ``close`` was called: nothing is sent any more."""
        self.before_flush: Callable[[], None] | None = None
        """Called before envelopes are fetched, if ``record_stale`` or hosts have changed: our record is told first."""
        self.record_stale = True
        self._hosts_version = -1
        self.on_change: Callable[[], None] | None = None
        """Called when something has come in or left, by whoever waits for room; it may send."""
        self.node = open_node(self)

    # -- life --------------------------------------------------------------------------------------------------

    def attach(self, application: Application) -> None:
        """Serve with ``application`` from now on."""
        self._tell = {
            e.Incoming: application.on_incoming,
            e.CallEnded: application.on_call_ended,
            e.ServingEnded: application.on_serving_ended,
            e.EventsAbandoned: application.on_events_abandoned,
            e.EventDead: application.on_event_dead,
            e.Pack: application.on_pack,
            e.Evicted: application.on_evicted,
            e.MemberChanged: application.on_member_changed,
        }
        self._tick()

    async def leave(self, *, timeout_s: float) -> None:
        """Tell everybody that we have left, once what was sent is acknowledged or ``timeout_s`` has passed."""
        await self.quiet(timeout_s)
        self.node.leave()
        self._flush()

    async def quiet(self, timeout_s: float) -> bool:
        """Wait until everything sent has been acknowledged; False if it has not after ``timeout_s``."""
        deadline_s = self._loop.time() + timeout_s
        while not self.node.is_quiet():
            if not await self._changed(deadline_s):
                return False
        return True

    async def close(self) -> None:
        """End the sockets and the timer. Idempotent."""
        if self.closed:
            return
        self._flush()
        self.closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._went_on()
        await self._transport.close()

    # -- what the runtime asks ---------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """The loop's clock, in seconds."""
        return self._loop.time()

    def schedule_flush(self) -> None:
        """Send what the core has, at the end of this loop iteration."""
        if not self._flush_scheduled and not self.closed:
            self._flush_scheduled = True
            self._loop.call_soon(self._flush)

    def message_made(self, *, urgent: bool) -> None:
        """As ``schedule_flush``, for a call, an answer or an event. What is urgent leaves now if no other is under way.

        Whoever makes one call after the other waits for each, and a turn of the loop is a good part of that. Where some
        are under way, each waits a little for the others, and all leave as one; but no more than EARLY of them, lest
        sender and receiver work by turns.
        """
        self._made += 1
        if self._made >= EARLY or (urgent and not self.node.is_busy):
            self._send()
        elif not self._flush_scheduled:
            self.schedule_flush()

    def go_on_with(self, then: Callable[[], None]) -> None:
        """While ``is_lone``: call ``then`` as soon as what has come is dealt with. It may use all there is here."""
        self.is_lone = False
        self._then = then

    async def wait_for_room(self, node_id: NodeId, has_room: Callable[[NodeId], bool], timeout_s: float) -> None:
        """Wait until ``has_room(node_id)``; BackpressureError, naming the peer, after ``timeout_s``."""
        deadline_s = self._loop.time() + timeout_s
        while not has_room(node_id):
            if not await self._changed(deadline_s):
                raise self.no_room(node_id, timeout_s)

    def no_room(self, node_id: NodeId, timeout_s: float) -> BackpressureError:
        """What to raise where a message has waited for room for ``timeout_s``."""
        label = self.node.label(node_id)
        return BackpressureError(
            f"{label} has taken no more messages for {timeout_s:g} s: its window is full. It is stuck, or"
            " slower than this process sends; nothing of this message was sent.",
            peer=label,
        )

    async def wait_until(self, condition: Callable[[], bool], timeout_s: float | None) -> bool:
        """Wait until ``condition()`` holds, looking again whenever something came in; False after ``timeout_s``."""
        deadline_s = None if timeout_s is None else self._loop.time() + timeout_s
        while not condition():
            if not await self._changed(deadline_s):
                return condition()
        return True

    async def wait_for_change(self, timeout_s: float) -> bool:
        """Wait until something came in or was sent; False after ``timeout_s``."""
        return await self._changed(self._loop.time() + timeout_s)

    async def _changed(self, deadline_s: float | None) -> bool:
        """Wait until something has come in or changed; False at the deadline or once closed."""
        if self.closed:
            return False
        waiter: asyncio.Future[None] = self._loop.create_future()
        self._waiters[waiter] = None
        handle = None if deadline_s is None else self._loop.call_at(deadline_s, _expire, waiter)
        try:
            await waiter
        except TimeoutError:
            return False
        finally:
            self._waiters.pop(waiter, None)
            if handle is not None:
                handle.cancel()
        return not self.closed

    def _went_on(self) -> None:
        if self.on_change is not None:
            self.on_change()
        if self._waiters:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    def changed(self) -> None:
        """Something that somebody may wait for has changed outside the protocol."""
        if self._waiters:
            self._wake_waiters()

    # -- effects and output ------------------------------------------------------------------------------------

    def perform(self) -> None:
        """Do what the core has asked for, in order, and schedule what is to be sent."""
        self._perform_all()
        if not self._flush_scheduled:
            self.schedule_flush()

    def _perform_all(self) -> None:
        """As ``perform``, and nothing is scheduled."""
        node = self.node
        while node.state.effects:
            for effect in node.take_effects():
                self._perform_one(effect)
        if self.on_change is not None or self._waiters:
            self._went_on()

    def _perform_one(self, effect: e.Effect) -> None:
        kind = type(effect)
        tell = self._tell.get(kind)
        if tell is not None:
            try:
                tell(*effect)
            except Exception:
                logger.exception("%s could not be handled", kind.__name__)
        elif kind in _APPLICATION:
            logger.error("%s could not be handled: nothing can have come in before an application", kind.__name__)
        elif isinstance(effect, e.Publish):
            self._transport.publish(effect.parts)
        elif isinstance(effect, e.OpenPath):
            self._transport.open_path(effect.path, effect.endpoint)
        elif isinstance(effect, e.ClosePath):
            self._transport.close_path(effect.path)
        elif isinstance(effect, e.Subscribe):
            self._transport.subscribe(effect.endpoint)
        elif isinstance(effect, e.Unsubscribe):
            self._transport.unsubscribe(effect.endpoint)
        elif isinstance(effect, e.Superseded):
            logger.warning(
                "Node %s takes the place of node %s, which has the same instance_id %r and was started earlier. If both"
                " are alive, give each process an instance_id of its own: calls to the earlier one were cut off.",
                short(effect.new),
                short(effect.old),
                effect.instance_id,
            )
        elif isinstance(effect, e.Strayed):
            label = "an unknown sender" if effect.peer is None else self.node.label(effect.peer)
            self._strays.report(label, effect.text, self._loop.time())
        else:
            self._log(effect)

    def _log(self, effect: e.Effect) -> None:
        if isinstance(effect, e.PeerRefused):
            logger.error("%s and this process can't talk: %s", self.node.label(effect.peer), effect.text)
        elif isinstance(effect, e.ForwarderGained):
            logger.info("attached to the forwarder at %s", effect.endpoint)
        elif isinstance(effect, e.ForwarderLost):
            logger.warning("the forwarder at %s is not used: %s", effect.endpoint, effect.text)

    def _flush(self) -> None:
        self._flush_scheduled = False
        self._send()

    def _send(self) -> None:
        self._made = 0
        if self.closed:
            return
        node = self.node
        if self.record_stale or self._hosts_version != node.directory.version:
            self.record_stale, self._hosts_version = False, node.directory.version
            if self.before_flush is not None:
                self.before_flush()
        if node.state.effects:
            self.perform()
        if node.has_output:  # else all has left already, ahead of the end of the turn
            now_s = self._loop.time()
            for path, parts in node.transmit(now_s):
                if not self._transport.send(path, parts):
                    node.contacts.send_failed(path, now_s)
        if node.state.effects:
            self.perform()
        elif self.on_change is not None or self._waiters:
            self._went_on()  # what has left made room
        self._arm()

    def _arm(self) -> None:
        due_s = self.node.state.wake_s
        if self._timer is not None:
            if self._timer_at_s <= due_s:
                return
            self._timer.cancel()
        self._timer_at_s = due_s
        self._timer = self._loop.call_at(due_s, self._tick)

    def _tick(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self.closed:
            return
        self.node.tick(self._loop.time())
        self._flush()

    # -- what the transport and discovery tell -----------------------------------------------------------------

    def sighted(self, endpoints: tuple[str, ...], node_id: NodeId | None) -> None:
        """Discovery shows a peer; ``node_id`` is None for a seed."""
        if not self.closed:
            self.node.contacts.sighted(endpoints, node_id, self._loop.time())
            self.perform()

    def is_late(self) -> bool:
        """See TransportEvents. The timer is due at least every quarter of a second."""
        return self._timer is not None and self._loop.time() - self._timer_at_s > LATE_S

    def on_message(self, path: PathId, parts: list[f.Part]) -> None:
        """See TransportEvents."""
        self.node.receive(path, parts, self._loop.time())
        self.perform()

    def on_lone_message(self, path: PathId, parts: list[f.Part]) -> None:
        """See TransportEvents. What the message starts mostly sends all there is, so that no flush need follow."""
        node = self.node
        node.receive(path, parts, self._loop.time())
        self.is_lone = len(node.state.effects) == 1 and not node.is_busy
        try:
            self._perform_all()
        finally:
            self.is_lone = False
            then, self._then = self._then, None
            try:
                if then is not None:
                    then()  # last: it may call whatever there is here
            finally:
                self._flush_rest()

    def _flush_rest(self) -> None:
        if self.node.has_output:
            self.schedule_flush()
        elif not self.closed:
            self._arm()

    def on_gossip(self, parts: list[f.Part]) -> None:
        """See TransportEvents."""
        self.node.receive_gossip(parts, self._loop.time())
        if self.node.has_output:
            self.perform()
            return
        if self._waiters:
            self._wake_waiters()
        self._arm()  # a heartbeat that shows nothing new: most of what an idle process reads

    def on_path_up(self, path: int) -> None:
        """See TransportEvents."""
        self.node.contacts.path_up(path, self._loop.time())
        self.perform()

    def on_path_down(self, path: int) -> None:
        """See TransportEvents."""
        self.node.contacts.path_down(path, self._loop.time())
        self.perform()

    def on_path_refused(self, path: int) -> None:
        """See TransportEvents."""
        self.node.contacts.path_refused(path, self._loop.time())
        self.perform()

    def on_gossip_up(self, endpoint: str) -> None:
        """See TransportEvents."""
        self.node.contacts.gossip_up(endpoint, self._loop.time())
        self.perform()

    def on_gossip_down(self, endpoint: str) -> None:
        """See TransportEvents."""
        self.node.contacts.gossip_down(endpoint, self._loop.time())
        self.perform()

    def on_gossip_refused(self, endpoint: str) -> None:
        """See TransportEvents."""
        self.node.contacts.gossip_refused(endpoint, self._loop.time())
        self.perform()

    def on_stray(self, reason: str) -> None:
        """See TransportEvents."""
        self.node.state.counters.strays += 1
        self._strays.report("an unknown sender", reason, self._loop.time())

    def on_turned_away(self, host: str, reason: str) -> None:
        """See TransportEvents."""
        self.node.state.counters.strays += 1
        self._strays.report_turned_away(host, reason, self._loop.time())


_APPLICATION = frozenset(
    {
        e.Incoming,
        e.CallEnded,
        e.ServingEnded,
        e.EventsAbandoned,
        e.EventDead,
        e.Pack,
        e.Evicted,
        e.MemberChanged,
    }
)


def _expire(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
