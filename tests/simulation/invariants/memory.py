"""Everything that a peer can make grow has a bound, and keeps it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from tests.simulation.invariants.base import Invariant
from tests.simulation.process import Process
from zmqagents.protocol.calls import SPARE_DEADLINES
from zmqagents.protocol.directory import MAX_CACHED_TOPICS
from zmqagents.protocol.link import Link
from zmqagents.protocol.membership import MAX_TOMBSTONES
from zmqagents.protocol.node import MAX_CONTROLS
from zmqagents.protocol.peers import Peer

Size: TypeAlias = tuple[str, int, int]
"""What is measured, how much there is of it, and how much there may be."""

ANSWERS = 256  # replies, EVENT_DONEs and CANCELs wait for no window: as many as there are handlers, and calls given up


class Bounded(Invariant):
    """No queue and no table of a node is ever longer than its bound."""

    name = "bounded memory"
    cheap = True

    def check(self) -> None:
        for process in self.run.alive:
            for what, size, bound in self._sizes(process):
                if size > bound:
                    raise self.fail(f"{process.name}: {what} holds {size}, more than {bound}")

    def _sizes(self, process: Process) -> Iterator[Size]:
        node = process.node
        lives = len(self.run.everybody)
        yield "tombstones", len(node.membership._tombstones), min(MAX_TOMBSTONES, lives)
        yield "members", node.membership.live_count, lives
        yield "peers", len(node.state.peers), lives
        yield "deadlines", len(node.pending._deadlines), 2 * len(node.pending) + SPARE_DEADLINES + 1
        yield "cached topics", len(node.directory._topics), MAX_CACHED_TOPICS
        yield "dials", len(node.contacts._dials), 2 * lives
        yield "gossip dials", len(node.contacts._gossip.nodes()), node.membership.live_count
        yield "heartbeats that differ", len(node._sync._mismatches), node.membership.live_count
        for peer in node.state.peers.values():
            yield from self._peer_sizes(peer)

    def _peer_sizes(self, peer: Peer) -> Iterator[Size]:
        yield "controls", len(peer.controls), MAX_CONTROLS
        yield "unfinished events", len(peer.outbox), peer.outbox._limits.window_events + 1
        yield "events being handled", len(peer.handling), peer.outbox._limits.window_events + 1
        yield "events done", len(peer.done), peer.outbox._limits.window_events + 1
        yield from self._link_sizes(peer.link)

    def _link_sizes(self, link: Link) -> Iterator[Size]:
        window = link._limits.window_frames
        yield "frames on their way", len(link._unacked), window
        yield "bytes on their way", link._inflight_bytes if len(link._unacked) > 1 else 0, link._limits.window_bytes
        yield "early frames", len(link._early), window
        yield "early bytes", link._early_bytes, link._limits.window_bytes
        yield "frames that wait", len(link._queued), window + ANSWERS
