"""How an agent goes to another node (SPEC.md section 8.6): on leaving, on a join if its policy says so, or to give way.

An agent drains first: its handlers end, and events wait. Calls are still served while it drains, because a handler
that runs may wait for one of them; only when handlers have followed on one another for PATIENCE_S do calls wait too.
Then its state is saved and adopted by its home, and whatever waited is sent on, in order. A bounded number of agents
moves at a time: the others go on working until it is their turn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from zmqagents.errors import LocalProtocolError
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.residents import Resident, Residents, Stay
from zmqagents.protocol.calls import Adoption
from zmqagents.protocol.effects import Evicted, Fate, Pack
from zmqagents.protocol.ids import AgentKey, NodeId, is_node_id
from zmqagents.protocol.placement import Policy
from zmqagents.protocol.state import NodeState

PATIENCE_S = 1.0
RETRY_S = 0.25  # after the new home has refused, since it does not know yet that it is
AT_ONCE = 64  # agents that move at the same time: bounds the states in memory


@dataclass(slots=True)
class _Move:
    """One agent on its way."""

    winner: NodeId | None
    """Where it is active already, for which ours gives way; None to move it to its home, with its state."""
    patience_s: float
    """When calls begin to wait too."""
    state: bytes | None = None
    packed: bool = False
    retry_s: float | None = None


class Moves:
    """The moves of one node. ``adopt`` sends an ADOPT call; False if there is no such member any more."""

    def __init__(
        self,
        state: NodeState,
        residents: Residents,
        adopt: Callable[[NodeId, AgentKey, bytes, Adoption], bool],
    ) -> None:
        self._state = state
        self._residents = residents
        self._adopt = adopt
        self._moves: dict[AgentKey, _Move] = {}
        self._queue: deque[AgentKey] = deque()
        self._winners: dict[AgentKey, NodeId] = {}
        """For which activation elsewhere an agent has to give way that is still arriving."""
        self._leaving = False
        self._now_s = 0.0
        """The time of the last tick, which is close enough here."""
        self.release: Callable[[Resident], None] = _unset
        """Serves what an agent held that stays after all."""
        self.redirect: Callable[[Resident, NodeId | None], None] = _unset
        """Ends the resident, and sends on what it held; None if nobody hosts its type."""

    # -- what starts a move ------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Every agent is to go: this node leaves."""
        self._leaving = True
        for resident in self._residents:
            if resident.stay is Stay.ACTIVE and self._has_elsewhere(resident):
                self._queue.append(resident.key)
        self._start_queued()

    def _has_elsewhere(self, resident: Resident) -> bool:
        """Whether another node can take it."""
        home = self._state.directory.home(resident.key)
        return home is not None and home != self._state.node_id

    @property
    def under_way(self) -> bool:
        """Whether agents move, or are to, or are just arriving."""
        return bool(self._moves or self._queue)

    def displaced(self, agent_type: str) -> None:
        """Homes of the type have changed: its agents follow if that is its policy, or if this node leaves."""
        if not self._leaving and self._state.directory.policy(agent_type) is not Policy.REBALANCE:
            return
        for resident in self._residents.of_type(agent_type):
            if resident.stay is Stay.ACTIVE and self._has_elsewhere(resident):
                self._queue.append(resident.key)
        self._start_queued()

    def evict(self, resident: Resident, winner: NodeId) -> None:
        """Another node's activation stays: ours drains and ends, and what it holds goes there."""
        move = self._moves.get(resident.key)
        if move is not None:
            move.winner = winner
            if resident.stay is Stay.PACKED and move.packed:
                self._gone(resident, winner)
        elif resident.stay is Stay.ACTIVE:
            self._start(resident, winner)
        elif resident.stay is Stay.ARRIVING:
            self._winners[resident.key] = winner

    def stays(self, resident: Resident, peer: NodeId) -> None:
        """The agent does not give way to the peer's activation any more, which ends."""
        move = self._moves.get(resident.key)
        if move is not None and move.winner == peer:
            move.winner = None
        if self._winners.get(resident.key) == peer:
            del self._winners[resident.key]

    def arrived(self, resident: Resident) -> None:
        """An agent's state is loaded here: what was asked of it meanwhile begins."""
        winner = self._winners.pop(resident.key, None)
        if winner is not None:
            self._start(resident, winner)
        elif self._leaving and self._has_elsewhere(resident):
            self._queue.append(resident.key)
            self._start_queued()

    def _start_queued(self) -> None:
        while self._queue and len(self._moves) < AT_ONCE:
            resident = self._residents.get(self._queue.popleft())
            if resident is not None and resident.stay is Stay.ACTIVE:
                self._start(resident, None)

    def _start(self, resident: Resident, winner: NodeId | None) -> None:
        resident.become(Stay.DRAINING)
        move = self._moves[resident.key] = _Move(winner, self._now_s + PATIENCE_S)
        self._state.wake_by(move.patience_s)
        self.handler_ended(resident)

    # -- its steps ---------------------------------------------------------------------------------------------

    def serves_calls(self, resident: Resident) -> bool:
        """Whether a draining agent still starts handlers for calls."""
        move = self._moves.get(resident.key)
        return move is not None and resident.running > 0 and self._now_s < move.patience_s

    def handler_ended(self, resident: Resident) -> None:
        """A handler of the agent has ended: go on if that was the last one."""
        if resident.stay is not Stay.DRAINING or resident.running:
            return
        move = self._moves[resident.key]
        resident.become(Stay.PACKED)
        if self._has_won(move):
            self._gone(resident, move.winner)
        else:
            self._state.effects.append(Pack(resident.key))

    def _has_won(self, move: _Move) -> bool:
        """Whether the agent is active elsewhere, on a node that is still there."""
        if move.winner is not None and self._state.membership.get(move.winner) is None:
            move.winner = None
        return move.winner is not None

    def packed(self, key: AgentKey, state: bytes | None) -> None:
        """The state of an agent has been saved; None if it has none to keep."""
        resident = self._residents.get(key)
        move = self._moves.get(key)
        if resident is None or move is None or resident.stay is not Stay.PACKED:
            return
        move.state = state
        move.packed = True
        self._send_off(resident, move)

    def _send_off(self, resident: Resident, move: _Move) -> None:
        move.retry_s = None
        home = self._state.directory.home(resident.key)
        if self._has_won(move):
            self._gone(resident, move.winner)
        elif home is None or home == self._state.node_id:
            self._stay_on(resident)
        elif move.state is None:
            self._gone(resident, home)
        elif self._adopt(home, resident.key, move.state, Adoption(resident.key, home)):
            resident.bound_for = home
        else:
            self._later(move)

    def _later(self, move: _Move) -> None:
        move.retry_s = self._now_s + RETRY_S
        self._state.wake_by(move.retry_s)

    def adoption_ended(self, adoption: Adoption, outcome: f.Reply | f.Error | Fate) -> None:
        """An ADOPT call has ended."""
        resident = self._residents.get(adoption.key)
        move = self._moves.get(adoption.key)
        if resident is None or move is None or resident.bound_for != adoption.to:
            return
        resident.bound_for = None
        if isinstance(outcome, f.Reply):
            self._gone(resident, adoption.to)
        elif isinstance(outcome, f.Error) and outcome.code == f.ErrorCode.MOVED:
            there = outcome.payload if is_node_id(outcome.payload) else adoption.to
            self._gone(resident, there, "it is active there already")
        elif isinstance(outcome, f.Error) and outcome.code != f.ErrorCode.UNDELIVERABLE:
            text = f"{outcome.exception} {outcome.text}".strip()
            self._gone(resident, adoption.to, f"its state could not be loaded there: {text}")
        else:
            self._later(move)

    def _stay_on(self, resident: Resident) -> None:
        """It is its own home again, or nobody else can take it."""
        del self._moves[resident.key]
        resident.become(Stay.ACTIVE)
        self.release(resident)
        self._start_queued()

    def _gone(self, resident: Resident, to: NodeId | None, lost: str = "") -> None:
        """The agent is not here any more; ``lost`` says why its state did not arrive."""
        del self._moves[resident.key]
        self._state.effects.append(Evicted(resident.key, to, lost))
        self.redirect(resident, to)
        self._start_queued()

    # -- time --------------------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Go on where a wait has ended."""
        self._now_s = now_s
        for key, move in list(self._moves.items()):
            resident = self._residents.get(key)
            if resident is None:
                continue
            if move.retry_s is not None:
                if move.retry_s <= now_s:
                    self._send_off(resident, move)
                else:
                    self._state.wake_by(move.retry_s)
            elif resident.stay is Stay.DRAINING and move.patience_s > now_s:
                self._state.wake_by(move.patience_s)


def _unset(*_: object) -> None:
    raise LocalProtocolError("a part of a node was used before the node was put together")
