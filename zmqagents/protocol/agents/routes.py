"""Events on their way to agents (SPEC.md sections 8.5 and 8.6).

Promised: the events that this node sends to one agent, its own and those that it forwards for each other node, arrive
in the order in which they were sent or came from there, wherever the agent goes meanwhile, and each is delivered, kept,
or told of as dead. Events for one agent and of one previous hop take one way at a time: as long as some are unfinished
at one node, those for another node wait here. When a node is lost, what was unfinished there is sent anew, ahead of
what waits. Rejected: one way for all events of an agent. Two nodes that sent each other what neither could deliver
would wait for each other for ever, each to finish its own. For the same reason an event that comes back to a node from
where it was sent on does not wait there again: what it would wait for may be itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from zmqagents.protocol.agents.locations import Locations
from zmqagents.protocol.agents.residents import Residents
from zmqagents.protocol.effects import EventDead
from zmqagents.protocol.events import Origin, Sent
from zmqagents.protocol.frames import Event
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.protocol.state import NodeState

MAX_HOPS = 8  # SPEC.md section 8.5: a rolling restart of several hosts moves an event on as often


class Waiting(NamedTuple):
    """An event for one agent that waits for its way to be free."""

    event: Event
    origin: Origin | None


class _Route:
    """The way of one agent's events, of those that come from one node."""

    __slots__ = ("node_id", "unfinished", "waiting")

    def __init__(self, node_id: NodeId) -> None:
        self.node_id = node_id
        self.unfinished: dict[str, int] = {}
        """How many events are under way there, by message id."""
        self.waiting: deque[Waiting] | None = None

    def begin(self, message_id: str) -> None:
        """One more is under way."""
        self.unfinished[message_id] = self.unfinished.get(message_id, 0) + 1

    def end(self, message_id: str) -> bool:
        """One has ended; whether that was the last of all."""
        left = self.unfinished.get(message_id, 0) - 1
        if left > 0:
            self.unfinished[message_id] = left
        else:
            self.unfinished.pop(message_id, None)
        return not self.unfinished

    def holds(self, event: Event) -> bool:
        """Whether the event has come back to where it would wait for itself."""
        return event.hops > 0 and event.message_id in self.unfinished


_Way: TypeAlias = "AgentKey | tuple[AgentKey, NodeId]"
"""The agent, for the events of this node; and the previous hop, for those of others."""


class EventRoutes:
    """``send`` puts an event on a link, ``here`` delivers it on this node, ``finished`` ends a forwarded one."""

    def __init__(
        self,
        state: NodeState,
        residents: Residents,
        locations: Locations,
        send: Callable[[NodeId, Event, Origin | None], bool],
        here: Callable[[Event, Origin | None], None],
        finished: Callable[[Origin, int], None],
    ) -> None:
        self._state = state
        self._residents = residents
        self._locations = locations
        self._send = send
        self._here = here
        self._finished = finished
        self.ways: dict[_Way, _Route] = {}
        """Those on which events are on their way from here."""
        self.waiting = 0
        """Events that wait for their way, one for each agent."""
        self.forwarded = 0
        """Events of others that are on their way from here."""

    def is_free(self, key: AgentKey, event: Event | None = None, origin: Origin | None = None) -> bool:
        """Whether an event for an agent on this node may be delivered now: none before it is on its way elsewhere."""
        route = self.ways.get(_way(key, origin))
        return route is None or (event is not None and route.holds(event))

    def keep(self, event: Event, origin: Origin | None) -> None:
        """Keep an event for one agent whose way is not free."""
        route = self.ways[_way(event.recipients[0], origin)]
        if route.waiting is None:
            route.waiting = deque()
        route.waiting.append(Waiting(event, origin))
        self.waiting += 1

    def send(self, event: Event, origin: Origin | None = None) -> None:
        """Send the event to each of its recipients, or keep it until their way is free."""
        if origin is None and len(event.recipients) == 1 and self._send_alone(event):
            return
        groups: dict[NodeId, list[AgentKey]] = {}
        lost: list[AgentKey] = []
        for key in event.recipients:
            node_id = self._target(key)
            route = self.ways.get(_way(key, origin))
            if node_id is None:
                lost.append(key)
            elif route is not None and (route.waiting or route.node_id != node_id) and not route.holds(event):
                self.keep(replace(event, recipients=[key]), origin)
            else:
                groups.setdefault(node_id, []).append(key)
        for node_id, keys in groups.items():
            part = event if len(keys) == len(event.recipients) else replace(event, recipients=keys)
            if node_id == self._state.node_id:
                self._here(part, origin)
            elif self._send(node_id, part, origin):
                self._count(part, origin, node_id)
            else:
                lost += keys
        if lost:
            self.bury(replace(event, recipients=lost), origin, "no process hosts its type")

    def _send_alone(self, event: Event) -> bool:
        """As ``send``, for the commonest event: our own, for one agent elsewhere, whose way is free; False if not."""
        [key] = event.recipients
        node_id = self._locations.known(key)
        if node_id is None or node_id == self._state.node_id or self._residents.get(key) is not None:
            return False
        route = self.ways.get(key)
        if route is None:
            route = _Route(node_id)
        elif route.waiting or route.node_id != node_id:
            return False
        if not self._send(node_id, event, None):
            return False
        self.ways[key] = route
        route.begin(event.message_id)
        return True

    def _target(self, key: AgentKey) -> NodeId | None:
        """Where an event for the agent goes: what came before may be held here, whatever has been learned since."""
        return self._state.node_id if self._residents.get(key) is not None else self._locations.target(key)

    def _count(self, event: Event, origin: Origin | None, node_id: NodeId) -> None:
        self.forwarded += origin is not None
        for key in event.recipients:
            way = _way(key, origin)
            route = self.ways.get(way)
            if route is None:
                route = self.ways[way] = _Route(node_id)
            route.begin(event.message_id)

    def bury(self, event: Event, origin: Origin | None, reason: str) -> None:
        """The event reaches these recipients never."""
        self._state.effects.append(EventDead(event, reason))
        if origin is not None:
            self._finished(origin, len(event.recipients))

    def done(self, sent: Sent) -> None:
        """The handlers of an event that was sent have ended."""
        event, _, origin = sent
        for key in event.recipients:
            way = key if origin is None else _way(key, origin)
            route = self.ways.get(way)
            if route is not None and route.end(event.message_id):
                del self.ways[way]
                if route.waiting:
                    self._send_all(route.waiting)
        if origin is not None:
            self.forwarded -= 1
            self._finished(origin, len(event.recipients))

    def _send_all(self, waiting: deque[Waiting]) -> None:
        self.waiting -= len(waiting)
        for event, origin in waiting:
            self.send(event, origin)

    def node_lost(self, node_id: NodeId, unfinished: list[Sent]) -> None:
        """A link was reset: what was unfinished there takes its way anew, in order, and what waited follows."""
        ended = {way: route for way, route in self.ways.items() if route.node_id == node_id}
        for way in ended:
            del self.ways[way]
        self.forwarded -= sum(sent.origin is not None for sent in unfinished)
        for event, _, origin in unfinished:
            if event.hops >= MAX_HOPS:
                self.bury(event, origin, "the link with its home was lost each time")
            else:
                self.send(replace(event, hops=event.hops + 1), origin)
        for route in ended.values():
            if route.waiting:
                self._send_all(route.waiting)


def _way(key: AgentKey, origin: Origin | None) -> _Way:
    return key if origin is None else (key, origin.peer)
