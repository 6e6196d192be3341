"""A forwarder's decisions: who is attached, and where each message goes (SPEC.md section 12).

**Promise.** A message that an attached node sends to another attached node goes on once, as it is, in order; nothing
else goes anywhere. What can't go on is counted, and its sender told. Every node learns who is attached, and every part
of the state has a bound (``relay_state.RelayLimits``).

**How.** The ids of sender and receiver stand at fixed places of a header, so neither header nor payloads are decoded,
and parts are never looked at behind the first (of gossip: the second); the shell may pass what it likes there. Only
what is said to the forwarder itself goes through the codec, which a peer can't harm.

**Whether a node is still there** only the shell can find out, by sending to it: so each node is sent something at least
once in ``rosters.KEEP_S``, and all of them when somebody's connection has ended. A node whose program is busy stays
attached, and is so again when its libzmq has replaced a connection that was lost (``returns``).

**Rejected.** Forwarders that know of each other: a node attaches to several, and then a lost one costs nothing, no
message goes in circles, and there is no second membership to keep. Time-outs for silent nodes: a node that holds the
GIL for a minute would lose its place, while its libzmq answers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import GOSSIP_PREFIX, MAX_HEADER_BYTES, decode_envelope
from zmqagents.protocol.ids import ANYONE, NodeId, short
from zmqagents.protocol.listeners import Listeners
from zmqagents.protocol.relay_state import Attached, Detached, News, Refused, RelayCounters, RelayLimits, Stray
from zmqagents.protocol.returns import Returns
from zmqagents.protocol.rosters import Herald, Node

TELL_AGAIN_S = 1.0
"""How often a sender that has not attached is told so."""

_MAX_TOLD = 1_024
_MAX_NEWS = 1_024
_GOSSIP_PARTS = 3

# The header of every envelope: an array of 8 to 15, layout 1, bin 16 (source), bin 16 (destination).
_ARRAYS = range(0x98, 0xA0)
_LAYOUT = b"\x01\xc4\x10"
_BIN_16 = b"\xc4\x10"
_ROUTED_BYTES = 38
_SPOKEN_BYTES = 20

# The body of gossip: an array of at most 15, its kind in one byte, bin 16 (source).
_BODIES = range(0x90, 0xA0)
_KINDS = range(0x80)

_BYE_LEAVES = 0
_UNREADABLE = f.Envelope(ANYONE, ANYONE, 0, 0, 0, 0, [f.Unknown(0)])


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
        self._nodes: dict[NodeId, Node] = {}
        self._herald = Herald(forwarder_id, self._nodes)
        self._sends = self._herald.sends
        self._returns = Returns()
        self._listeners = Listeners(most_each=self.limits.max_listened, most=self.limits.max_listened_in_all)
        self._news: deque[News] = deque(maxlen=_MAX_NEWS)
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
        self._returns.failed(node_id)
        if node_id in self._nodes:
            self._detach(node_id, "its connection has ended")
            if not self.draining and len(self._returns) < self.limits.max_nodes:
                self._returns.lost(node_id, now_s)
                self._wake()

    def unsent(self, node_id: NodeId) -> None:
        """The last message of ``take`` to the node found no connection; ``unreachable`` may follow later."""
        self._returns.failed(node_id)

    def overflowed(self, node_id: NodeId, now_s: float) -> None:
        """Something for the node was dropped, because it reads too slowly: it is told who is attached anew, later."""
        self._now_s = now_s
        node = self._nodes.get(node_id)
        if node is not None:
            node.stale = True

    def disconnected(self, now_s: float) -> None:
        """Some connection has ended: find out whose."""
        self._now_s = now_s
        self._herald.probe(now_s)
        self._wake()

    def drain(self, now_s: float) -> None:
        """Let nobody in any more, and tell all to go their other ways. Relaying goes on. Idempotent."""
        self._now_s = now_s
        if self.draining:
            return
        self.draining = self._herald.silent = True
        last_words: list[f.Frame] = [f.Roster(0, True, True, [], []), f.Bye(_BYE_LEAVES, "this forwarder is ending")]
        self._herald.say_to_all(last_words, now_s)

    def tick(self, now_s: float) -> None:
        """Do what is due. Safe to call early or twice."""
        self._now_s = now_s
        back, away = self._returns.tick(now_s)
        for node_id in back:
            if len(self._nodes) < self.limits.max_nodes and not self.draining:
                self._admit(node_id)
                self._herald.list_to(node_id, 0, now_s)  # ahead of what is relayed to it
        self._herald.try_all(away)
        self._herald.tick(now_s)
        self._wake()

    # -- outputs -----------------------------------------------------------------------------------------------

    def take(self) -> list[tuple[NodeId, list[Any]]]:
        """What is to be sent, in order; the caller has it now."""
        sends = self._sends
        self._sends = self._herald.sends = []
        return sends

    def take_news(self) -> list[News]:
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
            not _SPOKEN_BYTES <= len(body) <= MAX_HEADER_BYTES
            or body[0] not in _BODIES
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

    def _send_on(self, destination: NodeId, target: Node, parts: list[Any]) -> bool:
        if len(self._sends) >= self.limits.max_sends:
            self.counters.dropped["overloaded"] += 1
            return False
        self._sends.append((destination, parts))
        target.sent_s = self._now_s
        self.counters.relayed_bytes += len(parts[0]) if len(parts) == 1 else sum(map(len, parts))
        return True

    def _miss(self, sender: NodeId, destination: NodeId) -> None:
        self.counters.dropped["not attached"] += 1
        self._herald.missed(sender, destination, self._now_s)
        self._wake()

    # -- what is said to the forwarder -------------------------------------------------------------------------

    def _from_outside(self, sender: NodeId, parts: list[Any]) -> None:
        """Somebody who is not attached may attach, and nothing else."""
        try:
            envelope = decode_envelope(parts[:1], max_payload_bytes=0)
        except RemoteProtocolError:
            envelope = _UNREADABLE
        source, destination, frames = envelope.source, envelope.destination, envelope.frames
        if source == sender and destination in (ANYONE, self.forwarder_id) and isinstance(frames[0], f.Attach):
            self._hear(sender, frames)
            return
        if isinstance(frames[0], f.Bye):
            self._returns.forget(sender)
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
            self._herald.list_to(sender, frame.token, self._now_s)

    def _admit(self, sender: NodeId) -> None:
        if sender in self._nodes:
            return
        self._returns.forget(sender)
        node = self._nodes[sender] = Node(self._now_s)
        self._herald.came(sender, node, self._now_s)
        self._wake()
        self._told.pop(sender, None)
        self.counters.attached += 1
        self._news.append(Attached(sender))

    def _refuse(self, sender: NodeId, code: WireCode, text: str) -> None:
        self.counters.refused[code.name] += 1
        self._news.append(Refused(sender, code, text))
        self._returns.forget(sender)
        self._detach(sender, text)
        self._say(sender, [f.Bye(code, text)])

    def _detach(self, node_id: NodeId, reason: str) -> None:
        if self._nodes.pop(node_id, None) is None:
            return
        self._herald.went(node_id, self._now_s)
        self._wake()
        self._listeners.forget(node_id)
        self._news.append(Detached(node_id, reason))

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

    def _say(self, node_id: NodeId, frames: list[f.Frame]) -> None:
        if len(self._sends) < self.limits.max_sends or node_id in self._nodes:
            self._herald.say(node_id, frames, self._now_s)

    def _wake(self) -> None:
        self.wake_s = min(self._herald.wake_s, self._returns.wake_s)

    def __repr__(self) -> str:
        return f"<Relay {short(self.forwarder_id)} of {self.cluster!r}: {len(self._nodes):,} attached>"
