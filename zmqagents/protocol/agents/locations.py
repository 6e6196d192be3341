"""Where this node, as a sender, takes an agent to be (SPEC.md section 8.6).

The first answer for an agent is kept until somebody who knows better corrects it (``learn``), or the node is gone: an
agent stays where it is while hosts come, so a computed home says only where to ask. Messages for types of which any
host will do are balanced each for itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of
from zmqagents.protocol.placement import Balancer, Policy
from zmqagents.protocol.records import HostedType, Phase

if TYPE_CHECKING:
    from zmqagents.protocol.agents.claims import Claims
    from zmqagents.protocol.agents.residents import Residents
    from zmqagents.protocol.state import NodeState

MAX_KNOWN = 200_000  # about 40 MiB; beyond it the table starts anew


class Locations:
    """Answers ``target``; told by the other parts what they learn."""

    def __init__(self, state: NodeState, residents: Residents, claims: Claims, random: Callable[[], float]) -> None:
        self._state = state
        self._directory = state.directory
        self._residents = residents
        self._claims = claims
        self._random = random
        self._balancer = Balancer()
        self._known: dict[AgentKey, NodeId] = {}
        self.version = 0
        """Grows whenever an answer that ``known`` has given no longer holds."""

    def known(self, key: AgentKey) -> NodeId | None:
        """As ``target``, if that has been asked before, or None."""
        return self._known.get(key)

    def target(self, key: AgentKey) -> NodeId | None:
        """The node to send a message for the agent to now, which may be this one; None if nobody hosts its type."""
        return self._known.get(key) or self._find(key)

    def _find(self, key: AgentKey) -> NodeId | None:
        agent_type = agent_type_of(key)
        policy = self._directory.policy(agent_type)
        if isinstance(policy, Policy) and not policy.keyed and self._directory.pinned_at(key) is None:
            return self.balanced(agent_type, policy)
        own = self._state.node_id
        if self._residents.get(key) is not None:
            node: NodeId | None = own
        else:
            node = self._directory.home(key)
            if node == own:
                node = self._claims.entry(key) or own
            elif node is None and self.hosted_while_leaving(key):
                return own
        if node is not None:
            self.learn(key, node)
        return node

    def balanced(self, agent_type: str, policy: Policy) -> NodeId | None:
        """A host for one message of a type whose keys don't bind."""
        own = self._state.node_id
        hosts = self._reachable(self._directory.hosts(agent_type))
        found = self._balancer.choose(policy, agent_type, hosts, own, self._load_of, self._random)
        if found is None and self._state.membership.own.phase is Phase.LEAVING:
            return own if agent_type in self._state.membership.own.types else None
        return found

    def _reachable(self, hosts: Mapping[NodeId, HostedType]) -> Mapping[NodeId, HostedType]:
        """Those that can be reached from here; all of them, if none can."""
        peers = self._state.peers
        out = [node_id for node_id in hosts if (peer := peers.get(node_id)) is not None and peer.unreachable]
        if not out:
            return hosts
        return {node_id: hosted for node_id, hosted in hosts.items() if node_id not in out} or hosts

    def hosted_while_leaving(self, key: AgentKey) -> bool:
        """Whether we leave, and have the agent or host its type: handlers here may need what nobody else has."""
        own = self._state.membership.own
        return own.phase is Phase.LEAVING and (agent_type_of(key) in own.types or key in own.pinned)

    def _load_of(self, node_id: NodeId) -> int:
        state = self._state
        if node_id == state.node_id:
            return len(state.served)
        peer = state.peers.get(node_id)
        return state.pending.unanswered(node_id) + (peer.load if peer is not None else 0)

    # -- what is learned ---------------------------------------------------------------------------------------

    def learn(self, key: AgentKey, node_id: NodeId) -> None:
        """The agent is at that node, or has to be asked for there; of a type whose keys don't bind: ignored."""
        policy = self._directory.policy(agent_type_of(key))
        if isinstance(policy, Policy) and not policy.keyed:
            return
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
            self.version += 1
        if self._known.get(key) != node_id:
            self._known[key] = node_id
            self.version += 1

    def forget(self, key: AgentKey) -> None:
        """Where the agent is, is to be found out anew."""
        if self._known.pop(key, None) is not None:
            self.version += 1

    def node_gone(self, node_id: NodeId) -> None:
        """Nothing is at that node any more."""
        for key in [key for key, where in self._known.items() if where == node_id]:
            self.forget(key)

    def type_changed(self, agent_type: str) -> None:
        """The pins or the policy of a type have changed."""
        prefix = agent_type + "/"
        for key in [key for key in self._known if key.startswith(prefix)]:
            self.forget(key)


MAX_HOPS = 4  # SPEC.md section 8.2


@dataclass(slots=True)
class Itinerary:
    """One call's way to its agent: where to next, and whether an outcome allows another try."""

    locations: Locations
    key: AgentKey
    hops: int = 0
    """Redirections since the last pause."""

    def target(self) -> NodeId | None:
        """Where to send the call now; None if that has to be waited for."""
        return self.locations.target(self.key)

    def moved(self, by: NodeId, to: NodeId | None) -> bool:
        """The node asked says that the agent is elsewhere; False if that has gone round too often: pause."""
        if to is None or to == by:
            self.locations.forget(self.key)
        else:
            self.locations.learn(self.key, to)
        self.hops += 1
        if self.hops < MAX_HOPS:
            return True
        self.hops = 0
        self.locations.forget(self.key)
        return False
