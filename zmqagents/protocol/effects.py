"""What the core tells its shell, in order: what to do on the sockets, and what has happened.

Envelopes are not effects: they are fetched with ``Node.transmit``, so that all that was made in one loop iteration
leaves in one batch.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Any, NamedTuple, TypeAlias

from zmqagents.errors import WireCode
from zmqagents.protocol.frames import Agent, Cancel, Error, Event, Reply, Request
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.protocol.membership import MemberChange


class OpenPath(NamedTuple):
    """Dial ``endpoint`` under the number ``path``."""

    path: int
    endpoint: str


class ClosePath(NamedTuple):
    """End a dialled path."""

    path: int


class Subscribe(NamedTuple):
    """Connect to a gossip endpoint."""

    endpoint: str


class Unsubscribe(NamedTuple):
    """Disconnect from a gossip endpoint."""

    endpoint: str


class Publish(NamedTuple):
    """Send gossip."""

    parts: list[bytes]


class Incoming(NamedTuple):
    """A frame for the application: serve it, or stop serving it. ``number`` is what ``Node.event_done`` asks for."""

    peer: NodeId
    number: int
    frame: Request | Event | Agent | Cancel


class Fate(Enum):
    """How a call ended that no answer ended."""

    PEER_LOST = auto()  # outcome unknown
    UNDELIVERABLE = auto()  # certainly not executed
    DEADLINE = auto()


class CallEnded(NamedTuple):
    """A pending call's outcome; ``token`` is the caller's own."""

    token: Any
    peer: NodeId
    outcome: Reply | Error | Fate


class ServingEnded(NamedTuple):
    """The peers of these served calls are gone: nobody waits for their answers."""

    tokens: list[Any]


class EventsAbandoned(NamedTuple):
    """A lost peer had so many events unfinished; they go to their recipients' next homes."""

    peer: NodeId
    events: int


class EventDead(NamedTuple):
    """An event that can't reach its recipients, and is kept no longer."""

    event: Event
    reason: str


class Pack(NamedTuple):
    """An agent is to move, and no handler of it runs: give its state to ``Node.packed``."""

    agent: AgentKey


class Evicted(NamedTuple):
    """An agent is not here any more: end its instance. ``lost`` says why its state was not taken over, if so."""

    agent: AgentKey
    to: NodeId | None
    lost: str


class MemberChanged(NamedTuple):
    """A member joined, changed, left or died."""

    change: MemberChange


class Superseded(NamedTuple):
    """``new`` has the instance id of ``old`` and was started later: it takes the place of that. For a person."""

    old: NodeId
    new: NodeId
    instance_id: str


class PeerRefused(NamedTuple):
    """A peer and we can't talk: version or cluster mismatch. To be shown to a person."""

    peer: NodeId
    code: int
    text: str


class ForwarderGained(NamedTuple):
    """The forwarder there relays for this node. For a person."""

    endpoint: str


class ForwarderLost(NamedTuple):
    """The forwarder there relays for this node no more, or doesn't begin to. For a person."""

    endpoint: str
    text: str


class Strayed(NamedTuple):
    """Something illegal came: dropped and counted; ``peer`` is None if it can't be told."""

    peer: NodeId | None
    code: WireCode
    text: str


Effect: TypeAlias = (
    OpenPath
    | ClosePath
    | Subscribe
    | Unsubscribe
    | Publish
    | Incoming
    | CallEnded
    | ServingEnded
    | EventsAbandoned
    | EventDead
    | Pack
    | Evicted
    | MemberChanged
    | Superseded
    | PeerRefused
    | ForwarderGained
    | ForwarderLost
    | Strayed
)
