"""The directory of activations: where the agents are active whose home this node is (SPEC.md section 8.6).

Promised: while the hosts of a type agree on who they are, each agent of it is active on one node. The home of an agent
is the only node that activates it, and only once every other node that may have it has told what it has (a *census*).
An agent that is active elsewhere than at its home is *claimed* there, so that two activations, which a partition
makes, are found as soon as it heals: the one on the lowest node id stays.

A census is taken when a message for an unknown agent comes, and not on every change of the hosts, so that types at
rest cost nothing. It holds until this node may have become the home of more agents: hosts that come only take some
away, and are asked themselves; when one goes, everybody is asked anew. Rejected: gossiping activations, which costs
every node memory for every agent; a replicated table with a leader, which costs a round of agreement for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from zmqagents.errors import LocalProtocolError
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.residents import Resident, Residents
from zmqagents.protocol.bounds import MAX_AGENTS
from zmqagents.protocol.directory import HostsChanged
from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of
from zmqagents.protocol.placement import rendezvous_score
from zmqagents.protocol.state import NodeState

CENSUS_TIMEOUT_S = 5.0  # a claimant that is silent for so long is busy or cut off; calls wait no longer for it
ASK_AGAIN_S = 0.25  # after a link was lost with the question or its answer
RIVAL_AGAIN_S = 1.0  # until the activation that gives way is gone
MAX_ENTRIES = 1_000_000  # about 200 MiB; beyond it claims are counted and forgotten
MAX_CONTESTED = 10_000
MAX_GONE = 4_096  # nodes that are remembered as gone: as many as tombstones
CLAIM_BYTES = 1 << 16  # of agent ids in one CLAIM: its header stays far below 1 MiB

Send = Callable[[NodeId, f.DataFrame], bool]
"""Sends a data frame to a member; False if it is none."""


@dataclass(slots=True)
class _Census:
    """Who has told what it has of one type."""

    heard: set[NodeId] = field(default_factory=set)
    asked: dict[NodeId, int] = field(default_factory=dict)
    """The token of the question to each."""
    since_s: float | None = None
    """When the question was first asked that is still open."""
    ask_at_s: float = 0.0


class Claims:
    """What this node knows as a home, and what it tells the homes of its own agents.

    ``evict`` is called with an agent of ours that has to give way to its activation on another node, ``known`` with a
    type whose census is complete.
    """

    def __init__(self, state: NodeState, residents: Residents, send: Send) -> None:
        self._state = state
        self._directory = state.directory
        self._residents = residents
        self._send = send
        self._entries: dict[AgentKey, NodeId] = {}
        self._contested: dict[AgentKey, set[NodeId]] = {}
        """Whose activation has to end, because there is one on a lower node id: that of the entry, or our own."""
        self._censuses: dict[str, _Census] = {}
        self._open: dict[str, None] = {}
        self.stale: dict[str, None] = {}
        self._gone: dict[NodeId, None] = {}
        self._contests_at_s = 0.0
        self._last_token = 0
        self.evict: Callable[[Resident, NodeId], None] = _unset
        self.known: Callable[[str], None] = _unset
        self.displaced: Callable[[str], None] = _unset
        """Called with a type whose homes have changed, to move what is to follow them."""
        self.forgotten = 0
        """Claims that MAX_ENTRIES made us forget."""

    # -- entries -----------------------------------------------------------------------------------------------

    def entry(self, key: AgentKey) -> NodeId | None:
        """Where the agent is active, as far as has been claimed."""
        return self._entries.get(key)

    def arrives(self, resident: Resident, peer: NodeId) -> None:
        """The peer has sent the agent here, with its state. Whoever else has claimed it has a rival now."""
        known = {self._entries.pop(resident.key, peer), *self._contested.pop(resident.key, ())}
        for other in sorted(known - {peer, self._state.node_id}):
            self._clash(resident, other)

    def stays(self, key: AgentKey, peer: NodeId) -> None:
        """The agent stays here, and the peer's activation ends."""
        for node_id in (peer, self._state.node_id):
            self._gave_way(key, node_id)
            if self._entries.get(key) == node_id:
                del self._entries[key]

    def node_gone(self, node_id: NodeId) -> None:
        """Nothing is active on that node any more; or so it seems: if it comes back, it is asked."""
        self._ask_when_back(node_id)
        for resident in self._residents:
            if resident.told == node_id:
                resident.told = None
        for key in [key for key, losers in self._contested.items() if node_id in losers]:
            self._gave_way(key, node_id)
        for key in [key for key, where in self._entries.items() if where == node_id]:
            self._promote(key)
        for agent_type, census in self._censuses.items():
            census.heard.discard(node_id)
            if census.asked.pop(node_id, None) is not None:
                self._ask_soon(agent_type, census)

    def _ask_when_back(self, node_id: NodeId) -> None:
        self._gone[node_id] = None
        if len(self._gone) > MAX_GONE:
            del self._gone[next(iter(self._gone))]

    def link_lost(self, node_id: NodeId) -> None:
        """What was asked of the node, or told it, may not have arrived."""
        for agent_type, census in self._censuses.items():
            if census.asked.pop(node_id, None) is not None:
                self._ask_soon(agent_type, census)
        for resident in self._residents:
            if resident.told == node_id:
                resident.told = None
                self.stale[agent_type_of(resident.key)] = None

    def hosts_changed(self, change: HostsChanged) -> None:
        """The hosts of a type have changed: we may be the home of more of its agents, and others of ours."""
        census = self._censuses.get(change.agent_type)
        if census is not None:
            if change.lost or self._state.node_id in change.gained:
                census.heard.clear()
                census.asked.clear()
            else:
                census.heard.difference_update(change.gained)
                for node_id in change.gained:
                    census.asked.pop(node_id, None)
            self._ask_soon(change.agent_type, census)
        if change.agent_type in self._residents.types:
            self.stale[change.agent_type] = None
        if not self._gone.keys().isdisjoint(change.gained):
            self._open[change.agent_type] = None  # what was two clusters is one again: look for rivals now
            self._ask_soon(change.agent_type, self._censuses.setdefault(change.agent_type, _Census()))

    def _ask_soon(self, agent_type: str, census: _Census) -> None:
        if agent_type in self._open:
            census.ask_at_s = 0.0
            self._state.wake_by(0.0)

    # -- census ------------------------------------------------------------------------------------------------

    def is_known(self, agent_type: str, now_s: float) -> bool:
        """Whether all who may have agents of the type have told; if not, they are asked, and ``known`` follows."""
        census = self._censuses.get(agent_type)
        if census is None:
            census = self._censuses[agent_type] = _Census()
        missing = self._missing(agent_type, census)
        if not missing:
            census.since_s = None
            return True
        if census.since_s is None:
            census.since_s = now_s
        elif now_s - census.since_s >= CENSUS_TIMEOUT_S:
            census.heard.update(missing)  # whatever they have will be claimed when they are back
            census.since_s = None
            return True
        self._open[agent_type] = None
        self._ask(agent_type, census, missing, now_s)
        return False

    def _missing(self, agent_type: str, census: _Census) -> list[NodeId]:
        own = self._state.node_id
        heard = census.heard
        return [node for node in self._directory.claimants(agent_type) if node != own and node not in heard]

    def _ask(self, agent_type: str, census: _Census, missing: Iterable[NodeId], now_s: float) -> None:
        view = self._directory.view(agent_type)
        for node_id in missing:
            if node_id in census.asked:
                continue
            self._last_token += 1
            if self._send(node_id, f.Census(self._last_token, agent_type, view)):
                census.asked[node_id] = self._last_token
        census.ask_at_s = now_s + ASK_AGAIN_S
        self._state.wake_by(census.ask_at_s)

    def tick(self, now_s: float) -> None:
        """Ask again where a question was lost, and end what has waited too long."""
        if self._contested:
            self._settle_contests(now_s)
        for agent_type in list(self._open):
            census = self._censuses[agent_type]
            if census.ask_at_s > now_s:
                self._state.wake_by(census.ask_at_s)
            elif self.is_known(agent_type, now_s):
                self._finish(agent_type)

    def _finish(self, agent_type: str) -> None:
        self._open.pop(agent_type, None)
        self.known(agent_type)

    def asked(self, peer: NodeId, frame: f.Census) -> None:
        """Answer a CENSUS: with the agents of the type that are active here and whose home the peer is.

        If the peer sees other hosts than we do, with all that it may take to be its own.
        """
        same_view = frame.view == self._directory.view(frame.agent_type)
        keys = []
        for resident in self._residents.of_type(frame.agent_type):
            if not resident.is_claimed(peer):
                continue
            home = self._directory.home(resident.key)
            if home == peer or (not same_view and self._outranks_us(peer, resident.key)):
                keys.append(resident.key)
                if home == peer:
                    resident.told = peer
        chunks = _chunks(keys)
        for index, chunk in enumerate(chunks):
            self._send(peer, f.Claim(frame.token, index == len(chunks) - 1, chunk))

    def _outranks_us(self, peer: NodeId, key: AgentKey) -> bool:
        hosts = self._directory.hosts(agent_type_of(key))
        own = self._state.node_id
        if peer not in hosts or own not in hosts:
            return True
        return rendezvous_score(peer, key, hosts[peer].weight) >= rendezvous_score(own, key, hosts[own].weight)

    # -- claims ------------------------------------------------------------------------------------------------

    def claimed(self, peer: NodeId, frame: f.Claim, now_s: float) -> None:
        """Take a CLAIM; not of who is no member, and is asked when it is one again."""
        if self._state.membership.get(peer) is None:
            self._ask_when_back(peer)  # it does not tell again what it has told
            return
        for key in frame.agents:
            self._claimed(peer, key)
        if not frame.token or not frame.last:
            return
        for agent_type, census in self._censuses.items():
            if census.asked.get(peer) == frame.token:
                del census.asked[peer]
                census.heard.add(peer)
                if agent_type in self._open and self.is_known(agent_type, now_s):
                    self._finish(agent_type)
                return

    def _claimed(self, peer: NodeId, key: AgentKey) -> None:
        resident = self._residents.get(key)
        if resident is not None and resident.bound_for == peer:
            return  # its state has arrived there
        if resident is not None and resident.is_claimed(peer):
            self._clash(resident, peer)
            return
        other = self._entries.get(key)
        if other is None or other == peer:
            if len(self._entries) < MAX_ENTRIES:
                self._entries[key] = peer
            else:
                self.forgotten += 1
            return
        winner, loser = min(other, peer), max(other, peer)
        self._entries[key] = winner
        self._contest(key, loser)
        self._send(winner, f.Rival(key, loser))

    def _clash(self, resident: Resident, other: NodeId) -> None:
        """The agent is active here and on another node: the lower node id keeps it.

        Ours gives way only when the other confirms by YIELD that it is there: it may have moved on since it claimed it.
        """
        if self._state.node_id < other:
            self._contest(resident.key, other)
            self._send(other, f.Yield(resident.key))
        else:
            known = self._entries.get(resident.key, other)
            winner, loser = min(known, other), max(known, other)
            self._entries[resident.key] = winner
            if loser != winner:
                self._contest(resident.key, loser)
                self._send(winner, f.Rival(resident.key, loser))
            self._contest(resident.key, self._state.node_id)
            self._send(winner, f.Rival(resident.key, self._state.node_id))

    def _contest(self, key: AgentKey, loser: NodeId) -> None:
        if key in self._contested or len(self._contested) < MAX_CONTESTED:
            self._contested.setdefault(key, set()).add(loser)

    def _gave_way(self, key: AgentKey, loser: NodeId) -> None:
        losers = self._contested.get(key)
        if losers is not None:
            losers.discard(loser)
            if not losers:
                del self._contested[key]

    def _promote(self, key: AgentKey) -> None:
        """The agent is not where the entry says: it is at the lowest that was to give way, if there is one."""
        other = min(self._contested.get(key, set()) - {self._state.node_id}, default=None)
        if other is None:
            del self._entries[key]
        else:
            self._gave_way(key, other)
            self._entries[key] = other

    def _settle_contests(self, now_s: float) -> None:
        """See to it again: the two may not have known each other yet, or lost their link."""
        if self._contests_at_s <= now_s:
            self._contests_at_s = now_s + RIVAL_AGAIN_S
            for key, losers in list(self._contested.items()):
                for loser in sorted(losers):
                    if not self._press(key, loser):
                        self._gave_way(key, loser)
        self._state.wake_by(self._contests_at_s)

    def _press(self, key: AgentKey, loser: NodeId) -> bool:
        """Have the loser's activation of the agent end; False if nothing is left to end."""
        own = self._state.node_id
        winner = self._entries.get(key)
        resident = self._residents.get(key)
        here = resident is not None and resident.is_claimed(loser)
        if loser == own and not here:
            return False
        if here and own not in self._contested.get(key, ()):
            return self._send(loser, f.Yield(key))
        return winner is not None and self._send(winner, f.Rival(key, loser))

    def rival(self, peer: NodeId, frame: f.Rival) -> None:
        """The home says that another node has an agent of ours: have that one end, or say that we have it not."""
        resident = self._residents.get(frame.agent)
        if resident is None or not resident.is_claimed(frame.node) or resident.bound_for is not None:
            if resident is not None:
                resident.told = None  # should it stay after all, the home is told again
            self._send(peer, f.Disclaim(frame.agent))
        elif self._state.node_id < frame.node:
            self._send(frame.node, f.Yield(frame.agent))

    def yielded(self, peer: NodeId, frame: f.Yield) -> None:
        """A node with a lower id has an agent of ours, and ours has to end. Of a higher id: ignored."""
        resident = self._residents.get(frame.agent)
        if resident is not None and resident.is_claimed(peer) and peer < self._state.node_id:
            self.evict(resident, peer)

    def disclaimed(self, peer: NodeId, frame: f.Disclaim) -> None:
        """The agent is not at the peer."""
        self._gave_way(frame.agent, peer)
        if self._entries.get(frame.agent) == peer:
            self._promote(frame.agent)

    def review(self) -> None:
        """Claim the agents whose homes have changed, where they belong now."""
        while self.stale:
            agent_type, _ = self.stale.popitem()
            told: dict[NodeId, list[AgentKey]] = {}
            for resident in self._residents.of_type(agent_type):
                home = self._directory.home(resident.key)
                if home is None or home == self._state.node_id:
                    resident.told = None
                elif resident.told != home and resident.is_claimed(home):
                    resident.told = home
                    told.setdefault(home, []).append(resident.key)
            for home, keys in told.items():
                for chunk in _chunks(keys):
                    self._send(home, f.Claim(0, True, chunk))
            self.displaced(agent_type)

    def look_again(self, agent_type: str) -> None:
        """An agent of the type has come to stay elsewhere than at its home, perhaps."""
        self.stale[agent_type] = None


def _chunks(keys: list[AgentKey]) -> list[list[AgentKey]]:
    """The keys in lists that fit into a CLAIM; at least one list, so that an answer has an end."""
    chunks: list[list[AgentKey]] = [[]]
    size = 0
    for key in keys:
        size += 4 * len(key) + 5  # at most, in UTF-8
        if chunks[-1] and (size > CLAIM_BYTES or len(chunks[-1]) >= MAX_AGENTS):
            chunks.append([])
            size = 4 * len(key) + 5
        chunks[-1].append(key)
    return chunks


def _unset(*_: object) -> None:
    raise LocalProtocolError("a part of a node was used before the node was put together")
