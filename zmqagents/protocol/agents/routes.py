"""Events on their way to agents (SPEC.md sections 8.5 and 8.6).

Promised: the events that this node sends to one agent, its own and those it forwards, arrive in the order in which
they were sent, wherever the agent goes meanwhile, and each is delivered, kept, or told of as dead. An agent's events
take one way at a time: as long as some are unfinished at one node, those for another node wait here. When a node is
lost, what was unfinished there is sent anew, ahead of what waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from zmqagents.protocol.agents.locations import Locations
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


@dataclass(slots=True)
class _Route:
    """The way of one agent's events."""

    node_id: NodeId
    unfinished: int = 0
    waiting: deque[Waiting] = field(default_factory=deque)


class EventRoutes:
    """``send`` puts an event on a link, ``here`` delivers it on this node, ``finished`` ends a forwarded one."""

    def __init__(
        self,
        state: NodeState,
        locations: Locations,
        send: Callable[[NodeId, Event, Origin | None], bool],
        here: Callable[[Event, Origin | None], None],
        finished: Callable[[Origin, int], None],
    ) -> None:
        self._state = state
        self._locations = locations
        self._send = send
        self._here = here
        self._finished = finished
        self._routes: dict[AgentKey, _Route] = {}
        self.waiting = 0
        """Events that wait for their way, one for each agent."""
        self.forwarded = 0
        """Events of others that are on their way from here."""

    def is_free(self, key: AgentKey) -> bool:
        """Whether an event for an agent on this node may be delivered now: none is on its way elsewhere."""
        return key not in self._routes

    def send(self, event: Event, origin: Origin | None = None) -> None:
        """Send the event to each of its recipients, or keep it until their way is free."""
        own = self._state.node_id
        groups: dict[NodeId, list[AgentKey]] = {}
        lost: list[AgentKey] = []
        for key in event.recipients:
            route = self._routes.get(key)
            node_id = self._locations.target(key)
            if node_id is None:
                lost.append(key)
            elif route is not None and (route.waiting or route.node_id != node_id):
                route.waiting.append(Waiting(event._replace(recipients=[key]), origin))
                self.waiting += 1
            else:
                groups.setdefault(node_id, []).append(key)
        for node_id, keys in groups.items():
            part = event if len(keys) == len(event.recipients) else event._replace(recipients=keys)
            if node_id == own:
                self._here(part, origin)
            elif self._send(node_id, part, origin):
                self.forwarded += origin is not None
                for key in keys:
                    self._count(key, node_id)
            else:
                lost += keys
        if lost:
            self.bury(event._replace(recipients=lost), origin, "no process hosts its type")

    def _count(self, key: AgentKey, node_id: NodeId) -> None:
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = _Route(node_id)
        route.unfinished += 1

    def bury(self, event: Event, origin: Origin | None, reason: str) -> None:
        """The event reaches these recipients never."""
        self._state.effects.append(EventDead(event, reason))
        if origin is not None:
            self._finished(origin, len(event.recipients))

    def done(self, sent: Sent) -> None:
        """The handlers of an event that was sent have ended."""
        event, _, origin = sent
        self.forwarded -= origin is not None
        for key in event.recipients:
            route = self._routes.get(key)
            if route is None:
                continue
            route.unfinished -= 1
            if route.unfinished <= 0:
                del self._routes[key]
                self._send_all(route.waiting)
        if origin is not None:
            self._finished(origin, len(event.recipients))

    def _send_all(self, waiting: deque[Waiting]) -> None:
        self.waiting -= len(waiting)
        for event, origin in waiting:
            self.send(event, origin)

    def node_lost(self, node_id: NodeId, unfinished: list[Sent]) -> None:
        """A link was reset: what was unfinished there takes its way anew, in order, and what waited follows."""
        ended = [key for key, route in self._routes.items() if route.node_id == node_id]
        waiting = [self._routes.pop(key).waiting for key in ended]
        self.forwarded -= sum(sent.origin is not None for sent in unfinished)
        for event, _, origin in unfinished:
            if event.hops >= MAX_HOPS:
                self.bury(event, origin, "the link with its home was lost each time")
            else:
                self.send(event._replace(hops=event.hops + 1), origin)
        for events in waiting:
            self._send_all(events)
