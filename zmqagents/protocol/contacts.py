"""How a node reaches others, and what the loss of a connection says (SPEC.md sections 1 and 6.4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from zmqagents.protocol import frames as f
from zmqagents.protocol.attachments import Attachments
from zmqagents.protocol.codec import encode_envelope
from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.effects import ClosePath, OpenPath, Subscribe, Unsubscribe
from zmqagents.protocol.graves import Graves
from zmqagents.protocol.greeting import Greeter
from zmqagents.protocol.ids import ANYONE, NodeId, PathId
from zmqagents.protocol.liveness import GossipDials, is_out_of_reach
from zmqagents.protocol.membership import Change, MemberChange
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Record
from zmqagents.protocol.seeds import Seeds
from zmqagents.protocol.shortcuts import Shortcuts
from zmqagents.protocol.sightings import Sightings
from zmqagents.protocol.spares import Spares
from zmqagents.protocol.state import NodeState
from zmqagents.protocol.watch import Watch

ASK_AGAIN_S = 2.0  # who is at a seed, as long as nobody has said so
UNHEARD_BEATS = 3.5  # heartbeats that a PUB has missed before a forwarder is asked for them: one may be lost or late
MISTAKEN_RETRY_S = 5.0  # endpoints at which other nodes were found: that changes only when a process ends
SILENT_BEATS = 3  # heartbeats that don't come from where a member's PUB should be: another PUB may be there


@dataclass(slots=True)
class _DataDial:
    """A DEALER: to a known peer, or to a seed or a grave, and who is there is not known yet."""

    dial: Dial
    node_id: NodeId | None
    grave: NodeId | None = None
    """Who was buried and is looked for."""
    shortcut: NodeId | None = None
    """Who is reached by a forwarder so far, and is looked for."""
    refused: bool = False
    """Whether a node answered with which we can't talk; kept until the connection is lost, so that it is asked once."""
    asked_s: float = 0.0
    """When whoever is there was last asked who it is."""
    again_s: float | None = None
    """When it is dialled again, if other nodes were found at all its endpoints; its path is closed until then."""

    @property
    def sought(self) -> NodeId | None:
        """Who alone is looked for there; None if it is known who is there, or anybody will do."""
        return self.grave or self.shortcut


class Contacts:
    """The connections of one node. ``bury`` is called with the id of a member that the evidence says is dead."""

    def __init__(self, state: NodeState, greeter: Greeter, bury: Callable[[NodeId, float], None]) -> None:
        self._state = state
        self._greeter = greeter
        self._bury = bury
        self._gossip = GossipDials()
        self._sightings = Sightings(state)
        self._dials: dict[int, _DataDial] = {}
        self._seeds = Seeds()
        self._graves = Graves()
        self.attachments = Attachments(state, greeter, self._forwarder_lost)
        self.shortcuts = Shortcuts(state, self)
        self.spares = Spares(state, greeter, self)
        self.watch = Watch(state, self, bury)
        self._checked_s = 0.0

    # -- discovery ---------------------------------------------------------------------------------------------

    def sighted(self, endpoints: tuple[str, ...], node_id: NodeId | None, now_s: float) -> None:
        """Discovery shows a peer; ``node_id`` is None for a seed, whose endpoints may be anybody's."""
        if not endpoints or node_id == self._state.node_id:
            return
        if node_id is not None:
            if self._state.membership.is_buried(node_id):
                self._close_grave(self._graves.dig(node_id, endpoints, now_s, seen=True))
                self._dial_graves(now_s)
            elif self._sightings.admits(node_id, endpoints, len(self._dials), now_s):
                self.reach(self._state.peer(node_id), endpoints, now_s)
            return
        for endpoint in endpoints:
            if (
                endpoint not in self._seeds
                and endpoint not in self._state.membership.own.endpoints
                and not self._seeds.is_full
            ):
                self._seeds.dialled(endpoint, self._path_to(endpoint) or self._dial((endpoint,), None, now_s))

    def reach(self, peer: Peer, endpoints: tuple[str, ...], now_s: float) -> None:
        """Dial the peer if there is no path to it and none is being dialled."""
        if peer.path is None:
            self.dial(peer, endpoints, now_s)

    def dial(self, peer: Peer, endpoints: tuple[str, ...], now_s: float) -> None:
        """Dial the peer, unless it is being dialled."""
        if peer.dialled is not None or not endpoints:
            return
        if peer.met_by_forwarder:
            self.shortcuts.attempt(peer, now_s)
            return
        for path, entry in self._dials.items():
            sought = entry.sought in (None, peer.node_id)
            if entry.node_id is None and sought and entry.dial.endpoint in endpoints:  # a seed: now we know whose
                self.identify(path, peer.node_id, now_s)
                return
        own = self._state.membership.own.endpoints  # two hosts may both have an address, on bridges of their own
        others = tuple(endpoint for endpoint in endpoints if endpoint not in own)
        peer.dialled = self._dial(others or endpoints, peer.node_id, now_s)
        peer.dialled_up = peer.spared = False

    def _path_to(self, endpoint: str) -> int | None:
        """The path on which the endpoint is being dialled, as one that may lead to anybody."""
        return next(
            (path for path, entry in self._dials.items() if entry.dial.endpoint == endpoint and entry.sought is None),
            None,
        )

    def is_seed(self, endpoints: tuple[str, ...]) -> bool:
        """Whether one of the endpoints was given as a seed."""
        return any(endpoint in self._seeds for endpoint in endpoints)

    def unidentified(self) -> bool:
        """Whether a seed that may be there has not said who it is."""
        return any(
            entry.node_id is None and entry.sought is None and not entry.refused and not entry.dial.refused
            for entry in self._dials.values()
        )

    def identify(self, path: int, node_id: NodeId, now_s: float) -> None:
        """Who was asked on ``path``, as a seed or at a grave, is ``node_id``.

        The answer may come on another path: a ROUTER sends it on the newest of our connections with it.
        """
        entry = self._dials.get(path)
        if entry is None or entry.node_id is not None:
            return
        self._seeds.answered(path, node_id)
        if entry.grave not in (None, node_id):  # another process has the port of the dead
            self._close_grave(self._graves.fill(entry.grave))
            return
        if node_id == self._state.node_id or entry.shortcut not in (None, node_id):
            self.abandon(path, now_s)
            return
        entry.grave = entry.shortcut = None
        self._end_shortcut(node_id)
        peer = self._state.peer(node_id)
        if peer.dialled is not None:  # its ROUTER has given our routing id to the newer connection (ROUTER_HANDOVER)
            self.hang_up(peer.dialled)
        entry.node_id = node_id
        entry.dial.meets()
        peer.dialled, peer.dialled_up = path, entry.dial.up
        peer.spared = False
        peer.greet_wait_s = 0.0
        if entry.dial.up:
            self._greeter.greet(peer, path, now_s)

    def wrong_node(self, path: PathId, source: NodeId, now_s: float) -> None:
        """Another process, ``source``, answered on the path. If the one we dialled was there before, it is gone.

        Unless it is the one that the path leads to by now: then the answer is to what was sent to its predecessor.
        """
        entry = self._dials.get(path) if isinstance(path, int) else None
        if entry is None or entry.node_id is None or entry.node_id == source:
            return
        peer = self._state.peers.get(entry.node_id)
        if peer is not None and peer.met_by_forwarder:  # its endpoints need not hold here
            self.leave_direct(peer, now_s)
            return
        node_id = entry.node_id
        was_there = entry.dial.met or set(entry.dial.endpoints) <= set(self._state.membership.own.endpoints)
        if not was_there:
            self._leave_endpoint(path, entry, now_s)
            if not entry.dial.refused:
                return
        if self._state.membership.get(node_id) is None:
            self.forget(node_id)
        elif was_there:  # or is said to be where we are: its process had our port before
            self._bury(node_id, now_s)
        else:
            self.watch.judge(node_id, now_s)

    def met(self, path: PathId) -> None:
        """The peer itself has answered our greeting on the path."""
        entry = self._dials.get(path) if isinstance(path, int) else None
        if entry is not None:
            entry.dial.meets()

    def _leave_endpoint(self, path: PathId, entry: _DataDial, now_s: float) -> None:
        """Somebody else is there, as where two hosts have one address: dial the next endpoint, or wait."""
        if not isinstance(path, int) or entry.node_id is None:
            return
        self._state.peer(entry.node_id).dialled_up = False
        entry.dial.mistaken(now_s)
        if entry.dial.refused:
            entry.again_s = now_s + MISTAKEN_RETRY_S
            self._state.effects.append(ClosePath(path))
        else:
            self._switch(path, entry)

    def _dial_sighted(self, now_s: float) -> None:
        """Dial those shown by discovery that have waited for it."""
        for node_id, endpoints in self._sightings.due(len(self._dials), now_s):
            self.reach(self._state.peer(node_id), endpoints, now_s)

    def _redial_seeds(self, now_s: float) -> None:
        """Dial again the seeds whose node is gone."""
        if not self._seeds.is_one_due(now_s):
            return
        live = {record.node_id: record.endpoints for record in self._state.membership.live()}
        for endpoint in self._seeds.due(live, now_s):
            self._seeds.dialled(endpoint, self._dial((endpoint,), None, now_s))

    def _dial_graves(self, now_s: float) -> None:
        """Look for members that have died, and may have been cut off only."""
        for node_id in self._graves.expired(now_s):
            self._close_grave(self._graves.fill(node_id))
        for node_id, endpoints in self._graves.due(now_s):
            free = tuple(endpoint for endpoint in endpoints if not self._is_taken(endpoint))
            if free:
                self._graves.dialled(node_id, self._dial(free, None, now_s, grave=node_id), now_s)
            else:  # another process has the port of the dead, and dialling it again would end our connection with that
                self._graves.fill(node_id)

    def _is_taken(self, endpoint: str) -> bool:
        """Whether somebody has answered there, of whom we know, or who has refused us."""
        return any(
            entry.dial.endpoint == endpoint
            and entry.dial.up
            and (entry.refused or (entry.node_id is not None and entry.dial.met))
            for entry in self._dials.values()
        )

    def _close_grave(self, path: int | None) -> None:
        entry = self._dials.get(path) if path is not None else None
        if path is not None and entry is not None and entry.node_id is None:  # else it is the path of a peer by now
            self.hang_up(path)

    def _dial(
        self,
        endpoints: tuple[str, ...],
        node_id: NodeId | None,
        now_s: float,
        *,
        grave: NodeId | None = None,
        shortcut: NodeId | None = None,
    ) -> int:
        path = self._state.take_path()
        entry = self._dials[path] = _DataDial(Dial(endpoints, now_s), node_id, grave, shortcut)
        self._state.effects.append(OpenPath(path, entry.dial.endpoint))
        return path

    def hang_up(self, path: int) -> None:
        """End a dialled path."""
        entry = self._dials.pop(path, None)
        if entry is None:
            return
        if entry.again_s is None:
            self._state.effects.append(ClosePath(path))
        self._graves.path_switched(path, None)
        self._seeds.path_switched(path, None)
        peer = self._state.peers.get(entry.node_id) if entry.node_id is not None else None
        if peer is not None and peer.dialled == path:
            peer.dialled, peer.dialled_up = None, False

    # -- data paths --------------------------------------------------------------------------------------------

    def peer_of(self, path: PathId) -> Peer | None:
        """Whom a dialled path leads to, if that is known."""
        entry = self._dials.get(path) if isinstance(path, int) else None
        return self._state.peers.get(entry.node_id) if entry is not None and entry.node_id is not None else None

    def path_up(self, path: int, now_s: float) -> None:
        """The handshake of a dialled path is done."""
        entry = self._dials.get(path)
        if entry is None:
            self.attachments.path_up(path, now_s)
            return
        entry.dial.succeeded()
        if entry.node_id is None:
            if self._keeps(path, entry, now_s):
                self._ask_who(path, entry, now_s)
            return
        peer = self._state.peer(entry.node_id)
        peer.dialled_up = True
        peer.greet_wait_s = 0.0
        self._greeter.greet(peer, path, now_s)

    def _keeps(self, path: int, entry: _DataDial, now_s: float) -> bool:
        """Whether to go on with a path that leads to nobody known yet: one dial of an endpoint is enough.

        A ROUTER keeps the newest of our connections and ends the others, whose DEALERs come back and end that one, and
        so on, faster than an answer comes from far away. A member's own dial goes before that of a seed, and that
        before those of the dead and of shortcuts.
        """
        there = {number: other for number, other in self._dials.items() if other.dial.endpoint == entry.dial.endpoint}
        if any(other.node_id is not None for other in there.values()):
            self.abandon(path, now_s)
            return False
        kept = min(there, key=lambda number: (there[number].sought is not None, number))
        for number, other in there.items():
            if number == kept:
                continue
            if other.shortcut is not None and there[kept].shortcut is not None:
                self.shortcuts.gives_way(other.shortcut, now_s)
                self.hang_up(number)
            else:
                self.abandon(number, now_s)
        return kept == path

    def path_down(self, path: int, now_s: float) -> None:
        """A dialled path lost its connection; it is being dialled again."""
        entry = self._dials.get(path)
        if entry is None:
            self.attachments.path_down(path, now_s)
            return
        entry.dial.lost(now_s)
        entry.refused = False
        peer = self._state.peers.get(entry.node_id) if entry.node_id is not None else None
        if peer is None or peer.dialled != path or not peer.dialled_up:
            return
        peer.dialled_up = False
        if peer.path is not None:
            self._greeter.greet(peer, peer.path, now_s)

    def path_refused(self, path: int, now_s: float) -> None:
        """A dial was refused: another endpoint of the peer is dialled, or the peer judged."""
        entry = self._dials.get(path)
        self.path_down(path, now_s)
        if entry is None:
            return
        if entry.dial.turned_away():
            entry.dial.tried_s = now_s
            path = self._switch(path, entry)
        if not entry.dial.refused:
            return
        if entry.sought is not None:
            self.abandon(path, now_s)
        if entry.node_id is None:
            return
        if self._state.membership.get(entry.node_id) is not None:
            self.watch.judge(entry.node_id, now_s)
        else:
            self.forget(entry.node_id)

    def _switch(self, path: int, entry: _DataDial) -> int:
        """Give the dial a new socket, for its next endpoint."""
        new = self._state.take_path()
        self._dials[new] = self._dials.pop(path)
        if entry.again_s is None:
            self._state.effects.append(ClosePath(path))
        entry.again_s = None
        self._state.effects.append(OpenPath(new, entry.dial.endpoint))
        self._seeds.path_switched(path, new)
        self._graves.path_switched(path, new)
        self.shortcuts.path_switched(path, new)
        if entry.node_id is not None:
            self._state.peer(entry.node_id).dialled = new
        return new

    def send_failed(self, path: PathId, now_s: float) -> None:
        """The transport took no more on ``path``; what was lost goes again after the next greeting or PING."""
        if isinstance(path, int):
            self.attachments.send_failed(path)
            return
        peer = self._state.peers.get(path)
        if peer is not None:
            was = peer.accepted
            peer.deserted_s = self._checked_s if peer.accepted else peer.deserted_s
            peer.accepted = False
            peer.pinged_s = -math.inf
            self.spares.take_back(peer, now_s)
            if was and (peer.dialled_up or peer.forwarded is not None):
                self._greeter.greet_at_once(peer, now_s)

    def greeted(self, peer: Peer, path: PathId) -> None:
        """The peer has sent HELLO on ``path``. By a forwarder: then its own connection to our ROUTER is not up."""
        if peer.accepted and self.attachments.owns(path):
            peer.accepted = False

    # -- members at forwarders ---------------------------------------------------------------------------------

    def _forwarder_lost(self, node_id: NodeId, now_s: float) -> None:
        """No forwarder has the member any more: what its dials have shown until now is too old to count."""
        for dial in (self._gossip.get(node_id), self.data_dial(node_id)):
            if dial is not None:
                dial.restart(now_s)

    def abandon(self, path: int, now_s: float) -> None:
        """Hang up where who is looked for is not."""
        sought = self._dials[path].shortcut
        if sought is not None:
            self.shortcuts.failed(sought, now_s)
        self.hang_up(path)

    def leave_direct(self, peer: Peer, now_s: float) -> None:
        """End the direct dial to a member that is reached by a forwarder; it is tried again later."""
        was = peer.path
        if peer.dialled is not None:
            self.hang_up(peer.dialled)
        self.shortcuts.failed(peer.node_id, now_s)
        if peer.path is not None and peer.path != was:
            self._greeter.greet(peer, peer.path, now_s)

    def _end_shortcut(self, node_id: NodeId) -> None:
        path = self.shortcuts.drop(node_id)
        if path is not None and self._dials[path].node_id is None and self._dials[path].shortcut is not None:
            self.hang_up(path)

    def dial_shortcut(self, node_id: NodeId, endpoints: tuple[str, ...], now_s: float) -> int:
        """Dial where the member may be; returns the path, which leads to nobody yet."""
        return self._dial(endpoints, None, now_s, shortcut=node_id)

    def data_dial(self, node_id: NodeId) -> Dial | None:
        """Our DEALER to the node, if there is one."""
        peer = self._state.peers.get(node_id)
        entry = self._dials.get(peer.dialled) if peer is not None and peer.dialled is not None else None
        return entry.dial if entry is not None else None

    def _hears(self, node_id: NodeId, now_s: float) -> bool:
        """Whether the member's gossip comes from its own PUB."""
        gossip, peer = self._gossip.get(node_id), self._state.peers.get(node_id)
        if gossip is None or not gossip.up or peer is None:
            return False
        return now_s - peer.gossip_heard_s < UNHEARD_BEATS * self._state.limits.heartbeat_s

    def hears_pub(self, node_id: NodeId) -> bool:
        """Whether the connection with the member's own PUB is up."""
        gossip = self._gossip.get(node_id)
        return gossip is not None and gossip.up

    # -- gossip connections ------------------------------------------------------------------------------------

    def listen_to(self, record: Record, now_s: float) -> None:
        """Subscribe to the member's gossip."""
        self.attachments.want(record.node_id)
        own = self._state.membership.own.gossip_endpoints  # a connection with our own PUB tells of nobody
        endpoints = tuple(endpoint for endpoint in record.gossip_endpoints if endpoint not in own)
        self._swap(*self._gossip.want(record.node_id, endpoints, now_s))

    def stop_listening(self, node_id: NodeId) -> None:
        """Unsubscribe from the member's gossip."""
        self.attachments.unwant(node_id)
        self._swap(self._gossip.drop(node_id), None)

    def gossip_up(self, endpoint: str, now_s: float) -> None:
        """The connection with a member's PUB is complete."""
        for node_id, dial in self._gossip.at(endpoint):
            dial.succeeded()
            self.shortcuts.hurry(node_id, now_s)

    def gossip_down(self, endpoint: str, now_s: float) -> None:
        """The connection with a member's PUB was lost."""
        for node_id, dial in self._gossip.at(endpoint):
            dial.lost(now_s)
            peer = self._state.peers.get(node_id)
            if peer is not None:
                self.spares.take_back(peer, now_s)

    def gossip_refused(self, endpoint: str, now_s: float) -> None:
        """Nobody listens at a member's PUB endpoint."""
        self.gossip_down(endpoint, now_s)
        for node_id, _ in self._gossip.at(endpoint):
            self._swap(*self._gossip.turn(node_id, now_s))
            self.watch.judge(node_id, now_s)

    def _swap(self, old: str | None, new: str | None) -> None:
        if old is not None:
            self._state.effects.append(Unsubscribe(old))
        if new is not None:
            self._state.effects.append(Subscribe(new))

    def dials_to(self, node_id: NodeId) -> list[Dial]:
        """See watch.Dials."""
        gossip, data = self._gossip.get(node_id), self.data_dial(node_id)
        forwarded = self.attachments.evidence(node_id)
        if forwarded is not None:  # its endpoints need not hold here: what was never found there tells nothing
            peer = self._state.peers.get(node_id)
            gossip = gossip if peer is not None and peer.gossip_heard_s > -math.inf else None
            data = data if data is not None and data.complete else None
        return [dial for dial in (gossip, data, forwarded) if dial is not None]

    def excuses(self, node_id: NodeId, now_s: float) -> bool:
        """See watch.Dials."""
        return self.attachments.excuses(node_id, now_s)

    def listens_to(self, node_id: NodeId) -> bool:
        """See watch.Dials."""
        gossip = self._gossip.get(node_id)
        return (gossip is not None and gossip.up) or self.attachments.relays_gossip_of(node_id)

    def restart(self, now_s: float) -> None:
        """See watch.Dials."""
        self._gossip.restart(now_s)
        self.attachments.restart(now_s)
        for entry in self._dials.values():
            entry.dial.restart(now_s)

    # -- time --------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Judge whoever has a connection that is not up, and dial what is due."""
        if not self.watch.tick(now_s):
            return
        self.attachments.tick(now_s)
        self._checked_s = now_s
        self._move_on(now_s)
        self._judge_all(now_s)
        self._ask_again(now_s)
        self._dial_sighted(now_s)
        self._redial_seeds(now_s)
        self._dial_graves(now_s)
        self.shortcuts.tend(now_s)
        self.attachments.listen(lambda node_id: self._hears(node_id, now_s))

    def _ask_who(self, path: int, entry: _DataDial, now_s: float) -> None:
        """Ask whoever is at a seed or a grave to say so."""
        ping = f.Envelope(self._state.node_id, ANYONE, 0, 0, 0, 0, [f.Ping(path, 0)])
        self._state.direct.append((path, encode_envelope(ping)))
        entry.asked_s = now_s

    def _ask_again(self, now_s: float) -> None:
        """The question, or its answer, may have been lost."""
        for path, entry in self._dials.items():
            if entry.node_id is None and entry.dial.up and not entry.refused and entry.asked_s + ASK_AGAIN_S <= now_s:
                self._ask_who(path, entry, now_s)

    def _move_on(self, now_s: float) -> None:
        """Leave endpoints that are silent for others of the same member."""
        for node_id in self._gossip.nodes():
            peer = self._state.peers.get(node_id)
            heard_s = peer.gossip_heard_s if peer is not None else -math.inf
            silent_after_s = SILENT_BEATS * self._state.limits.heartbeat_s
            self._swap(*self._gossip.move_on(node_id, heard_s, silent_after_s, now_s))
        for path, entry in list(self._dials.items()):
            if entry.again_s is not None:
                if entry.again_s <= now_s:
                    self._switch(path, entry)
            elif entry.dial.is_overdue(now_s):
                entry.dial.move(now_s)
                self._switch(path, entry)

    def _judge_all(self, now_s: float) -> None:
        for node_id in self._gossip.nodes():
            gossip = self._gossip.get(node_id)
            if gossip is not None and not gossip.up:
                self.watch.judge(node_id, now_s)
                self.watch.seeking.seek(node_id, gossip, now_s)
        for entry in list(self._dials.values()):
            if entry.node_id is not None and not entry.dial.up:
                self._judge_data(entry.node_id, entry.dial, now_s)
                self.watch.seeking.seek(entry.node_id, entry.dial, now_s)
        for peer in list(self._state.peers.values()):
            if peer.unforwarded_s is not None:
                self.watch.judge(peer.node_id, now_s)
            self.watch.tend(peer, now_s)
            self.spares.tend(peer, now_s)

    def _judge_data(self, node_id: NodeId, dial: Dial, now_s: float) -> None:
        if self._state.membership.get(node_id) is not None:
            self.watch.judge(node_id, now_s)
        elif is_out_of_reach([dial], 0.0, now_s):
            self.forget(node_id)

    # -- ends --------------------------------------------------------------------------------------------------

    def changed(self, change: MemberChange, now_s: float) -> None:
        """A member joined, changed or is gone: one that has died is looked for during some time."""
        record = change.record
        if change.change is Change.DIED:
            self._close_grave(self._graves.dig(record.node_id, record.endpoints, now_s))
            return
        self._close_grave(self._graves.fill(record.node_id))
        if change.change is Change.JOINED:
            self.attachments.joined(record.node_id, now_s)

    def refused(self, peer: Peer) -> None:
        """We can't talk with the peer, who is no member. It is not greeted again before its path is new."""
        self.attachments.shun(peer.node_id)
        path = peer.dialled
        if path is not None and self._seeds.are_dialled_on(path):
            entry = self._dials[path]
            entry.node_id, entry.refused = None, True
            peer.dialled, peer.dialled_up = None, False
        self.forget(peer.node_id)

    def forget(self, node_id: NodeId) -> None:
        """End everything that concerns the node: connections, link, calls, suspicions."""
        self.watch.suspicions.forget(node_id)
        self.spares.forget(node_id)
        self.attachments.unwant(node_id)
        self._end_shortcut(node_id)
        self._swap(self._gossip.drop(node_id), None)
        peer = self._state.peers.get(node_id)
        if peer is None:
            return
        if peer.dialled is not None:
            self.hang_up(peer.dialled)
        self._state.reset_link(peer)
        del self._state.peers[node_id]
        self._state.dirty.pop(node_id, None)
