"""The forwarders that this node is attached to, and whom it reaches by them (SPEC.md section 12).

Promised: a member that some forwarder of ours has attached has a path, and another one at once when that forwarder is
lost and a second one has it; whoever is at a forwarder and unknown is greeted, all of them in a small cluster, a few in
a large one; the gossip of a member whose PUB can't be heard is asked for at one forwarder.

Why a forwarder is no seed and no peer: it has no record and no link, so none of their rules fit. A pair stays with its
forwarder while that works; the choice among several depends on the two node ids alone, so that pairs are spread over
the forwarders and both ends of a pair agree. Rejected: to measure which forwarder is nearer, which would need another
clock and another timer for what a user may say by naming one forwarder alone. Rejected: to believe that a node is
attached because something of it came by the forwarder: it may have died since, and the forwarder would not say so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import encode_envelope
from zmqagents.protocol.dialer import Dial
from zmqagents.protocol.effects import ClosePath, ForwarderGained, ForwarderLost, OpenPath
from zmqagents.protocol.greeting import REFUSALS, Greeter
from zmqagents.protocol.ids import ANYONE, NodeId, PathId
from zmqagents.protocol.liveness import NEVER_UP_AFTER_S
from zmqagents.protocol.overlay import FULL_MESH_MAX
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.state import NodeState

MAX_FORWARDERS = 16  # each gets all our gossip; two or three are what a deployment needs
MAX_ROSTER = 8_192  # the nodes of a table; at one forwarder
ASK_AGAIN_S = 2.0  # ATTACH, as long as there is no answer
ASK_LATER_S = 10.0  # the same after a forwarder has said that it takes us not now: it is full, or going
PING_AFTER_S = 1.5  # of hearing nothing from itself, as it may while it relays to us; else it speaks once a second
SILENT_AFTER_S = 4.0  # a program that hangs while its sockets live relays nothing
MEET_SOME = 8  # strangers greeted at a time in a large cluster: three of them tell enough, and some may be silent
UNTOLD_S = 1.0  # a forwarder tells of a newcomer within 0.1 s (section 12.4), and may be slow, or far
MEET_AGAIN_S = 5.0  # who is still unknown then is not reached by the gossip of those who are known


@dataclass(slots=True, eq=False)
class Attachment:
    """One forwarder that we were told of."""

    endpoint: str
    dial: Dial
    path: int | None = None
    """The number of our DEALER to it; None while another endpoint leads to the same forwarder."""
    forwarder_id: NodeId = b""
    """Who answered there last."""
    attached: bool = False
    """Whether it relays for us, and ``roster`` is what it has told."""
    refused: bool = False
    """Whether it can't serve us at all; kept until the connection is lost, so that it is asked once."""
    roster: set[NodeId] = field(default_factory=set)
    """Who is attached there, without us."""
    page: set[NodeId] = field(default_factory=set)
    """As much of a full listing as has come."""
    relays: set[NodeId] = field(default_factory=set)
    """Whose gossip it was asked for."""
    told: bool = False
    """Whether it knows ``relays``."""
    token: int = 0
    ask_at_s: float = math.inf
    """When it is to be asked again."""
    spoke_s: float = 0.0
    """When anything last came from itself."""
    pinged_s: float = -math.inf


class Attachments:
    """All of them. ``lost`` is called with each peer that no forwarder has any more."""

    def __init__(self, state: NodeState, greeter: Greeter, lost: Callable[[NodeId, float], None]) -> None:
        self._state = state
        self._greeter = greeter
        self._lost = lost
        self._all: dict[str, Attachment] = {}
        self._by_path: dict[int, Attachment] = {}
        self._serving: list[Attachment] = []
        """Those that relay for us, in an order on which all nodes agree."""
        self._wanted: dict[NodeId, None] = {}
        """Members whose gossip we want, from wherever."""
        self._shunned: set[NodeId] = set()
        """Who is at a forwarder, and can't talk with us."""
        self._newcomers: dict[NodeId, float] = {}
        """Who has become a member lately, and when."""
        self._meet_at_s = math.inf
        state.forwarder_of = self.path_to

    def __len__(self) -> int:
        return len(self._all)

    # -- what others ask ---------------------------------------------------------------------------------------

    def owns(self, path: PathId) -> bool:
        """Whether the path leads to a forwarder."""
        return path in self._by_path

    def path_to(self, node_id: NodeId, now: int | None = None) -> int | None:
        """The path to a forwarder that has the node, ``now`` if that is one; None if none has."""
        having = [one for one in self._serving if node_id in one.roster]
        if not having:
            return None
        if any(one.path == now for one in having):
            return now
        return having[(self._state.node_id[-1] ^ node_id[-1]) % len(having)].path

    def evidence(self, node_id: NodeId) -> Dial | None:
        """What the forwarders say about a node, as if they were a connection with it; None if they never had it."""
        peer = self._state.peers.get(node_id)
        if (peer is not None and peer.forwarded is not None) or self.path_to(node_id) is not None:
            return Dial(("",), 0.0, up=True, complete=True)
        if peer is None or peer.unforwarded_s is None:
            return None
        return Dial(("",), peer.unforwarded_s, complete=True)

    def excuses(self, node_id: NodeId, now_s: float) -> bool:
        """Whether a forwarder may be why the node is not reached: by its loss, which says nothing of those behind it.

        Or because it has not told of a newcomer yet, which others may know of already.
        """
        if now_s - self._newcomers.get(node_id, -math.inf) < UNTOLD_S:
            return True
        peer = self._state.peers.get(node_id)
        if peer is None or peer.unforwarded_s is None or peer.said_gone:
            return False
        return now_s - peer.unforwarded_s < NEVER_UP_AFTER_S

    def joined(self, node_id: NodeId, now_s: float) -> None:
        """The node has become a member; a forwarder may be about to say that it has it."""
        if self._all:
            self._newcomers[node_id] = now_s

    def author(self, path: PathId, parts: Sequence[f.Part]) -> NodeId | None:
        """Whose message it is that a forwarder has passed on: of that it has made sure. None on another path."""
        return bytes(parts[0][4:20]) if parts and self.owns(path) else None

    def endpoint_of(self, path: PathId | None) -> str:
        """Where the forwarder of a path is; empty if it leads to none."""
        attachment = self._by_path.get(path) if isinstance(path, int) else None
        return attachment.endpoint if attachment is not None else ""

    def is_awaited(self) -> bool:
        """Whether a forwarder may still tell who is there: any of them while none has, else one that is connected."""
        open_ones = [one for one in self._all.values() if not one.refused and one.path is not None]
        if not self._serving:
            return bool(open_ones)
        return any(one.dial.up and not one.attached for one in open_ones)

    def missing(self) -> list[str]:
        """The endpoints of those that don't relay for us."""
        return [one.endpoint for one in self._all.values() if not one.attached and one.path is not None]

    # -- connections -------------------------------------------------------------------------------------------

    def add(self, endpoint: str, now_s: float) -> None:
        """There is a forwarder at the endpoint, says the user, or the name that the user gave."""
        if endpoint in self._all:
            return
        if len(self._all) >= MAX_FORWARDERS:
            down = [one for one in self._all.values() if not one.dial.up]
            if not down:
                return
            self._hang_up(down[0])
            del self._all[down[0].endpoint]
        attachment = self._all[endpoint] = Attachment(endpoint, Dial((endpoint,), now_s))
        self._dial(attachment)

    def _dial(self, attachment: Attachment) -> None:
        path = attachment.path = self._state.take_path()
        self._by_path[path] = attachment
        self._state.effects.append(OpenPath(path, attachment.endpoint))

    def _hang_up(self, attachment: Attachment) -> None:
        if attachment.path is not None:
            del self._by_path[attachment.path]
            self._state.effects.append(ClosePath(attachment.path))
            attachment.path = None
            attachment.dial.up = False

    def path_up(self, path: int, now_s: float) -> None:
        """The handshake with a forwarder is done."""
        attachment = self._by_path.get(path)
        if attachment is not None:
            attachment.dial.succeeded()
            self._ask(attachment, now_s)

    def path_down(self, path: int, now_s: float) -> None:
        """The connection with a forwarder was lost, or refused; it is being dialled again."""
        attachment = self._by_path.get(path)
        if attachment is not None:
            attachment.dial.lost(now_s)
            attachment.refused = False
            attachment.ask_at_s = math.inf
            self._detach(attachment, "the connection with it was lost", now_s)

    def send_failed(self, path: int) -> None:
        """The queue to a forwarder was full, or its connection is gone. Links find out; LISTEN is told again."""
        attachment = self._by_path.get(path)
        if attachment is not None:
            attachment.told = False

    def restart(self, now_s: float) -> None:
        """This node has been asleep: what it has not heard meanwhile tells nothing."""
        for attachment in self._serving:
            attachment.spoke_s = now_s
        for peer in self._state.peers.values():
            if peer.unforwarded_s is not None:
                peer.unforwarded_s = now_s

    # -- what a forwarder says ---------------------------------------------------------------------------------

    def takes(self, path: PathId, envelope: f.Envelope, now_s: float) -> bool:
        """Take what the forwarder itself says on its path; False if somebody else says it. RemoteProtocolError."""
        attachment = self._by_path.get(path) if isinstance(path, int) else None
        if attachment is None:
            return False
        if attachment.attached and envelope.source != attachment.forwarder_id:
            if isinstance(envelope.frames[0], f.Roster):
                raise RemoteProtocolError(WireCode.ILLEGAL_NOW, "a ROSTER that is not the forwarder's")
            return False
        attachment.spoke_s = now_s
        for frame in envelope.frames:
            if isinstance(frame, f.Roster):
                attachment.forwarder_id = envelope.source
                self._roster(attachment, frame, now_s)
            elif isinstance(frame, f.Bye):
                self._bye(attachment, frame, now_s)
        return True

    def _roster(self, attachment: Attachment, frame: f.Roster, now_s: float) -> None:
        told = set(frame.attached) - {self._state.node_id}
        if not frame.whole:
            if attachment.attached:
                room = MAX_ROSTER - len(attachment.roster)
                gained = set(sorted(told - attachment.roster)[:room])
                self._changed(attachment, gained, attachment.roster.intersection(frame.gone), now_s)
            return
        if len(attachment.page) + len(told) <= MAX_ROSTER:
            attachment.page |= told
        if not frame.last:
            return
        page, attachment.page = attachment.page, set()
        gained, gone = page - attachment.roster, attachment.roster - page
        attachment.roster = page
        if not attachment.attached:
            self._attach(attachment, now_s)
        self._changed(attachment, gained, gone, now_s, said_gone=bool(page))

    def _attach(self, attachment: Attachment, now_s: float) -> None:
        attachment.attached, attachment.told, attachment.ask_at_s = True, False, math.inf
        attachment.refused = False
        older = [one for one in self._serving if one.forwarder_id == attachment.forwarder_id]
        self._serving = sorted([*self._serving, attachment], key=lambda one: one.forwarder_id)
        for one in older:  # its ROUTER has given our routing id to the newer connection
            self._drop(one)
            self._move(one, now_s)
            self._hang_up(one)
        self._tell_paths()
        if not older:
            self._state.effects.append(ForwarderGained(attachment.endpoint))

    def _changed(
        self,
        attachment: Attachment,
        gained: set[NodeId],
        gone: Iterable[NodeId],
        now_s: float,
        *,
        said_gone: bool = True,
    ) -> None:
        """Nodes have come to the forwarder, or gone from it; ``said_gone``: while it stays."""
        attachment.roster |= gained
        attachment.roster -= (gone := set(gone))
        self._shunned -= gone
        peers = self._state.peers
        for node_id in [*sorted(gone), *sorted(gained)]:
            peer = peers.get(node_id)
            if peer is not None:
                self._place(peer, now_s, said_gone=said_gone)
        first = len(gained) == len(attachment.roster)
        if first or len(attachment.roster) < FULL_MESH_MAX:  # in a large cluster others bring a newcomer's news
            self._meet(attachment, gained, now_s)
        self._meet_at_s = min(self._meet_at_s, now_s + MEET_AGAIN_S)

    def _bye(self, attachment: Attachment, frame: f.Bye, now_s: float) -> None:
        """It relays for us no more, or does not begin to."""
        text = frame.text[:1_000] or "it ends"
        if frame.code in REFUSALS:
            attachment.refused = True
        forgotten = frame.code == WireCode.ILLEGAL_NOW and attachment.attached
        attachment.ask_at_s = math.inf if attachment.refused else now_s if forgotten else now_s + ASK_LATER_S
        if attachment.attached:
            self._detach(attachment, text, now_s)
        else:
            self._state.effects.append(ForwarderLost(attachment.endpoint, text))

    def _detach(self, attachment: Attachment, why: str, now_s: float) -> None:
        attachment.page.clear()
        if not attachment.attached:
            return
        self._drop(attachment)
        self._move(attachment, now_s)
        self._tell_paths()
        self._state.effects.append(ForwarderLost(attachment.endpoint, why))

    def _drop(self, attachment: Attachment) -> None:
        attachment.attached = attachment.told = False
        attachment.roster = set()
        attachment.relays.clear()
        self._serving = [one for one in self._serving if one is not attachment]

    def _tell_paths(self) -> None:
        self._state.gossip_paths = tuple(one.path for one in self._serving if one.path is not None)

    # -- the paths of peers ------------------------------------------------------------------------------------

    def _move(self, attachment: Attachment, now_s: float) -> None:
        """Those that were reached by the forwarder are so no more."""
        for peer in list(self._state.peers.values()):
            if peer.forwarded is not None and peer.forwarded == attachment.path:
                self._place(peer, now_s, said_gone=False)

    def _place(self, peer: Peer, now_s: float, *, said_gone: bool) -> None:
        """See which forwarder has the peer now; greet it there if that is its path."""
        old, was = peer.forwarded, peer.path
        peer.forwarded = new = self.path_to(peer.node_id, old)
        if new is not None:
            peer.unforwarded_s = None
        elif old is not None:
            peer.unforwarded_s, peer.said_gone = now_s, said_gone
            self._lost(peer.node_id, now_s)
        if new is not None and peer.path == new != was:
            peer.greet_wait_s = 0.0
            self._greeter.greet(peer, new, now_s)

    def _meet(self, attachment: Attachment, candidates: Iterable[NodeId], now_s: float) -> None:
        """Greet those of the forwarder's nodes that are no members here: with the answer comes what they know."""
        state = self._state
        strangers = [
            node_id
            for node_id in candidates
            if state.membership.get(node_id) is None and node_id not in state.peers and node_id not in self._shunned
        ]
        strangers.sort(key=lambda node_id: int.from_bytes(node_id, "big") ^ int.from_bytes(state.node_id, "big"))
        count = FULL_MESH_MAX if len(attachment.roster) < FULL_MESH_MAX else MEET_SOME
        for node_id in strangers[:count]:
            peer = state.peer(node_id)
            peer.heard_s = now_s
            if peer.forwarded is not None:
                self._greeter.greet(peer, peer.forwarded, now_s)

    def shun(self, node_id: NodeId) -> None:
        """We can't talk with the node: it is not greeted again before it has been away."""
        if self.path_to(node_id) is not None:
            self._shunned.add(node_id)

    # -- gossip ------------------------------------------------------------------------------------------------

    def want(self, node_id: NodeId) -> None:
        """The member's gossip is wanted."""
        self._wanted[node_id] = None

    def unwant(self, node_id: NodeId) -> None:
        """The member's gossip is not wanted any more."""
        self._wanted.pop(node_id, None)

    def relays_gossip_of(self, node_id: NodeId) -> bool:
        """Whether a forwarder was asked for the member's gossip."""
        return any(node_id in one.relays for one in self._serving)

    def listen(self, hears: Callable[[NodeId], bool]) -> None:
        """Ask one forwarder for the gossip of each member that is wanted and that ``hears`` doesn't hold for."""
        if not self._serving:
            return
        asked: dict[int, set[NodeId]] = {one.path: set() for one in self._serving if one.path is not None}
        for node_id in self._wanted:
            if hears(node_id):
                continue
            now = next((one.path for one in self._serving if node_id in one.relays), None)
            path = self.path_to(node_id, now)
            if path is not None:
                asked[path].add(node_id)
        for one in self._serving:
            if one.path is None:
                continue
            wanted = asked[one.path]
            if not one.told:
                self._say(one.path, f.Listen(True, sorted(wanted), []))
            elif wanted != one.relays:
                self._say(one.path, f.Listen(False, sorted(wanted - one.relays), sorted(one.relays - wanted)))
            one.relays, one.told = wanted, True

    # -- time --------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Ask again whom has not answered, give up who is silent, greet whom nobody has told us of."""
        if self._newcomers:
            self._newcomers = {node_id: at_s for node_id, at_s in self._newcomers.items() if now_s - at_s < UNTOLD_S}
        for one in self._all.values():
            if one.path is None:
                if not any(other.forwarder_id == one.forwarder_id for other in self._serving):
                    self._dial(one)
            elif one.attached and now_s - one.spoke_s > SILENT_AFTER_S:
                self._detach(one, f"it has said nothing for {SILENT_AFTER_S:g} s", now_s)
                self._ask(one, now_s)
            elif one.attached and now_s - max(one.spoke_s, one.pinged_s) > PING_AFTER_S:
                one.pinged_s = now_s
                self._say(one.path, f.Ping(0, 0))
            elif one.dial.up and one.ask_at_s <= now_s:
                self._ask(one, now_s)
        if self._meet_at_s <= now_s:
            self._meet_at_s = now_s + MEET_AGAIN_S if self._serving else math.inf
            for one in self._serving:
                self._meet(one, one.roster, now_s)

    def _ask(self, attachment: Attachment, now_s: float) -> None:
        if attachment.path is None:
            return
        own = self._state.membership.own
        attachment.token += 1
        attachment.ask_at_s = now_s + ASK_AGAIN_S
        self._say(attachment.path, f.Attach(*own.protocol, own.cluster, attachment.token))

    def _say(self, path: int, frame: f.ControlFrame) -> None:
        envelope = f.Envelope(self._state.node_id, ANYONE, 0, 0, 0, 0, [frame])
        self._state.direct.append((path, encode_envelope(envelope)))
