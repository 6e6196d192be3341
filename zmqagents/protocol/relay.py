"""A forwarder's decisions: who is attached, and where each message goes (SPEC.md section 12).

**Promise.** A message that an attached node sends to another attached node goes on once, as it is, in order; nothing
else goes anywhere. What can't go on is counted, and its sender told. Every node learns who is attached, and every part
of the state has a bound (``RelayLimits``).

**How.** The ids of sender and receiver stand at fixed places of a header, so neither header nor payloads are decoded,
and parts are never looked at behind the first (of gossip: the second); the shell may pass what it likes there. Only
what is said to the forwarder itself goes through the codec, which a peer can't harm.

**Whether a node is still there** only the shell can find out, by sending to it: so each node is sent something at least
once in ``KEEP_S``, and all of them when somebody's connection has ended. A node whose program is busy stays attached.

**Rejected.** Forwarders that know of each other: a node attaches to several, and then a lost one costs nothing, no
message goes in circles, and there is no second membership to keep. Time-outs for silent nodes: a node that holds the
GIL for a minute would lose its place, while its libzmq answers.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import GOSSIP_PREFIX, MAX_HEADER_BYTES, MAX_NODES, decode_envelope, encode_envelope
from zmqagents.protocol.ids import ANYONE, NodeId, short
from zmqagents.protocol.listeners import Listeners

COALESCE_S = 0.1
"""How long changes of the roster are gathered before all are told: a cluster that starts at once costs few messages."""

KEEP_S = 1.0
"""The longest silence towards an attached node; sending to it finds out whether its connection is there."""

PROBE_AGAIN_S = 0.1
"""A connection's end is told before the socket has taken note of it: so all nodes are tried at once, and once more."""

TELL_AGAIN_S = 1.0
"""How often a sender that has not attached is told so."""

_GRID_S = 0.05
_MAX_TOLD = 1_024
_MAX_NEWS = 1_024
_GOSSIP_PARTS = 3

# The header of every envelope: an array of 8 to 15, layout 1, bin 16 (source), bin 16 (destination).
_ARRAYS = range(0x98, 0xA0)
_LAYOUT = b"\x01\xc4\x10"
_BIN_16 = b"\xc4\x10"
_ROUTED_BYTES = 38
_KINDS = range(0x80)  # a gossip body's kind, in one byte

_BYE_LEAVES = 0


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


@dataclass(slots=True)
class _Node:
    sent_s: float
    stale: bool = False
    """What it knows of the roster may be wrong."""
    missing: dict[NodeId, None] = field(default_factory=dict)
    """Destinations it has written to that are not attached, of which it is to be told."""


class Relay:
    """The state of one forwarder. After any input: ``take`` what is to be sent, and ``tick`` at ``wake_s``."""

    def __init__(
        self,
        forwarder_id: NodeId,
        cluster: str,
        limits: RelayLimits | None = None,
        *,
        now_s: float = 0.0,
    ) -> None:
        self.forwarder_id = forwarder_id
        self.cluster = cluster
        self.limits = limits or RelayLimits()
        self.counters = RelayCounters()
        self.draining = False
        self.wake_s = math.inf
        self._now_s = now_s
        self._nodes: dict[NodeId, _Node] = {}
        self._listeners = Listeners(most_each=self.limits.max_listened, most=self.limits.max_listened_in_all)
        self._sends: list[tuple[NodeId, list[Any]]] = []
        self._news: deque[Attached | Detached | Refused | Stray] = deque(maxlen=_MAX_NEWS)
        self._changes: dict[NodeId, bool] = {}  # whether attached now, of those that all are to be told of
        self._flush_s = math.inf
        self._probes_s: list[float] = []  # when all nodes are to be tried
        self._keeps: list[
            tuple[float, int, NodeId, _Node]
        ] = []  # a heap: when to look whether a node was sent anything
        self._lives = 0
        self._misses: dict[NodeId, None] = {}  # nodes with something missing
        self._told: dict[NodeId, float] = {}  # senders that were told that they have not attached
        self._on_control: dict[type[Any], Callable[[NodeId, Any], None]] = {
            f.Attach: self._attach,
            f.Listen: self._listen,
            f.Ping: self._ping,
            f.Bye: self._bye,
        }

    @property
    def attached(self) -> Collection[NodeId]:
        """The attached nodes; a view."""
        return self._nodes.keys()

    @property
    def listened(self) -> int:
        """Pairs of nodes of which one wants the other's gossip."""
        return len(self._listeners)

    # -- inputs ------------------------------------------------------------------------------------------------

    def receive(self, sender: NodeId, parts: list[Any], now_s: float) -> None:
        """A message came on the connection of ``sender``. The first part, and of gossip the second, are bytes."""
        self._now_s = now_s
        head = parts[0] if parts else b""
        if sender not in self._nodes:
            self._from_outside(sender, parts)
        elif head == GOSSIP_PREFIX:
            self._gossip(sender, parts)
        elif (
            len(head) < _ROUTED_BYTES
            or head[0] not in _ARRAYS
            or head[1:4] != _LAYOUT
            or head[20:22] != _BIN_16
            or len(head) > MAX_HEADER_BYTES
        ):
            self._stray(sender, "a message that is neither an envelope nor gossip")
        elif head[4:20] != sender:
            self._stray(sender, "an envelope that names another source")
        else:
            self._route(sender, head[22:38], parts)

    def unreachable(self, node_id: NodeId, now_s: float) -> None:
        """What was to be sent to the node could not be: it has no connection any more."""
        self._now_s = now_s
        self._detach(node_id, "its connection has ended")

    def overflowed(self, node_id: NodeId, now_s: float) -> None:
        """Something for the node was dropped, because it reads too slowly: it is told who is attached anew, later."""
        self._now_s = now_s
        node = self._nodes.get(node_id)
        if node is not None:
            node.stale = True

    def disconnected(self, now_s: float) -> None:
        """Some connection has ended: find out whose."""
        self._now_s = now_s
        if not self._probes_s:
            self._probes_s = [now_s, now_s + PROBE_AGAIN_S]
            self._wake_by(now_s)
        elif len(self._probes_s) == 1:  # the second of an earlier one; what ended just now may need one more
            self._probes_s.append(self._probes_s[0] + PROBE_AGAIN_S)

    def drain(self, now_s: float) -> None:
        """Let nobody in any more, and tell all to go their other ways. Relaying goes on. Idempotent."""
        self._now_s = now_s
        if self.draining:
            return
        self.draining = True
        self._changes.clear()
        last_words: list[f.Frame] = [f.Roster(0, True, True, [], []), f.Bye(_BYE_LEAVES, "this forwarder is ending")]
        self._tell_all(last_words)

    def tick(self, now_s: float) -> None:
        """Do what is due. Safe to call early or twice."""
        self._now_s = now_s
        self._tell_missing()
        if self._flush_s <= now_s:
            self._tell_changes()
        if self._probes_s and self._probes_s[0] <= now_s:
            self._probes_s = [at_s for at_s in self._probes_s if at_s > now_s]
            self._tell_all([_NO_CHANGE])
        self._keep()
        self.wake_s = min(
            self._flush_s,
            self._probes_s[0] if self._probes_s else math.inf,
            _on_grid(self._keeps[0][0]) if self._keeps else math.inf,
        )

    # -- outputs -----------------------------------------------------------------------------------------------

    def take(self) -> list[tuple[NodeId, list[Any]]]:
        """What is to be sent, in order; the caller has it now."""
        sends, self._sends = self._sends, []
        return sends

    def take_news(self) -> list[Attached | Detached | Refused | Stray]:
        """What has happened since the last call; of a flood, the end."""
        news = list(self._news)
        self._news.clear()
        return news

    # -- relaying ----------------------------------------------------------------------------------------------

    def _route(self, sender: NodeId, destination: NodeId, parts: list[Any]) -> None:
        target = self._nodes.get(destination)
        if destination in (self.forwarder_id, ANYONE):
            self._to_us(sender, parts)
        elif destination == sender:
            self._stray(sender, "an envelope to its own sender")
        elif target is None:
            self._miss(sender, destination)
        elif self._send_on(destination, target, parts):
            self.counters.envelopes += 1

    def _gossip(self, sender: NodeId, parts: list[Any]) -> None:
        body = parts[1] if 1 < len(parts) <= _GOSSIP_PARTS else b""
        if (
            not _ROUTED_BYTES // 2 < len(body) <= MAX_HEADER_BYTES
            or body[1] not in _KINDS
            or body[2:4] != _BIN_16
            or body[4:20] != sender
        ):
            self._stray(sender, "gossip that is not its own")
            return
        for listener in self._listeners.of(sender):
            target = self._nodes.get(listener)
            if target is not None and self._send_on(listener, target, parts):
                self.counters.gossip += 1

    def _send_on(self, destination: NodeId, target: _Node, parts: list[Any]) -> bool:
        if len(self._sends) >= self.limits.max_sends:
            self.counters.dropped["overloaded"] += 1
            return False
        self._sends.append((destination, parts))
        target.sent_s = self._now_s
        self.counters.relayed_bytes += len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        return True

    def _miss(self, sender: NodeId, destination: NodeId) -> None:
        self.counters.dropped["not attached"] += 1
        missing = self._nodes[sender].missing
        if len(missing) < MAX_NODES:
            missing[destination] = None
            self._misses[sender] = None
            self._wake_by(self._now_s)

    # -- what is said to the forwarder -------------------------------------------------------------------------

    def _from_outside(self, sender: NodeId, parts: list[Any]) -> None:
        """Somebody who is not attached may attach, and nothing else."""
        try:
            source, destination, _, _, _, _, frames = decode_envelope(parts[:1], max_payload_bytes=0)
        except RemoteProtocolError:
            source, destination, frames = ANYONE, ANYONE, [f.Unknown(0)]
        if source == sender and destination in (ANYONE, self.forwarder_id) and isinstance(frames[0], f.Attach):
            self._hear(sender, frames)
            return
        if isinstance(frames[0], f.Bye):
            return
        self._stray(sender, "a message of a node that has not attached")
        if self._told.get(sender, -math.inf) <= self._now_s - TELL_AGAIN_S:
            self._told.pop(sender, None)  # so that the order is that of time
            if len(self._told) >= _MAX_TOLD:
                del self._told[next(iter(self._told))]
            self._told[sender] = self._now_s
            self._say(sender, [f.Bye(WireCode.ILLEGAL_NOW, "attach first: this is a forwarder")])

    def _to_us(self, sender: NodeId, parts: list[Any]) -> None:
        try:
            frames = decode_envelope(parts[:1], max_payload_bytes=0).frames
        except RemoteProtocolError as error:
            self._stray(sender, str(error))
        else:
            self._hear(sender, frames)

    def _hear(self, sender: NodeId, frames: list[f.Frame]) -> None:
        for frame in frames:
            if type(frame) in self._on_control:
                self._on_control[type(frame)](sender, frame)
            elif not isinstance(frame, f.Unknown):
                self._stray(sender, f"{type(frame).__name__} to a forwarder")
            if sender not in self._nodes:  # refused, or it has left
                return

    def _attach(self, sender: NodeId, frame: f.Attach) -> None:
        lowest, highest = f.VERSIONS
        if self.draining:
            self._say(sender, [f.Bye(_BYE_LEAVES, "this forwarder is ending")])
        elif frame.cluster != self.cluster:
            text = f"this forwarder is one of cluster {self.cluster!r}, not of {frame.cluster!r:.80}"
            self._refuse(sender, WireCode.WRONG_CLUSTER, text)
        elif min(frame.highest, highest) < max(frame.lowest, lowest):
            text = (
                f"protocol versions {lowest} to {highest} here do not meet {frame.lowest} to {frame.highest} there; "
                "upgrade the older side"
            )
            self._refuse(sender, WireCode.VERSION_MISMATCH, text)
        elif sender not in self._nodes and len(self._nodes) >= self.limits.max_nodes:
            text = f"this forwarder has {len(self._nodes):,} nodes attached, as many as it takes (--max-peers)"
            self._refuse(sender, WireCode.FULL, text)
        else:
            self._admit(sender)
            self._list_to(sender, frame.token)

    def _admit(self, sender: NodeId) -> None:
        if sender in self._nodes:
            return
        node = self._nodes[sender] = _Node(self._now_s)
        self._lives += 1
        heapq.heappush(self._keeps, (self._now_s + _keep_s(sender), self._lives, sender, node))
        self._wake_by(_on_grid(self._keeps[0][0]))
        self._told.pop(sender, None)
        self.counters.attached += 1
        self._news.append(Attached(sender))
        self._changed(sender, attached=True)

    def _refuse(self, sender: NodeId, code: WireCode, text: str) -> None:
        self.counters.refused[code.name] += 1
        self._news.append(Refused(sender, code, text))
        self._detach(sender, text)
        self._say(sender, [f.Bye(code, text)])

    def _detach(self, node_id: NodeId, reason: str) -> None:
        if self._nodes.pop(node_id, None) is None:
            return
        self._misses.pop(node_id, None)
        self._listeners.forget(node_id)
        self._news.append(Detached(node_id, reason))
        self._changed(node_id, attached=False)

    def _listen(self, sender: NodeId, frame: f.Listen) -> None:
        if frame.whole:
            beyond = self._listeners.replace(sender, frame.nodes)
        else:
            self._listeners.drop(sender, frame.dropped)
            beyond = self._listeners.add(sender, frame.nodes)
        if beyond:
            self.counters.dropped["listens"] += beyond
            self._news.append(Stray(sender, f"it wants the gossip of {beyond:,} nodes more than there is room for"))

    def _ping(self, sender: NodeId, frame: f.Ping) -> None:
        self._say(sender, [f.Pong(frame.token)])

    def _bye(self, sender: NodeId, frame: f.Bye) -> None:
        self._detach(sender, f"it said BYE {frame.code}: {frame.text:.200}" if frame.code else "it left")

    def _stray(self, sender: NodeId, text: str) -> None:
        self.counters.strays += 1
        self._news.append(Stray(sender, text))

    # -- what the forwarder says -------------------------------------------------------------------------------

    def _changed(self, node_id: NodeId, *, attached: bool) -> None:
        if self.draining:
            return
        self._changes[node_id] = attached
        if self._flush_s == math.inf:
            self._flush_s = self._now_s + COALESCE_S
            self._wake_by(self._flush_s)

    def _tell_changes(self) -> None:
        self._flush_s = math.inf
        attached = [node_id for node_id, is_attached in self._changes.items() if is_attached]
        gone = [node_id for node_id, is_attached in self._changes.items() if not is_attached]
        self._changes.clear()
        for start in range(0, max(len(attached), len(gone)), MAX_NODES):
            page = slice(start, start + MAX_NODES)
            self._tell_all([f.Roster(0, False, True, attached[page], gone[page])])

    def _list_to(self, node_id: NodeId, token: int) -> None:
        ids = iter(self._nodes)
        left = len(self._nodes)
        while left:
            page = list(islice(ids, MAX_NODES))
            left -= len(page)
            self._say(node_id, [f.Roster(token, True, not left, page, [])])

    def _tell_missing(self) -> None:
        misses, self._misses = self._misses, {}
        for node_id in misses:
            node = self._nodes[node_id]
            gone = [missing for missing in node.missing if missing not in self._nodes]
            node.missing.clear()
            if gone:
                self._say(node_id, [f.Roster(0, False, True, [], gone)])

    def _keep(self) -> None:
        """Send something to those that were sent nothing for long."""
        keeps, nodes = self._keeps, self._nodes
        while keeps and keeps[0][0] <= self._now_s:
            _, life, node_id, node = keeps[0]
            if nodes.get(node_id) is not node or self.draining:
                heapq.heappop(keeps)
                continue
            if node.stale:
                node.stale = False
                self._list_to(node_id, 0)
            elif node.sent_s + _keep_s(node_id) <= self._now_s:
                self._say(node_id, [_NO_CHANGE])
            heapq.heapreplace(keeps, (node.sent_s + _keep_s(node_id), life, node_id, node))

    def _tell_all(self, frames: list[f.Frame]) -> None:
        """The same envelope to every attached node: made once, but for the destination."""
        [header] = encode_envelope(self._envelope(self.forwarder_id, frames))
        before, after = header[:22], header[_ROUTED_BYTES:]
        for node_id, node in self._nodes.items():
            node.sent_s = self._now_s
            self._sends.append((node_id, [before + node_id + after]))

    def _say(self, node_id: NodeId, frames: list[f.Frame]) -> None:
        node = self._nodes.get(node_id)
        if node is not None:
            node.sent_s = self._now_s
        elif len(self._sends) >= self.limits.max_sends:
            return  # a word to a stranger
        self._sends.append((node_id, encode_envelope(self._envelope(node_id, frames))))

    def _envelope(self, destination: NodeId, frames: list[f.Frame]) -> f.Envelope:
        return f.Envelope(self.forwarder_id, destination, 0, 0, 0, 0, frames)

    def _wake_by(self, at_s: float) -> None:
        self.wake_s = min(self.wake_s, at_s)

    def __repr__(self) -> str:
        return f"<Relay {short(self.forwarder_id)} of {self.cluster!r}: {len(self._nodes):,} attached>"


_NO_CHANGE = f.Roster(0, False, True, [], [])


def _keep_s(node_id: NodeId) -> float:
    """The silence after which the node is sent something: not the same for all, lest it be their turn all at once."""
    return (KEEP_S - _GRID_S) * (3 + node_id[-1] / 255) / 4


def _on_grid(at_s: float) -> float:
    """The same or a little later: for a thousand nodes, each with its own time, the shell wakes 20 times a second."""
    return max(at_s, math.ceil(at_s / _GRID_S) * _GRID_S)  # the product may be rounded to less
