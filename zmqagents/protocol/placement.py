"""Which host an agent lives on, or a message goes to: pure choice functions (SPEC.md section 8.1).

*Keyed* policies give every agent one home, by weighted rendezvous hashing. Every node that knows the same hosts
computes the same home, without a word exchanged; when a host comes or goes, only the agents that it wins or held move
(Thaler and Ravishankar 1998, "Using name-based mappings to increase hit rates"). Weights enter as Schindelhauer and
Schomaker (2005) show: score = weight / -ln(u). Rejected: a hash ring, whose shares are uneven without hundreds of
virtual nodes a host.

*Keyless* policies are for agents that keep nothing between messages: the sender's ``Balancer`` chooses a host anew for
each message. ``least_loaded`` takes the better of two hosts drawn at random (Mitzenmacher 2001, "The power of two
choices in randomized load balancing"), because a sender knows only the load that it makes itself: if all senders went
to the one host that looks best, they would go there together. ``round_robin`` is the smooth weighted one, which spreads
a heavy host's turns over the round instead of giving them in a row.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from enum import Enum

from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.protocol.records import HostedType

MAX_WHEELS = 1_024  # agent types with a round of their own; beyond it the one begun first starts anew


class Policy(str, Enum):
    """How the agents of a type, or the messages to them, are shared among its hosts. The values travel in records."""

    BY_KEY = "by_key"
    REBALANCE = "rebalance"
    LEAST_LOADED = "least_loaded"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    LOCAL_FIRST = "local_first"

    @property
    def keyed(self) -> bool:
        """Whether each agent has one home; otherwise any host takes any message."""
        return self in _KEYED

    @classmethod
    def named(cls, text: str) -> Policy:
        """The policy of that name. One of a later version is as ``by_key``: its hosts know better, and say so."""
        return _POLICIES.get(text, cls.BY_KEY)


_KEYED = frozenset({Policy.BY_KEY, Policy.REBALANCE})
_POLICIES = {policy.value: policy for policy in Policy}


def rendezvous_score(node_id: NodeId, agent: AgentKey, weight: int) -> float:
    """The claim of a host of ``weight`` on an agent; the highest has it. A weight of 0 wins against another 0 only."""
    digest = hashlib.blake2b(node_id + agent.encode(), digest_size=8).digest()
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / (1 << 52)  # 52 bits: a double holds it, and it is below 1
    return weight / -math.log(uniform)


def rendezvous_home(agent: AgentKey, hosts: Iterable[tuple[NodeId, int]]) -> NodeId | None:
    """The host, of (node id, weight) pairs, where the agent lives; None if there is none."""
    best: tuple[float, bytes] | None = None
    home: NodeId | None = None
    for node_id, weight in hosts:
        # The lower id wins a tie, so its complement is compared.
        claim = (rendezvous_score(node_id, agent, weight), bytes(255 - byte for byte in node_id))
        if best is None or claim > best:
            best, home = claim, node_id
    return home


class Balancer:
    """Chooses hosts for the messages that one node sends under keyless policies; keeps only the rounds of round robin.

    Shares are in proportion to the hosts' weights. A host of weight 0 gets nothing unless all weights are 0, which is
    as if all were equal.
    """

    def __init__(self) -> None:
        self._wheels: dict[str, _Wheel] = {}

    def choose(
        self,
        policy: Policy,
        agent_type: str,
        hosts: Mapping[NodeId, HostedType],
        own: NodeId,
        load_of: Callable[[NodeId], int],
        random: Callable[[], float],
    ) -> NodeId | None:
        """The host of the next message; None if there are none. ValueError for a keyed policy.

        ``load_of`` gives the messages in flight from here to a host, ``random`` numbers from 0 to below 1.
        """
        if policy.keyed:
            raise ValueError(f"{policy.value} gives agents homes: see rendezvous_home")
        shares = _shares(hosts)
        if len(shares) <= 1:
            return next(iter(shares), None)
        if policy is Policy.ROUND_ROBIN:
            return self._wheel(agent_type, shares, random).turn(shares)
        if policy is Policy.RANDOM:
            return _draw(shares, random)
        if policy is Policy.LOCAL_FIRST and own in shares:
            return own
        return _less_loaded(shares, load_of, random)

    def _wheel(self, agent_type: str, shares: Mapping[NodeId, int], random: Callable[[], float]) -> _Wheel:
        wheel = self._wheels.get(agent_type)
        if wheel is None or not wheel.has(shares):
            self._wheels.pop(agent_type, None)
            if len(self._wheels) >= MAX_WHEELS:
                del self._wheels[next(iter(self._wheels))]
            wheel = self._wheels[agent_type] = _Wheel(shares, random)
        return wheel


class _Wheel:
    """Smooth weighted round robin: each turn every host earns its weight, and the richest pays the sum of them."""

    def __init__(self, hosts: Iterable[NodeId], random: Callable[[], float]) -> None:
        # Equals take their turns in an order of this node's own, lest many nodes begin with the same host.
        order = sorted((random(), host) for host in hosts)
        self._credits = {host: 0 for _, host in order}

    def has(self, hosts: Mapping[NodeId, int]) -> bool:
        """Whether the round is among just these hosts."""
        return self._credits.keys() == hosts.keys()

    def turn(self, shares: Mapping[NodeId, int]) -> NodeId:
        """The next host."""
        credit_of = self._credits
        for host in credit_of:
            credit_of[host] += shares[host]
        richest = max(credit_of, key=credit_of.__getitem__)
        credit_of[richest] -= sum(shares.values())
        return richest


def _shares(hosts: Mapping[NodeId, HostedType]) -> dict[NodeId, int]:
    """The weights of the hosts that may be chosen."""
    shares = {node_id: hosted.weight for node_id, hosted in hosts.items() if hosted.weight}
    return shares or dict.fromkeys(hosts, 1)


def _draw(shares: Mapping[NodeId, int], random: Callable[[], float]) -> NodeId:
    """A host at random, in proportion to its share; there is at least one."""
    point = random() * sum(shares.values())
    for host, share in shares.items():
        point -= share
        if point < 0:
            return host
    return host  # the product was rounded up to the sum


def _less_loaded(shares: dict[NodeId, int], load_of: Callable[[NodeId], int], random: Callable[[], float]) -> NodeId:
    """Of two hosts drawn at random, the one with less in flight for its share; the first one if that is equal."""
    first = _draw(shares, random)
    second = _draw({host: share for host, share in shares.items() if host != first}, random)
    # load / share, compared without division: shares are integers of any size.
    return second if load_of(second) * shares[first] < load_of(first) * shares[second] else first
