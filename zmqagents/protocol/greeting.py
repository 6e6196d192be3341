"""HELLO and WELCOME: how a link comes up, and what keeps it from it (SPEC.md section 4)."""

from __future__ import annotations

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import encode_envelope
from zmqagents.protocol.effects import PeerRefused
from zmqagents.protocol.ids import PathId
from zmqagents.protocol.link import Greeting
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Record
from zmqagents.protocol.state import NodeState

VERSIONS = f.VERSIONS

REFUSALS = (WireCode.VERSION_MISMATCH, WireCode.WRONG_CLUSTER)
"""Why a peer and we can't talk at all: greeting it again is no use before its path is new."""

FEATURES: tuple[str, ...] = ()

GREET_AGAIN_S = 0.5  # a HELLO can only be lost with its path, so this is for a peer that is slow to start reading
GREET_AGAIN_MAX_S = 8.0  # the wait doubles: each HELLO to a busy peer costs a record now, and an answer when it wakes


class Greeter:
    """Sends greetings and reads them."""

    def __init__(self, state: NodeState) -> None:
        self._state = state

    def greet(self, peer: Peer, path: PathId, now_s: float, *, forget: bool = False) -> None:
        """Send HELLO on ``path``; with ``forget``, as one who knows nothing of the peer's session."""
        state = self._state
        known = 0 if forget else peer.link.peer_session
        own = state.membership.own
        hello = f.Hello(*own.protocol, list(FEATURES), own.cluster, known, state.membership.own_encoded)
        peer.link.path_usable()
        state.direct.append((path, encode_envelope(peer.link.envelope([hello]))))
        peer.told_version = own.version
        self.greet_later(peer, now_s)

    def greet_later(self, peer: Peer, now_s: float) -> None:
        """Send HELLO after GREET_AGAIN_S, and twice as late each time on the same path, if there is a path then."""
        peer.greet_wait_s = min(max(2 * peer.greet_wait_s, GREET_AGAIN_S), GREET_AGAIN_MAX_S)
        peer.greet_at_s = now_s + peer.greet_wait_s
        self._state.wake_by(peer.greet_at_s)

    def greet_at_once(self, peer: Peer, now_s: float) -> None:
        """Send HELLO with the next tick, which is now."""
        peer.greet_wait_s, peer.greet_at_s = 0.0, now_s
        self._state.wake_by(now_s)

    def hello(self, peer: Peer, path: PathId, session: int, frame: f.Hello, now_s: float) -> bool:
        """Take a HELLO that has passed ``check`` and answer it on ``path``; whether the link is up now."""
        outcome = peer.link.hello(session, frame.known_session)
        if outcome is Greeting.RESET_FIRST:
            self._state.reset_link(peer)
            outcome = peer.link.hello(session, 0)
        if outcome is Greeting.GREET:
            self.greet(peer, path, now_s, forget=True)
        if outcome is not Greeting.ADOPTED:
            return False
        state = self._state
        own = state.membership.own
        version = min(frame.highest, own.protocol[1])
        welcome = f.Welcome(version, list(FEATURES), own.cluster, peer.link.peer_session, state.membership.own_encoded)
        state.direct.append((path, encode_envelope(peer.link.envelope([welcome]))))
        peer.told_version = own.version
        peer.greet_at_s = None
        return True

    def welcome(self, peer: Peer, path: PathId, session: int, frame: f.Welcome, now_s: float) -> bool:
        """Read a WELCOME that came on ``path``; whether the link is up now."""
        outcome = peer.link.welcome(session, frame.known_session)
        if outcome is Greeting.RESET_FIRST:
            self._state.reset_link(peer)
            self.greet(peer, path, now_s)
            return False
        if outcome is Greeting.ADOPTED:
            peer.greet_at_s = None
        return outcome is Greeting.ADOPTED

    def greet_again(self, now_s: float) -> None:
        """Repeat the HELLOs that have had no answer."""
        for peer in self._state.peers.values():
            if peer.greet_at_s is None:
                continue
            if peer.path is None:
                peer.greet_at_s = None
            elif peer.greet_at_s <= now_s:
                self.greet(peer, peer.path, now_s)
            else:
                self._state.wake_by(peer.greet_at_s)

    def check(self, peer: Peer, path: PathId, frame: f.Hello) -> None:
        """Refuse a HELLO of another cluster, or whose versions don't meet ours. Raises RemoteProtocolError."""
        own = self._state.membership.own
        if frame.cluster != own.cluster:
            self._refuse(
                peer,
                path,
                WireCode.WRONG_CLUSTER,
                f"cluster {own.cluster!r} does not admit cluster {frame.cluster!r:.80}",
            )
        lowest, highest = own.protocol
        if min(frame.highest, highest) < max(frame.lowest, lowest):
            self._refuse(
                peer,
                path,
                WireCode.VERSION_MISMATCH,
                f"protocol versions {lowest} to {highest} here do not meet {frame.lowest} to {frame.highest}"
                " there; upgrade the older side",
            )

    def mate(self, record: Record | None) -> Record | None:
        """The record if a link with its node can come up as far as versions go: else nothing can be sent to it."""
        if record is None:
            return None
        lowest, highest = self._state.membership.own.protocol
        return record if max(record.protocol[0], lowest) <= min(record.protocol[1], highest) else None

    def _refuse(self, peer: Peer, path: PathId, code: WireCode, text: str) -> None:
        bye = peer.link.envelope([f.Bye(code, text)])
        self._state.direct.append((path, encode_envelope(bye)))
        self._state.effects.append(PeerRefused(peer.node_id, code, text))
        raise RemoteProtocolError(code, text)


def is_up(peer: Peer) -> bool:
    """Whether data may flow."""
    return peer.link.up
