"""The parts of ``protocol.agents``, put together: what a node asks of them, and tells them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.arrivals import Arrivals
from zmqagents.protocol.agents.claims import Claims
from zmqagents.protocol.agents.locations import Locations
from zmqagents.protocol.agents.moves import Moves
from zmqagents.protocol.agents.residents import Residents
from zmqagents.protocol.agents.routes import EventRoutes
from zmqagents.protocol.calls import Adoption
from zmqagents.protocol.directory import HostsChanged
from zmqagents.protocol.events import Origin, Sent
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.protocol.placement import Policy
from zmqagents.protocol.records import Phase
from zmqagents.protocol.state import NodeState

Tell = Callable[[NodeId, f.DataFrame], bool]
"""Sends a data frame to a member; False if it is none."""


class Agency:
    """Agents here and elsewhere, for one node.

    ``tell`` sends a data frame, ``send_event`` an event that is kept until it is done, ``begin_call`` a call.
    """

    def __init__(
        self,
        state: NodeState,
        tell: Tell,
        send_event: Callable[[NodeId, f.Event, Origin | None], bool],
        begin_call: Callable[[NodeId, f.Agent, Adoption], bool],
        finished: Callable[[Origin, int], None],
    ) -> None:
        self._state = state
        self._begin_call = begin_call
        self._now_s = 0.0
        draws = _draws(state.node_id)
        self.residents = Residents()
        self.claims = Claims(state, self.residents, tell)
        self.locations = Locations(state, self.residents, self.claims, lambda: next(draws))
        self.moves = Moves(state, self.residents, self._adopt)
        self.arrivals = Arrivals(state, self.residents, self.locations, self.claims, self.moves, tell)
        self.routes = EventRoutes(state, self.residents, self.locations, send_event, self._event_here, finished)
        self.arrivals.routes = self.routes
        self.claims.evict = self.moves.evict
        self.claims.displaced = self.moves.displaced
        self._on_frame: dict[type[Any], Callable[[NodeId, Any], None]] = {
            f.Census: self.claims.asked,
            f.Claim: self._claimed,
            f.Rival: self.claims.rival,
            f.Yield: self.claims.yielded,
            f.Disclaim: self.claims.disclaimed,
            f.Moved: self._moved,
        }

    def _adopt(self, node_id: NodeId, key: AgentKey, state: bytes, token: Adoption) -> bool:
        frame = f.Agent(self._state.pending.next_id(), f.Operation.ADOPT, key, None, state)
        return self._begin_call(node_id, frame, token)

    def _event_here(self, event: f.Event, origin: Origin | None) -> None:
        self.arrivals.own_event(event, origin, self._now_s)

    def _claimed(self, peer: NodeId, frame: f.Claim) -> None:
        self.claims.claimed(peer, frame, self._now_s)

    def _moved(self, peer: NodeId, frame: f.Moved) -> None:
        """A peer has sent on our events for an agent, and says where to."""
        del peer
        if self._state.membership.get(frame.node) is not None:
            self.locations.learn(frame.agent, frame.node)
        else:
            self.locations.forget(frame.agent)

    # -- what a node tells -------------------------------------------------------------------------------------

    def take(self, peer: NodeId, frame: f.DataFrame, now_s: float) -> None:
        """A frame of the directory of activations came."""
        self._now_s = now_s
        self._on_frame[type(frame)](peer, frame)

    def hosts_changed(self, changes: list[HostsChanged]) -> None:
        """The hosts of agent types have changed."""
        for change in changes:
            policy = self._state.directory.policy(change.agent_type)
            if not isinstance(policy, Policy) or not policy.keyed:
                self.locations.type_changed(change.agent_type)
            self.claims.hosts_changed(change)
            self.arrivals.unsettle(change.agent_type)

    def pins_changed(self, keys: frozenset[AgentKey]) -> None:
        """These agents have been pinned to a node, or are pinned no more."""
        for key in keys:
            self.locations.forget(key)

    def phase_changed(self, old: Phase, new: Phase) -> None:
        """Our own phase has changed: leaving, every agent goes that another node can take."""
        if new is Phase.LEAVING and old is not Phase.LEAVING:
            self.moves.leave()

    def member_gone(self, node_id: NodeId) -> None:
        """A member has left or died."""
        self.locations.node_gone(node_id)
        self.claims.node_gone(node_id)

    def link_lost(self, node_id: NodeId, unfinished: list[Sent]) -> None:
        """The link with a peer was reset; ``unfinished`` are the events that it had not finished."""
        self.claims.link_lost(node_id)
        self.arrivals.link_lost(node_id)
        self.routes.node_lost(node_id, unfinished)

    def tick(self, now_s: float) -> None:
        """Do what time asks for."""
        self._now_s = now_s
        self.arrivals.tick(now_s)
        self.claims.tick(now_s)
        self.moves.tick(now_s)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left here that another node could take over."""
        routes = self.routes
        return not (self.moves.under_way or routes.waiting or routes.forwarded or self.residents.holding)

    def active(self) -> list[AgentKey]:
        """The agents that are active here, of those whose key binds them."""
        return [resident.key for resident in self.residents if resident.is_claimed(self._state.node_id)]


def _draws(seed: bytes) -> Iterator[float]:
    """Numbers from 0 to below 1, different on each node; to balance by, not to keep secrets with."""
    counter = 0
    while True:
        counter += 1
        digest = hashlib.blake2b(counter.to_bytes(8, "big"), key=seed, digest_size=8).digest()
        yield (int.from_bytes(digest, "big") >> 11) / (1 << 53)
