"""Bounds, counters and news of a forwarder (SPEC.md section 12)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from zmqagents.errors import WireCode
from zmqagents.protocol.ids import NodeId


@dataclass(frozen=True, slots=True, kw_only=True)
class RelayLimits:
    """Bounds of what peers can make a forwarder keep."""

    max_nodes: int = 4_096
    """Attached nodes; one more is told FULL."""
    max_listened: int = 4_096
    """Nodes whose gossip one node may want."""
    max_listened_in_all: int = 262_144
    """The same for all nodes together: some 40 MiB. Every one of 512 nodes may listen to every other."""
    max_sends: int = 65_536
    """Messages that wait for ``take``; one that a peer causes beyond is dropped."""


@dataclass(slots=True)
class RelayCounters:
    """What has happened since the start."""

    envelopes: int = 0
    """Envelopes relayed."""
    gossip: int = 0
    """Gossip messages handed to listeners, each of them."""
    relayed_bytes: int = 0
    attached: int = 0
    """ATTACHes of nodes that were not attached."""
    strays: int = 0
    """Messages that broke a rule."""
    refused: Counter[str] = field(default_factory=Counter)
    """ATTACHes that were answered with BYE, by the name of the code."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Messages that did not go on, by reason."""


class Attached(NamedTuple):
    """A node was attached."""

    node_id: NodeId


class Detached(NamedTuple):
    """A node is not attached any more."""

    node_id: NodeId
    reason: str


class Refused(NamedTuple):
    """A node was not let in."""

    node_id: NodeId
    code: WireCode
    text: str


class Stray(NamedTuple):
    """A peer broke a rule."""

    node_id: NodeId
    text: str


News: TypeAlias = Attached | Detached | Refused | Stray
