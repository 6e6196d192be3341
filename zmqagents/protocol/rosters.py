"""What a forwarder says by itself: who is attached, and something now and then, to see who still is (section 12.4)."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from zmqagents.protocol import frames as f
from zmqagents.protocol.bounds import MAX_NODES
from zmqagents.protocol.codec import encode_envelope
from zmqagents.protocol.ids import NodeId

COALESCE_S = 0.1
"""How long changes of the roster are gathered before all are told: a cluster that starts at once costs few messages."""

KEEP_S = 1.0
"""The longest silence towards an attached node; sending to it finds out whether its connection is there."""

PROBE_AGAIN_S = 0.1
"""A connection's end is told before the socket has taken note of it: so all nodes are tried at once, and once more."""

_GRID_S = 0.05
_DESTINATION = slice(22, 38)  # in a header

_NO_CHANGE = f.Roster(0, False, True, [], [])


@dataclass(slots=True)
class Node:
    """An attached node."""

    sent_s: float
    """When something was last sent to it."""
    stale: bool = False
    """What it knows of the roster may be wrong."""
    missing: dict[NodeId, None] = field(default_factory=dict)
    """Destinations it has written to that are not attached, of which it is to be told."""


class Herald:
    """Speaks to the attached ``nodes``; what is to be sent goes to the end of ``sends``."""

    def __init__(self, forwarder_id: NodeId, nodes: dict[NodeId, Node]) -> None:
        self._forwarder_id = forwarder_id
        self._nodes = nodes
        self.sends: list[tuple[NodeId, list[Any]]] = []
        self._changes: dict[NodeId, bool] = {}  # whether attached now, of those that all are to be told of
        self._flush_s = math.inf
        self._probes_s: list[float] = []  # when all nodes are to be tried
        self._keeps: list[tuple[float, int, NodeId, Node]] = []  # a heap: when to see whether a node was sent anything
        self._lives = 0
        self._misses: dict[NodeId, None] = {}  # nodes with something missing
        self._tell_missing_s = math.inf
        header = bytes(encode_envelope(self._envelope(forwarder_id, [_NO_CHANGE]))[0])
        self._before, self._after = header[: _DESTINATION.start], header[_DESTINATION.stop :]
        self.silent = False
        """While the forwarder ends, changes are not told any more, nor is anybody kept."""

    # -- inputs ------------------------------------------------------------------------------------------------

    def came(self, node_id: NodeId, node: Node, now_s: float) -> None:
        """The node is attached."""
        self._lives += 1
        heapq.heappush(self._keeps, (now_s + _keep_s(node_id), self._lives, node_id, node))
        self._change(node_id, now_s, attached=True)

    def went(self, node_id: NodeId, now_s: float) -> None:
        """The node is not attached any more."""
        self._misses.pop(node_id, None)
        self._change(node_id, now_s, attached=False)

    def missed(self, node_id: NodeId, destination: NodeId, now_s: float) -> None:
        """The node has written to one that is not attached."""
        missing = self._nodes[node_id].missing
        if len(missing) < MAX_NODES:
            missing[destination] = None
            self._misses[node_id] = None
            self._tell_missing_s = min(now_s, self._tell_missing_s)

    def probe(self, now_s: float) -> None:
        """Some connection has ended: try all nodes now and a little later, but not more than ten times a second."""
        if not self._probes_s:
            self._probes_s = [now_s, now_s + PROBE_AGAIN_S]
        elif len(self._probes_s) == 1:  # the second of an earlier one; what ended just now may need one more
            self._probes_s.append(self._probes_s[0] + PROBE_AGAIN_S)

    def tick(self, now_s: float) -> None:
        """Say what is due."""
        self._tell_missing(now_s)
        if self._flush_s <= now_s:
            self._tell_changes(now_s)
        if self._probes_s and self._probes_s[0] <= now_s:
            self._probes_s = [at_s for at_s in self._probes_s if at_s > now_s]
            for node_id, node in self._nodes.items():
                self._try(node_id, node, now_s)
        self._keep(now_s)

    @property
    def wake_s(self) -> float:
        """When ``tick`` is due."""
        return min(
            self._tell_missing_s,
            self._flush_s,
            self._probes_s[0] if self._probes_s else math.inf,
            _on_grid(self._keeps[0][0]) if self._keeps else math.inf,
        )

    # -- saying ------------------------------------------------------------------------------------------------

    def say(self, node_id: NodeId, frames: list[f.Frame], now_s: float) -> None:
        """Control frames to one node, attached or not."""
        node = self._nodes.get(node_id)
        if node is not None:
            node.sent_s = now_s
        self.sends.append((node_id, encode_envelope(self._envelope(node_id, frames))))

    def say_to_all(self, frames: list[f.Frame], now_s: float) -> None:
        """The same to every attached node: made once, but for the destination."""
        header = bytes(encode_envelope(self._envelope(self._forwarder_id, frames))[0])
        before, after = header[: _DESTINATION.start], header[_DESTINATION.stop :]
        for node_id, node in self._nodes.items():
            node.sent_s = now_s
            self.sends.append((node_id, [before + node_id + after]))

    def list_to(self, node_id: NodeId, token: int, now_s: float) -> None:
        """The whole roster, in pages."""
        ids: Iterable[NodeId] = iter(self._nodes)
        left = len(self._nodes)
        while left:
            page = list(islice(ids, MAX_NODES))
            left -= len(page)
            self.say(node_id, [f.Roster(token, True, not left, page, [])], now_s)

    def _change(self, node_id: NodeId, now_s: float, *, attached: bool) -> None:
        if self.silent:
            return
        self._changes[node_id] = attached
        if self._flush_s == math.inf:
            self._flush_s = now_s + COALESCE_S

    def _tell_changes(self, now_s: float) -> None:
        self._flush_s = math.inf
        attached = [node_id for node_id, is_attached in self._changes.items() if is_attached]
        gone = [node_id for node_id, is_attached in self._changes.items() if not is_attached]
        self._changes.clear()
        if self.silent:
            return
        for start in range(0, max(len(attached), len(gone)), MAX_NODES):
            page = slice(start, start + MAX_NODES)
            self.say_to_all([f.Roster(0, False, True, attached[page], gone[page])], now_s)

    def _tell_missing(self, now_s: float) -> None:
        misses, self._misses = self._misses, {}
        self._tell_missing_s = math.inf
        for node_id in misses:
            node = self._nodes[node_id]
            gone = [missing for missing in node.missing if missing not in self._nodes]
            node.missing.clear()
            if gone:
                self.say(node_id, [f.Roster(0, False, True, [], gone)], now_s)

    def _keep(self, now_s: float) -> None:
        """Send something to those that were sent nothing for long, or that have missed something."""
        keeps, nodes = self._keeps, self._nodes
        while keeps and keeps[0][0] <= now_s:
            _, life, node_id, node = keeps[0]
            if nodes.get(node_id) is not node or self.silent:
                heapq.heappop(keeps)
                continue
            if node.stale:
                node.stale = False
                self.list_to(node_id, 0, now_s)
            elif node.sent_s + _keep_s(node_id) <= now_s:
                self._try(node_id, node, now_s)
            heapq.heapreplace(keeps, (node.sent_s + _keep_s(node_id), life, node_id, node))

    def _try(self, node_id: NodeId, node: Node, now_s: float) -> None:
        node.sent_s = now_s
        self.try_all([node_id])

    def try_all(self, node_ids: Iterable[NodeId]) -> None:
        """Send these nodes, attached or not, what tells them nothing: whether it can be sent is what matters."""
        self.sends += [(node_id, [self._before + node_id + self._after]) for node_id in node_ids]

    def _envelope(self, destination: NodeId, frames: list[f.Frame]) -> f.Envelope:
        return f.Envelope(self._forwarder_id, destination, 0, 0, 0, 0, frames)


def _keep_s(node_id: NodeId) -> float:
    """The silence after which the node is sent something: not the same for all, lest it be their turn all at once."""
    return (KEEP_S - _GRID_S) * (3 + node_id[-1] / 255) / 4


def _on_grid(at_s: float) -> float:
    """The same or a little later: for a thousand nodes, each with its own time, the shell wakes 20 times a second."""
    return max(at_s, math.ceil(at_s / _GRID_S) * _GRID_S)  # the product may be rounded to less
