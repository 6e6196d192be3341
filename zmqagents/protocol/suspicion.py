"""Whether a member that is out of reach from here is dead: others are asked (SPEC.md section 6.4).

This is SWIM's indirect probe (Das, Gupta, Motivala 2002). A member that the evidence of our own connections speaks
against is suspected; up to three other members are asked whether they have a connection with it. If none has, it is
buried: marked dead, which it can refute. If one has, the fault lies between the two of us: it stays a member that is
unreachable from here. Its link is reset, so that no call waits for a connection that may never come, and others are
asked again and again until it is reachable or nobody supports it any more.

Promised: a suspicion ends, within PROBE_WAIT_S of the last question, in support or burial; each suspicion resets a
link once. Rejected: SWIM's wait between suspicion and death, for here a lost connection is the cause, not a datagram
that got no answer, and a dead mark can be refuted anyway. Rejected: to answer for others from what the gossip says;
only who has a connection with a member at that moment vouches for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from zmqagents.protocol import frames as f
from zmqagents.protocol.greeting import is_up
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.state import NodeState

HELPERS = 3  # SWIM's k: that three nodes all fail to reach a living one is rare, and probes stay few
PROBE_WAIT_S = 0.4  # for an answer: the helper takes up to ANSWER_WITHIN_S, the rest is two ways on a LAN
ANSWER_WITHIN_S = 0.3
POLL_S = 0.05  # how often open questions are looked at
QUICK_ROUNDS = 3  # a helper that has not noticed a death yet supports the dead: it is asked again soon
QUICK_S = 0.2
SLOW_S = 1.0  # then the wait doubles
SLOWEST_S = 8.0
MAX_QUESTIONS = 256  # that wait for their answers here; any more is answered at once, with what is known
HELPER_HEARD_S = 3.0  # three heartbeats: who was heard within them will answer
_NO_TIME_S = float("inf")


class Evidence(Protocol):
    """What the connections of this node tell."""

    def is_out_of_reach(self, node_id: NodeId, now_s: float) -> bool:
        """Whether the evidence speaks against the member."""

    def reaches(self, node_id: NodeId, now_s: float) -> bool | None:
        """Whether there is a connection with the member; None if that will show in a moment."""

    def has_stalled(self, now_s: float) -> bool:
        """Whether this node has been asleep, and has not taken that into account yet."""


@dataclass(slots=True)
class _Suspicion:
    """One member that is out of reach, and the round of questions about it."""

    token: int = 0
    rounds: int = 0
    unasked: set[NodeId] = field(default_factory=set)
    """Helpers of this round with whom the link is not up yet."""
    unanswered: set[NodeId] = field(default_factory=set)
    """All helpers of this round that have not answered."""
    ends_s: float = _NO_TIME_S
    """When the round ends without support."""
    again_s: float = _NO_TIME_S
    """When the next round begins; a round or this is always under way."""
    supported: bool = False


@dataclass(frozen=True, slots=True)
class _Question:
    """What another node has asked us, and we can't answer yet."""

    asker: NodeId
    token: int
    node_id: NodeId
    until_s: float


class Suspicions:
    """The members that are suspected here; and the answers to those who suspect others."""

    def __init__(
        self,
        state: NodeState,
        evidence: Evidence,
        reach: Callable[[Peer, tuple[str, ...], float], None],
        bury: Callable[[NodeId, float], None],
    ) -> None:
        """``reach`` is called to dial a peer, ``bury`` for a member that is dead."""
        self._state = state
        self._evidence = evidence
        self._reach = reach
        self._bury = bury
        self._suspects: dict[NodeId, _Suspicion] = {}
        self._questions: list[_Question] = []
        self._token = int.from_bytes(state.node_id[-2:], "big")  # so that not every node asks the same three

    def __contains__(self, node_id: object) -> bool:
        return node_id in self._suspects

    # -- suspecting --------------------------------------------------------------------------------------------

    def accuse(self, node_id: NodeId, now_s: float) -> None:
        """The evidence speaks against the member."""
        if node_id not in self._suspects:
            suspicion = self._suspects[node_id] = _Suspicion()
            self._ask(node_id, suspicion, now_s)

    def forget(self, node_id: NodeId) -> None:
        """The node is gone, or within reach again."""
        self._suspects.pop(node_id, None)
        peer = self._state.peers.get(node_id)
        if peer is not None:
            peer.unreachable = False

    def answered(self, peer: Peer, frame: f.Probed, now_s: float) -> None:
        """A PROBED came."""
        suspicion = self._suspects.get(frame.node)
        if suspicion is None or frame.token != suspicion.token or peer.node_id not in suspicion.unanswered:
            return
        if self._evidence.has_stalled(now_s):
            return
        if frame.connected:
            self._supported(frame.node, suspicion, now_s)
            return
        suspicion.unanswered.discard(peer.node_id)
        if not suspicion.unanswered:
            self._bury(frame.node, now_s)

    def tick(self, now_s: float) -> None:
        """Ask, answer, and judge what time has come for."""
        for node_id, suspicion in list(self._suspects.items()):
            if self._state.membership.get(node_id) is None or not self._evidence.is_out_of_reach(node_id, now_s):
                self.forget(node_id)
            elif suspicion.ends_s <= now_s:
                self._bury(node_id, now_s)
            elif suspicion.again_s <= now_s:
                self._ask(node_id, suspicion, now_s)
            else:
                self._send(node_id, suspicion)
        for suspicion in self._suspects.values():
            due_s = min(suspicion.ends_s, suspicion.again_s)
            self._state.wake_by(min(due_s, now_s + POLL_S) if suspicion.unasked else due_s)
        self._answer_questions(now_s)

    def _ask(self, node_id: NodeId, suspicion: _Suspicion, now_s: float) -> None:
        """Begin a round."""
        self._token += 1
        suspicion.token = self._token
        suspicion.rounds += 1
        helpers = self.helpers(node_id, now_s)
        if not helpers:
            self._bury(node_id, now_s)
            return
        suspicion.unanswered = {helper.node_id for helper in helpers}
        suspicion.unasked = set(suspicion.unanswered)
        suspicion.ends_s, suspicion.again_s = now_s + PROBE_WAIT_S, _NO_TIME_S
        for helper in helpers:
            record = self._state.membership.get(helper.node_id)
            if record is not None and not is_up(helper):
                self._reach(helper, record.endpoints, now_s)
        self._send(node_id, suspicion)
        self._state.wake_by(now_s + POLL_S if suspicion.unasked else suspicion.ends_s)

    def _send(self, node_id: NodeId, suspicion: _Suspicion) -> None:
        for helper_id in sorted(suspicion.unasked):
            peer = self._state.peers.get(helper_id)
            if peer is not None and is_up(peer) and peer.path is not None:
                suspicion.unasked.discard(helper_id)
                self._state.control(peer, f.Probe(suspicion.token, node_id))

    def helpers(self, suspect: NodeId, now_s: float) -> list[Peer]:
        """Whom to ask: members with whom a link is up and who were heard lately first, others in each round."""
        state = self._state
        able = [
            peer
            for node_id, peer in sorted(state.peers.items())
            if node_id != suspect
            and node_id not in self._suspects
            and state.membership.get(node_id) is not None
            and (peer.path is not None or self._evidence.reaches(node_id, now_s))
        ]
        if not able:
            return []
        turn = self._token * HELPERS % len(able)
        turned = able[turn:] + able[:turn]
        turned.sort(key=lambda peer: (not is_up(peer), now_s - peer.heard_s >= HELPER_HEARD_S))
        return turned[:HELPERS]

    def _supported(self, node_id: NodeId, suspicion: _Suspicion, now_s: float) -> None:
        """Somebody has a connection with the member: it is alive, or its death has not shown there yet."""
        suspicion.unanswered.clear()
        suspicion.unasked.clear()
        quick = suspicion.rounds <= QUICK_ROUNDS
        wait_s = QUICK_S if quick else min(SLOW_S * 2.0 ** (suspicion.rounds - QUICK_ROUNDS - 1), SLOWEST_S)
        suspicion.ends_s, suspicion.again_s = _NO_TIME_S, now_s + wait_s
        self._state.wake_by(suspicion.again_s)
        if suspicion.supported:
            return
        suspicion.supported = True
        peer = self._state.peers.get(node_id)
        if peer is not None:
            peer.unreachable = True
            self._state.reset_link(peer)

    # -- answering ---------------------------------------------------------------------------------------------

    def asked(self, peer: Peer, frame: f.Probe, now_s: float) -> None:
        """A PROBE came: it is answered now, or within ANSWER_WITHIN_S if the connection has to be tried."""
        known = self._known(frame.node, now_s)
        if known is None and len(self._questions) < MAX_QUESTIONS:
            self._questions.append(_Question(peer.node_id, frame.token, frame.node, now_s + ANSWER_WITHIN_S))
            self._state.wake_by(now_s + POLL_S)
        else:
            self._state.control(peer, f.Probed(frame.token, frame.node, bool(known)))

    def _known(self, node_id: NodeId, now_s: float) -> bool | None:
        state = self._state
        if node_id == state.node_id:
            return True
        record = state.membership.get(node_id)
        if record is None:
            return False
        known = self._evidence.reaches(node_id, now_s)
        if known is None:
            self._reach(state.peer(node_id), record.endpoints, now_s)
        return known

    def _answer_questions(self, now_s: float) -> None:
        waiting: list[_Question] = []
        for question in self._questions:
            known = self._known(question.node_id, now_s)
            if known is None and question.until_s > now_s:
                waiting.append(question)
                continue
            peer = self._state.peers.get(question.asker)
            if peer is not None:
                self._state.control(peer, f.Probed(question.token, question.node_id, bool(known)))
        self._questions = waiting
        if waiting:
            self._state.wake_by(now_s + POLL_S)
