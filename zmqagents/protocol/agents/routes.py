"""Events on their way to agents (SPEC.md sections 8.5 and 8.6).

Promised: the events of one publisher for one agent arrive in the order in which they were published, wherever the agent
goes meanwhile and whatever the nodes believe of that; and each is delivered, or told of as dead. (After the loss of a
link, what was unfinished there is sent anew, ahead of what waits, and may come twice, or late.) Events for one agent
that came from one previous hop with one count of hops take one *way* at a time. As long as some of them are unfinished
at one node, a further one that should go elsewhere, or stay here, either

- waits, if it has made no hop yet, be it at its publisher or at the first node that it has come to; or
- follows them to that node, if it has made one: links keep their order.

So no events wait for each other: whatever one waits for has been sent on, and what has been sent on waits nowhere.
Rejected: to follow always. A publisher that never pauses would be led by the old way for ever. Rejected: to tell events
by their previous hop alone. Nodes may send events in circles as long as they disagree, and one that comes by again
would follow itself, or wait for itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from msgspec.structs import replace

from zmqagents.protocol.agents.locations import Locations
from zmqagents.protocol.agents.residents import Residents
from zmqagents.protocol.bounds import MAX_EVENT_HOPS
from zmqagents.protocol.effects import EventDead
from zmqagents.protocol.events import Origin, Sent
from zmqagents.protocol.frames import Event
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.protocol.state import NodeState

MAX_LOSSES = 8  # of the link on which an event is unfinished: it may be what ends each process that handles it


class Waiting(NamedTuple):
    """An event for one agent that waits for its way to be free."""

    event: Event
    origin: Origin | None


class _Route:
    """Where the events of one way go."""

    __slots__ = ("node_id", "unfinished", "waiting")

    def __init__(self, node_id: NodeId) -> None:
        self.node_id = node_id
        self.unfinished = 0
        """How many events are under way there."""
        self.waiting: deque[Waiting] | None = None


_Way: TypeAlias = "AgentKey | tuple[AgentKey, NodeId, int]"
"""The agent, for the events of this node; for those of others also the previous hop, and the hops when they came."""


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
        self._losses: dict[str, int] = {}
        """How often a link was lost on which an event was unfinished that is on its way from here, by message id."""

    def is_free(self, key: AgentKey, origin: Origin | None = None) -> bool:
        """Whether an event for an agent on this node may be delivered now: none before it is on its way elsewhere."""
        return _way(key, origin) not in self.ways

    def follow(self, event: Event, origin: Origin | None) -> None:
        """An event for one agent on this node, whose way is not free, comes behind those before it."""
        onward = event if origin is None else self._one_hop_more(event, origin)
        if onward is not None:
            self._fall_in(onward, origin)

    def send_on(self, event: Event, origin: Origin | None) -> None:
        """An event that came here, or was held here, goes to where its recipients are."""
        onward = event if origin is None else self._one_hop_more(event, origin)
        if onward is not None:
            self.send(onward, origin)

    def _one_hop_more(self, event: Event, origin: Origin) -> Event | None:
        if event.hops >= MAX_EVENT_HOPS:
            self.bury(event, origin, "it was sent on too often: the processes disagree about its home")
            return None
        return replace(event, hops=event.hops + 1)

    def _fall_in(self, event: Event, origin: Origin | None) -> None:
        """Send an event for one agent where those before it went, or keep it until they are finished."""
        route = self.ways[_way(event.recipients[0], origin)]
        follows = origin is not None and origin.hops > 0 and not route.waiting
        if follows and self._send(route.node_id, event, origin):
            self._count(event, origin, route.node_id)
            return
        if route.waiting is None:  # it has made no hop yet; or that node has left, and its link is about to end
            route.waiting = deque()
        route.waiting.append(Waiting(event, origin))
        self.waiting += 1

    def send(self, event: Event, origin: Origin | None = None) -> None:
        """Send the event to each of its recipients, behind those before it."""
        if origin is None and len(event.recipients) == 1 and self._send_alone(event):
            return
        groups: dict[NodeId, list[AgentKey]] = {}
        lost: list[AgentKey] = []
        for key in event.recipients:
            node_id = self._target(key)
            route = self.ways.get(_way(key, origin))
            if node_id is None:
                lost.append(key)
            elif route is not None and (route.waiting or route.node_id != node_id):
                self._fall_in(replace(event, recipients=[key]), origin)
            else:
                groups.setdefault(node_id, []).append(key)
        for node_id, keys in groups.items():
            part = event if len(keys) == len(event.recipients) else replace(event, recipients=keys)
            if node_id == self._state.node_id:
                self._losses.pop(event.message_id, None)
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
        route.unfinished += 1
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
            route.unfinished += 1

    def bury(self, event: Event, origin: Origin | None, reason: str) -> None:
        """The event reaches these recipients never."""
        self._losses.pop(event.message_id, None)
        self._state.effects.append(EventDead(event, reason))
        if origin is not None:
            self._finished(origin, len(event.recipients))

    def done(self, sent: Sent) -> None:
        """The handlers of an event that was sent have ended."""
        event, _, origin = sent
        if self._losses:
            self._losses.pop(event.message_id, None)
        for key in event.recipients:
            way = key if origin is None else _way(key, origin)
            route = self.ways.get(way)
            if route is None:
                continue
            route.unfinished -= 1
            if not route.unfinished:
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
            losses = self._losses.get(event.message_id, 0) + 1
            if losses > MAX_LOSSES:
                self.bury(event, origin, "the link with its home was lost each time")
            else:
                self._losses[event.message_id] = losses
                self.send(event, origin)
        for route in ended.values():
            if route.waiting:
                self._send_all(route.waiting)


def _way(key: AgentKey, origin: Origin | None) -> _Way:
    return key if origin is None else (key, origin.peer, origin.hops)
