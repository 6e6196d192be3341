"""One node of the protocol: routes inputs to its parts, and owns nothing but them.

Inputs are method calls with the time passed in; what is to be done, or has happened, is appended to ``effects``; the
envelopes to send are fetched with ``transmit``; ``wake_s`` says when to call ``tick``. Nothing here blocks or reads a
clock, so a simulation and a real process run the same code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import GOSSIP_PREFIX, Heartbeat, decode_envelope, decode_gossip, encode_envelope
from zmqagents.protocol.contacts import Contacts
from zmqagents.protocol.departures import Departures
from zmqagents.protocol.effects import Effect, MemberChanged, PeerRefused, Strayed
from zmqagents.protocol.greeting import REFUSALS, Greeter, is_up
from zmqagents.protocol.ids import ANYONE, AgentKey, NodeId, PathId, short
from zmqagents.protocol.listening import Listening
from zmqagents.protocol.lives import Lives
from zmqagents.protocol.membership import Change, MemberChange
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Phase, Record
from zmqagents.protocol.state import NodeLimits, NodeState
from zmqagents.protocol.sync import Sync
from zmqagents.protocol.traffic import Traffic

MAX_CONTROLS = 64  # frames in one envelope of control frames: their records are 64 MiB at most
MAX_DONE = 1_024  # numbers in one EVENT_DONE: its header stays small

_Handler = Callable[[Peer, PathId, f.Envelope, Any, float], None]


class Node:
    """The protocol core of one process. All times are seconds of one monotonic clock."""

    def __init__(self, record: Record, limits: NodeLimits | None = None, *, now_s: float = 0.0) -> None:
        self.node_id = record.node_id
        self.state = NodeState(record, limits or NodeLimits(), now_s)
        self.directory = self.state.directory
        self.membership = self.state.membership
        self.pending = self.state.pending
        self.served = self.state.served
        self._greeter = Greeter(self.state)
        self.traffic = Traffic(self.state, self._reachable, now_s)
        self.agency = self.traffic.agency
        self.call = self.traffic.call
        self.cancel = self.traffic.cancel
        self.answer = self.traffic.answer
        self.deliver = self.traffic.deliver
        self.publish = self.traffic.publish
        self.event_done = self.traffic.event_done
        self.can_send = self.traffic.can_send
        self.can_publish = self.traffic.can_publish
        self.contacts = Contacts(self.state, self._greeter, self._bury)
        self._listening = Listening(self.state, self.contacts)
        self._sync = Sync(self.state, self._listening, self._member_changed, self._doubts_death, now_s)
        self._lives = Lives(self.state, self._bury)
        self._departures = Departures(self.state, self.contacts.forget)
        self._left = False
        self._on_control: dict[type[Any], _Handler] = {
            f.Hello: self._hello,
            f.Welcome: self._welcome,
            f.Ack: self._ack,
            f.Ping: self._ping,
            f.Pong: self._pong,
            f.Bye: self._bye,
            f.SyncPull: self._sync_pull,
            f.SyncPush: self._sync_push,
            f.Probe: self._probe,
            f.Probed: self._probed,
            f.Attach: self._of_a_forwarder,
            f.Roster: self._of_a_forwarder,
            f.Listen: self._of_a_forwarder,
            f.Seek: self._seek,
            f.Unknown: self._ignore,
        }

    def take_effects(self) -> list[Effect]:
        """What is to be done and what has happened since the last call, in order."""
        effects = self.state.effects
        self.state.effects = []
        return effects

    @property
    def has_output(self) -> bool:
        """Whether there is anything to perform, or perhaps to transmit."""
        state = self.state
        return bool(state.effects or state.direct or state.dirty or self.agency.claims.stale)

    @property
    def wake_s(self) -> float:
        """When ``tick`` is due."""
        return self.state.wake_s

    def label(self, node_id: NodeId) -> str:
        """How to name a node to a person."""
        record = self.membership.get(node_id)
        if record is None or not record.instance_id:
            return short(node_id)
        return f"{record.instance_id} ({short(node_id)})"

    # -- our record --------------------------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        """Our record as published."""
        return self.membership.own

    def publish_record(self, record: Record) -> None:
        """Replace our record; its version is counted up, and everybody is told. Of phase LEAVING: agents move away."""
        phase = self.record.phase
        self._sync.publish(record)
        self.agency.phase_changed(phase, record.phase)

    def leave(self) -> None:
        """Tell everybody that we have left, and end the links: the last thing before the sockets close.

        Whatever comes from now on is dropped unread, so that the acknowledgement in each BYE is the last word.
        """
        self.publish_record(replace(self.record, phase=Phase.LEFT))
        self._left = True
        for peer in self.state.peers.values():
            peer.farewell = is_up(peer)
            self.state.dirty[peer.node_id] = None

    def is_synchronised(self) -> bool:
        """Whether everybody that discovery has shown, and who is there, has told us what it knows."""
        return self._sync.has_enough or (
            not self.contacts.unidentified()
            and not self.contacts.attachments.is_awaited()
            and not any(peer.awaited for peer in self.state.peers.values())
        )

    def has_stalled_since(self, since_s: float, now_s: float) -> bool:
        """Whether the program was busy for long since then: that others have told nothing is no fault of theirs."""
        return self.contacts.watch.has_stalled_since(since_s, now_s)

    def unsynchronised(self) -> list[str]:
        """Names of those that ``is_synchronised`` waits for."""
        return [self.label(peer.node_id) for peer in self.state.peers.values() if peer.awaited]

    # -- links -----------------------------------------------------------------------------------------------

    def packed(self, key: AgentKey, state: bytes | None) -> None:
        """The state of an agent that is to move, in answer to Pack; None if it has none to keep."""
        self.agency.moves.packed(key, state)

    @property
    def unfinished_events(self) -> int:
        """Events that this node has sent, or is to send, and whose handlers have not all ended."""
        return self.traffic.unfinished_events

    @property
    def is_busy(self) -> bool:
        """Whether several calls are under way, from here or to here."""
        return len(self.pending.calls) + len(self.served.calls) > 1

    def is_quiet(self) -> bool:
        """Whether everything sent, or about to be, has been acknowledged by those who can be reached."""
        peers = self.state.peers.values()
        return all((peer.link.is_quiet() and not peer.done) or peer.path is None for peer in peers)

    def _reachable(self, node_id: NodeId, now_s: float) -> Peer | None:
        """The peer of a member, to which a path is there or being made; None for who is no member."""
        if node_id == self.node_id or node_id not in self.membership:
            return None
        peer = self.state.peers.get(node_id)
        if peer is not None and peer.link.up and peer.path is not None:
            return peer
        record = self.membership.get(node_id)
        if record is None:
            return None
        peer = self.state.peer(node_id)
        if peer.path is not None:
            if not is_up(peer) and peer.greet_at_s is None:  # it refused us, or has lost the link
                self._greeter.greet(peer, peer.path, now_s)
            return peer
        self.contacts.reach(peer, record.endpoints, now_s)
        return peer

    # -- receiving ---------------------------------------------------------------------------------------------

    def receive(self, path: PathId, parts: Sequence[f.Part], now_s: float) -> None:
        """A multipart message came on ``path``. Whatever is illegal is dropped and told as Strayed."""
        if self._left:
            return
        envelope = None
        try:
            envelope = decode_envelope(parts, max_payload_bytes=self.state.limits.max_payload_bytes)
            if type(path) is bytes and path != envelope.source:
                raise RemoteProtocolError(WireCode.BAD_FIELD, "the source is not the routing id of the connection")
            self._accept(path, envelope, now_s)
        except RemoteProtocolError as error:
            if envelope is None and self.contacts.attachments.owns(path) and parts[:1] == [GOSSIP_PREFIX]:
                self.receive_gossip(parts, now_s, forwarded=True)  # told apart here, at no cost to envelopes
            else:
                self._strayed(path, self.contacts.attachments.author(path, parts), error, now_s)

    def receive_gossip(self, parts: Sequence[f.Part], now_s: float, *, forwarded: bool = False) -> None:
        """A gossip message came, from its author's PUB or by a forwarder. What is illegal is told as Strayed."""
        if self._left:
            return
        try:
            gossip = decode_gossip(parts)
            if gossip is None or gossip.source == self.node_id:
                return
            peer = self.state.peers.get(gossip.source)
            if peer is not None and not forwarded:
                peer.gossip_heard_s = now_s
            if isinstance(gossip, Heartbeat):
                differs = self._sync.heartbeat(gossip, now_s)
                if differs is not None:
                    if differs.path is None:
                        self._reachable(gossip.source, now_s)
                    self._sync.pull(differs, now_s)
            else:
                self._sync.delta(gossip, now_s)
        except RemoteProtocolError as error:
            self.state.counters.strays += 1
            self.state.effects.append(Strayed(None, error.code, f"gossip: {error}"))

    def _accept(self, path: PathId, envelope: f.Envelope, now_s: float) -> None:
        if envelope.destination != self.node_id:
            self._misdirected(path, envelope)
            return
        peer = self.state.peers.get(envelope.source)
        if peer is None:
            peer = self._stranger(path, envelope, now_s)
            if peer is None:
                return
        peer.heard_s = now_s
        if type(path) is bytes:
            peer.accepted = True
        link = peer.link
        was_up = link.up
        if not was_up and envelope.session and not self._is_introduced(peer, envelope):
            return
        fresh = link.receive(envelope, now_s)
        self.state.dirty[peer.node_id] = None
        if not was_up or not link.up or envelope.session > link.peer_session:
            self._see_to_greeting(peer, envelope, now_s, was_up=was_up)
        if envelope.first:
            for number, frame in fresh:
                self.traffic.receive(peer, number, frame, now_s)
            return
        for control in envelope.frames:
            self._on_control[type(control)](peer, path, envelope, control, now_s)

    def _see_to_greeting(self, peer: Peer, envelope: f.Envelope, now_s: float, *, was_up: bool) -> None:
        """An envelope has come that the two sides of the link don't agree about, or that has brought it up."""
        if peer.link.up and not was_up:  # as if a WELCOME had come
            peer.greet_at_s = None
            self._sync.link_up(peer, now_s)
        elif peer.greet_at_s is not None or peer.path is None:
            return  # our HELLO is out, or can't be
        elif not peer.link.up and envelope.first:
            self._greeter.greet(peer, peer.path, now_s, forget=True)  # it believes in a link that we have lost
        elif peer.link.up and not isinstance(envelope.frames[0], (f.Hello, f.Welcome, f.Bye)):
            self._greeter.greet(peer, peer.path, now_s)  # it is in a later session, and its greeting was lost

    def _is_introduced(self, peer: Peer, envelope: f.Envelope) -> bool:
        """Whether its record is known, or comes now. If not, its greeting was lost, and is repeated."""
        greets = isinstance(envelope.frames[0], (f.Hello, f.Welcome, f.Bye))
        return greets or self.membership.get(peer.node_id) is not None

    def _misdirected(self, path: PathId, envelope: f.Envelope) -> None:
        first = envelope.frames[0]
        if isinstance(first, f.Bye):
            return
        if envelope.destination == ANYONE and isinstance(first, f.Ping):
            self._reply_directly(path, envelope.source, f.Pong(first.token))
            return
        if envelope.destination == ANYONE:
            self._reply_directly(path, envelope.source, f.Bye(WireCode.ILLEGAL_NOW, "this is a node, not a forwarder"))
            raise RemoteProtocolError(WireCode.ILLEGAL_NOW, "it takes this node for a forwarder")
        self._reply_directly(path, envelope.source, f.Bye(WireCode.WRONG_NODE, "another process has this endpoint now"))
        raise RemoteProtocolError(WireCode.WRONG_NODE, f"addressed to {short(envelope.destination)}, which is not here")

    def _reply_directly(self, path: PathId, node_id: NodeId, frame: f.ControlFrame) -> None:
        self.state.direct.append((path, encode_envelope(f.Envelope(self.node_id, node_id, 0, 0, 0, 0, [frame]))))

    def _stranger(self, path: PathId, envelope: f.Envelope, now_s: float) -> Peer | None:
        """Who it is that has no link with us: a new peer, the answer of a seed, or one that we have given up."""
        first = envelope.frames[0]
        source = envelope.source
        if self.contacts.attachments.takes(path, envelope, now_s):
            return None
        if isinstance(first, f.Hello):
            return self.state.peer(source)
        if isinstance(first, f.Pong) and not envelope.session:
            self.contacts.identify(first.token, source, now_s)
            return None
        if isinstance(first, f.Bye):
            if first.code == WireCode.WRONG_NODE:
                self.contacts.wrong_node(path, envelope.source, now_s)
            return None
        if self.membership.get(source) is not None or self.membership.is_buried(source):
            peer = self.state.peer(source)
            peer.accepted = type(path) is bytes
            self._greeter.greet(peer, path, now_s, forget=True)
            return None
        raise RemoteProtocolError(WireCode.ILLEGAL_NOW, "a stranger starts with HELLO")

    def _strayed(self, path: PathId, author: NodeId | None, error: RemoteProtocolError, now_s: float) -> None:
        self.state.counters.strays += 1
        peer = self.state.peers.get(path) if isinstance(path, bytes) else self.contacts.peer_of(path)
        if author is not None:
            peer = self.state.peers.get(author)
        stranger = path if isinstance(path, bytes) else None
        self.state.effects.append(Strayed(peer.node_id if peer is not None else stranger, error.code, str(error)))
        if peer is None or error.code is WireCode.WRONG_NODE:
            return
        if is_up(peer):
            self._close_link(peer, error, now_s)
        elif self.membership.get(peer.node_id) is None:
            self.contacts.refused(peer)

    def _close_link(self, peer: Peer, error: RemoteProtocolError, now_s: float) -> None:
        """The numbers of this link can't go on: end it, tell the peer why, and greet anew a little later."""
        if peer.path is not None:
            bye = peer.link.envelope([f.Bye(error.code, str(error)[:1_000])])
            self.state.direct.append((peer.path, encode_envelope(bye)))
        self.state.reset_link(peer)
        self._greeter.greet_later(peer, now_s)

    # -- control frames ----------------------------------------------------------------------------------------

    def _hello(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Hello, now_s: float) -> None:
        self._greeter.check(peer, path, frame)
        self.contacts.greeted(peer, path)
        self._sync.merge_from(peer.node_id, frame.payload, now_s)
        peer = self.state.peer(peer.node_id)
        if self._greeter.hello(peer, path, envelope.session, frame, now_s):
            self._sync.link_up(peer, now_s)

    def _welcome(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Welcome, now_s: float) -> None:
        self.contacts.met(path)
        self._sync.merge_from(peer.node_id, frame.payload, now_s)
        if self._greeter.welcome(peer, path, envelope.session, frame, now_s):
            self._sync.link_up(peer, now_s)

    def _ack(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Ack, now_s: float) -> None:
        del path, now_s
        if envelope.ack_session == peer.link.session:
            peer.link.peer_acks(frame)

    def _ping(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Ping, now_s: float) -> None:
        del envelope, now_s
        pong = encode_envelope(peer.link.envelope([f.Pong(frame.token)]))
        self.state.direct.append((path, pong))

    def _pong(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Pong, now_s: float) -> None:
        if not envelope.session:
            self.contacts.identify(frame.token, peer.node_id, now_s)
        if envelope.ack_session == peer.link.session:
            peer.link.pong(frame, envelope.ack)
            self.contacts.spares.answered(peer, path, now_s)

    def _bye(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Bye, now_s: float) -> None:
        if frame.code == WireCode.WRONG_NODE:
            self.contacts.wrong_node(path, envelope.source, now_s)
            return
        of_another_life = envelope.ack_session not in (0, peer.link.session)
        if (is_up(peer) and envelope.session != peer.link.peer_session) or (frame.code and of_another_life):
            return  # about a life of the link that is over
        if frame.code:
            self.state.effects.append(PeerRefused(peer.node_id, frame.code, frame.text[:1_000]))
        member = self.membership.get(peer.node_id) is not None
        peer.said_bye = frame.code not in REFUSALS  # who refuses us may never have adopted our session
        if frame.code and member:
            self.state.reset_link(peer)
            peer.greet_at_s = None
            if frame.code not in REFUSALS:
                self._greeter.greet_later(peer, now_s)
        elif frame.code:
            self.contacts.refused(peer)
        elif member:
            self._bury(peer.node_id, now_s)
        else:
            self.contacts.forget(peer.node_id)

    def _sync_pull(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.SyncPull, now_s: float) -> None:
        del path, envelope
        self._sync.pulled(peer, frame, now_s)

    def _sync_push(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.SyncPush, now_s: float) -> None:
        del path, envelope
        self._sync.pushed(peer, frame, now_s)

    def _of_a_forwarder(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: Any, now_s: float) -> None:
        """ATTACH, ROSTER and LISTEN are said between a node and a forwarder (SPEC.md section 12), never on a link."""
        del peer, path, envelope, now_s
        raise RemoteProtocolError(WireCode.ILLEGAL_NOW, f"{type(frame).__name__} on a link between nodes")

    def _probe(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Probe, now_s: float) -> None:
        del path, envelope
        self.contacts.watch.suspicions.asked(peer, frame, now_s)

    def _probed(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Probed, now_s: float) -> None:
        del path, envelope
        self.contacts.watch.suspicions.answered(peer, frame, now_s)

    def _seek(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Seek, now_s: float) -> None:
        del path, envelope
        self.contacts.watch.seeking.asked(peer, frame, now_s)

    def _ignore(self, peer: Peer, path: PathId, envelope: f.Envelope, frame: f.Unknown, now_s: float) -> None:
        """An optional frame of a later version."""

    # -- members -----------------------------------------------------------------------------------------------

    def _member_changed(self, change: MemberChange, now_s: float) -> None:
        gone = change.change in (Change.LEFT, Change.DIED)
        previous, record = self._greeter.mate(change.previous), self._greeter.mate(change.record)
        self.state.replace_record(previous, None if gone else record)
        self.state.effects.append(MemberChanged(change))
        self._listening.changed(change, now_s)
        self.contacts.changed(change, now_s)
        self._lives.changed(change, now_s)
        node_id = change.record.node_id
        if gone:
            self.agency.member_gone(node_id)
            self._sync.forget(node_id)
            if change.change is Change.LEFT:
                self._departures.left(node_id, now_s)
            else:
                self.contacts.forget(node_id)
            return
        peer = self.state.peers.get(node_id)
        if peer is not None:
            peer.label = change.record.instance_id or peer.label

    def _doubts_death(self, node_id: NodeId, now_s: float) -> bool:
        """Whether we are connected with a member that others say is dead; if so it is dialled, to be told."""
        if not self.contacts.watch.doubts_death(node_id, now_s):
            return False
        self._reachable(node_id, now_s)
        return True

    def _bury(self, node_id: NodeId, now_s: float) -> None:
        record = self.membership.get(node_id)
        if record is not None:
            self._sync.bury(node_id, record.version, now_s)

    # -- time and output ---------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Do what time asks for. Safe to call early or twice."""
        state = self.state
        state.wake_s = math.inf
        self.traffic.tick(now_s)
        self.contacts.tick(now_s)
        self._sync.tick(now_s)
        self._departures.tick(now_s)
        self._greeter.greet_again(now_s)
        for peer in state.peers.values():
            link = peer.link
            if link.is_at_rest:
                continue
            if link.wants_transmit(now_s):
                state.dirty[peer.node_id] = None
            due_s = link.deadline_s()
            if due_s is not None and due_s > now_s:
                state.wake_by(due_s)

    def transmit(self, now_s: float) -> list[tuple[PathId, list[f.Part]]]:
        """The multipart messages to send now, with their paths, in order."""
        state = self.state
        if self.agency.claims.stale:
            self.agency.claims.review()
        own_version = self.membership.own.version
        messages = state.direct
        state.direct = []
        for node_id in state.dirty:
            peer = state.peers.get(node_id)
            path = peer.path if peer is not None else None
            if peer is None or path is None:
                continue
            link = peer.link
            if link.up and (peer.told_version < own_version or peer.accused_version):
                self._sync.tell_news(peer)
            while peer.controls:
                messages.append((path, encode_envelope(peer.link.envelope(peer.controls[:MAX_CONTROLS]))))
                del peer.controls[:MAX_CONTROLS]
            while peer.done:
                peer.link.send(f.EventDone(peer.done[:MAX_DONE]))
                del peer.done[:MAX_DONE]
            for parts in link.transmit(now_s):
                messages.append((path, parts))
            if peer.farewell:
                peer.farewell = False
                messages.append((path, encode_envelope(peer.link.envelope([f.Bye(0, "left")]))))
            due_s = link.deadline_s()
            if due_s is not None and due_s < state.wake_s:
                state.wake_s = due_s
        state.dirty.clear()
        return messages
