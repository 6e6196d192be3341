"""Everything that a peer can make grow has a bound, and keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from tests.simulation.invariants.base import Invariant
from tests.simulation.process import Process
from zmqagents.protocol.bounds import MAX_EVENT_HOPS
from zmqagents.protocol.calls import SPARE_DEADLINES
from zmqagents.protocol.directory import MAX_CACHED_TOPICS
from zmqagents.protocol.graves import MAX_GRAVES
from zmqagents.protocol.link import Link
from zmqagents.protocol.membership import MAX_TOMBSTONES
from zmqagents.protocol.node import MAX_CONTROLS
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.suspicion import MAX_QUESTIONS
from zmqagents.protocol.windows import EXCESS

Size: TypeAlias = tuple[str, int, int]
"""What is measured, how much there is of it, and how much there may be."""

MOST_WAITING = 4_096  # events that wait for their agents' ways: what a run publishes while one node is held up
ANSWERS = 256  # replies, EVENT_DONEs and CANCELs wait for no window: as many as there are handlers, and calls given up


class Bounded(Invariant):
    """Nothing of a node is ever longer than its bound; a subclass says what it looks at."""

    def check(self) -> None:
        for process in self.run.alive:
            for what, size, bound in self.sizes(process):
                if size > bound:
                    raise self.fail(f"{process.name}: {what} holds {size}, more than {bound}")

    def sizes(self, process: Process) -> Iterator[Size]:
        """What there is of it now."""
        raise NotImplementedError


class BoundedTables(Bounded):
    """What a node knows of others."""

    name = "bounded tables"

    def sizes(self, process: Process) -> Iterator[Size]:
        node = process.node
        contacts, agency = node.contacts, node.agency
        lives, members = len(self.run.everybody), node.membership.live_count
        agents = len(self.run.agents) + lives
        yield "tombstones", len(node.membership._tombstones), min(MAX_TOMBSTONES, lives)
        yield "members", members, lives
        yield "peers", len(node.state.peers), lives
        yield "deadlines", len(node.pending._deadlines), 2 * len(node.pending) + SPARE_DEADLINES + 1
        yield "cached topics", len(node.directory._topics), MAX_CACHED_TOPICS
        yield "cached homes", sum(map(len, node.directory._homes.values())), agents
        yield "dials", len(contacts._dials), 3 * lives
        yield "graves", len(contacts._graves._graves), min(2 * MAX_GRAVES, lives)
        yield "gossip dials", len(contacts._gossip.nodes()), members
        yield "suspicions", len(contacts.watch.suspicions._suspects), members
        yield "questions", len(contacts.watch.suspicions._questions), MAX_QUESTIONS
        yield "heartbeats that differ", len(node._sync._mismatches), members
        yield "agents", len(agency.residents), agents
        yield "claims", len(agency.claims._entries) + len(agency.claims._contested), 2 * agents
        yield "locations", len(agency.locations._known), agents
        yield "ways of events", len(agency.routes.ways), agents * (1 + lives * MAX_EVENT_HOPS)
        yield "events that wait", agency.routes.waiting, MOST_WAITING


class BoundedQueues(Bounded):
    """What waits for a peer, or came from it."""

    name = "bounded queues"
    cheap = True

    def sizes(self, process: Process) -> Iterator[Size]:
        for peer in process.node.state.peers.values():
            yield from self._peer_sizes(peer)

    def _peer_sizes(self, peer: Peer) -> Iterator[Size]:
        yield "controls", len(peer.controls), MAX_CONTROLS
        yield "unfinished events", len(peer.outbox._events), peer.outbox._limits.window_events + MAX_EVENT_HOPS
        yield "events that wait for room", len(peer.outbox) - len(peer.outbox._events), MOST_WAITING
        yield "events being handled", len(peer.handling), EXCESS * peer.outbox._limits.window_events + 1
        yield "events done", len(peer.done), EXCESS * peer.outbox._limits.window_events + 1
        yield from self._link_sizes(peer.link)

    def _link_sizes(self, link: Link) -> Iterator[Size]:
        window = link._limits.window_frames
        yield "frames on their way", len(link._unacked), window
        yield "bytes on their way", link._inflight_bytes if len(link._unacked) > 1 else 0, link._limits.window_bytes
        yield "early frames", len(link._early), window
        yield "early bytes", link._early_bytes, link._limits.window_bytes
        yield "frames that wait", len(link._queued), window + ANSWERS
