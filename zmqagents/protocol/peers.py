"""What a node keeps about one peer: the link, the paths, what is to be sent."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from zmqagents.protocol.events import EventInbox, EventOutbox
from zmqagents.protocol.frames import ControlFrame
from zmqagents.protocol.ids import NodeId, PathId, short
from zmqagents.protocol.link import Link


@dataclass(slots=True)
class Peer:
    """One peer; ``label`` is for people."""

    node_id: NodeId
    link: Link
    outbox: EventOutbox
    label: str = ""
    yields: bool = False
    """Whether, where both have dialled, the peer's connection is the one to use."""
    dialled: int | None = None
    """The number of our DEALER to it."""
    dialled_up: bool = False
    accepted: bool = False
    """Whether it has been heard on its own connection to our ROUTER, and that connection took what we sent."""
    forwarded: int | None = None
    """The number of our DEALER to a forwarder that has it attached."""
    unforwarded_s: float | None = None
    """Since when no forwarder has it, if one had."""
    said_gone: bool = False
    """Whether that was said by the forwarder, which stays; else the forwarder itself is lost."""
    gossip_heard_s: float = -math.inf
    """When its gossip last came from its own PUB."""
    controls: list[ControlFrame] = field(default_factory=list)
    """Control frames for the next transmission."""
    handling: EventInbox = field(default_factory=EventInbox)
    """Its events that are being handled here."""
    farewell: bool = False
    """Whether BYE goes out behind the next transmission."""
    said_bye: bool = False
    """Whether it has said BYE on this life of the link: it reads nothing that it has not acknowledged."""
    done: list[int] = field(default_factory=list)
    """Numbers of its events that are finished here and not yet told."""
    greet_at_s: float | None = None
    """When HELLO is to be repeated; None if it needn't."""
    greet_wait_s: float = 0.0
    """How long after the last HELLO; 0 before the first one on a new path."""
    told_version: int = 0
    """The version of our record that it was last sent."""
    pulled_at_s: float = -math.inf
    """When the last SYNC_PULL of this life of the link went out."""
    synced: bool = False
    """Whether its answer has come."""
    accused_version: int = 0
    """The version at which somebody says that it is dead, while we are connected with it; 0 if nobody does."""
    load: int = 0
    """The calls that it was serving at its last heartbeat."""
    heard_s: float = 0.0
    """When anything last came from it."""
    pinged_s: float = -math.inf
    """When its own connection to our ROUTER was last tried, and took what we sent."""
    deserted_s: float | None = None
    """When its own connection to our ROUTER was found to be lost; None while it has one, or never had."""
    spared: bool = False
    """Whether we have closed what we had dialled to it, because its own connection to our ROUTER serves."""
    seek_at_s: float = 0.0
    """When others are asked next to have it dial us, while we can't dial it."""
    seek_wait_s: float = 0.0
    """How long after the last time; 0 before the first."""
    stuck_since_s: float | None = None
    """Since when something waits for it and there is no path."""
    unreachable: bool = False
    """Whether others have a connection with it, and we can't get one."""

    def __post_init__(self) -> None:
        self.label = self.label or short(self.node_id)

    @property
    def path(self) -> PathId | None:
        """The best path now: of our own and the peer's the one that both sides choose, else by a forwarder, or None."""
        if self.dialled_up and not (self.yields and self.accepted):
            return self.dialled
        return self.node_id if self.accepted else self.forwarded

    @property
    def awaited(self) -> bool:
        """Whether it can be or may yet be reached, and has not told what it knows."""
        way = self.dialled is not None or self.accepted or self.forwarded is not None
        return way and not self.synced and not self.unreachable

    @property
    def met_by_forwarder(self) -> bool:
        """Whether a forwarder has it, or had."""
        return self.forwarded is not None or self.unforwarded_s is not None
