"""Who hosts what and how, and whom a topic reaches (SPEC.md sections 8.1 and 8.5), derived from the members' records.

Every question of the hot path is one or two dictionary lookups. The home of an agent and the agent types of a topic are
cached; a change of one record forgets only what it can have changed. Topic patterns are indexed (exact ones by their
text, prefixes by their length), so that even the first publish to a topic costs the same with ten subscriptions in
the table as with ten thousand.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from typing import NamedTuple, TypeVar

from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of
from zmqagents.protocol.placement import Policy, rendezvous_home
from zmqagents.protocol.records import HostedType, Phase, Record, SubscriptionEntry, SubscriptionKind

MAX_CACHED_HOMES = 200_000  # about 50 MiB; beyond it the cache starts anew
MAX_CACHED_TOPICS = 100_000
VIEW_BYTES = 8


class PolicyConflict(NamedTuple):
    """Two hosts of an agent type that name different policies: the lowest node id, and the lowest that differs."""

    agent_type: str
    one: NodeId
    one_policy: str
    other: NodeId
    other_policy: str


class HostsChanged(NamedTuple):
    """The hosts or the claimants of an agent type changed. A new weight is a loss and a gain of the same host."""

    agent_type: str
    gained: tuple[NodeId, ...]
    lost: tuple[NodeId, ...]
    claimants: bool
    """Whether there is a claimant more or fewer."""


class Directory:
    """The index over all live records; ``replace`` is told of each change."""

    def __init__(self) -> None:
        self._hosts: dict[str, dict[NodeId, HostedType]] = {}
        self._claimants: dict[str, dict[NodeId, HostedType]] = {}
        self._policies: dict[str, Counter[str]] = {}
        self._conflicting: set[str] = set()
        self._views: dict[str, int] = {}
        self._pins: dict[AgentKey, set[NodeId]] = {}
        self._pinned_types: dict[str, Counter[NodeId]] = {}
        self._exact: dict[str, Counter[str]] = {}
        self._prefixes: dict[int, dict[str, Counter[str]]] = {}
        self._opaque: dict[NodeId, int] = {}
        self._homes: dict[str, dict[AgentKey, NodeId]] = {}
        self._homes_count = 0
        self._topics: dict[str, tuple[str, ...]] = {}
        self.version = 0
        """Grows whenever an answer may have changed."""

    def replace(self, old: Record | None, new: Record | None) -> list[HostsChanged]:
        """A member's record changed from ``old`` to ``new``; None for one that wasn't or isn't a member.

        Returns, for each agent type whose hosts, weights or claimants it changes, what changed.
        """
        old_types, new_types = _hosted(old), _hosted(new)
        old_claims, new_claims = _claimed(old), _claimed(new)
        old_pins, new_pins = _pins(old), _pins(new)
        old_subscriptions, new_subscriptions = _subscriptions(old), _subscriptions(new)
        if old_types != new_types:
            self._replace_types(_id_of(old, new), old_types, new_types)
        if old_claims != new_claims:
            self._replace_claims(_id_of(old, new), old_claims, new_claims)
        if old_pins != new_pins:
            self._replace_pins(_id_of(old, new), old_pins - new_pins, new_pins - old_pins)
        if old_subscriptions != new_subscriptions:
            self._replace_subscriptions(_id_of(old, new), old_subscriptions, new_subscriptions)
        if old_types == new_types and old_claims.keys() == new_claims.keys():
            return []
        return list(_changes(_id_of(old, new), old_types, new_types, old_claims.keys() ^ new_claims.keys()))

    # -- homes -------------------------------------------------------------------------------------------------

    def home(self, agent: AgentKey) -> NodeId | None:
        """The node where the agent lives; None if no active node hosts its type.

        An agent that nobody pins, of a type that is only pinned, is sent to a node that can say so.
        """
        agent_type = agent_type_of(agent)
        homes = self._homes.get(agent_type)
        if homes is not None:
            home = homes.get(agent)
            if home is not None:
                return home
        home = self._find_home(agent_type, agent)
        if home is not None:
            if self._homes_count >= MAX_CACHED_HOMES:
                self._homes.clear()
                self._homes_count = 0
            self._homes.setdefault(agent_type, {})[agent] = home
            self._homes_count += 1
        return home

    def _find_home(self, agent_type: str, agent: AgentKey) -> NodeId | None:
        pinned = self._pins.get(agent)
        if pinned:
            return min(pinned)
        hosts = self._hosts.get(agent_type)
        if not hosts:
            return min(self._pinned_types.get(agent_type, ()), default=None)
        return rendezvous_home(agent, ((node_id, hosted.weight) for node_id, hosted in hosts.items()))

    def pinned_at(self, agent: AgentKey) -> NodeId | None:
        """The node that pins the agent, the lowest if several do; None if none does."""
        pinned = self._pins.get(agent)
        return min(pinned) if pinned else None

    def hosts(self, agent_type: str) -> Mapping[NodeId, HostedType]:
        """The active nodes that host the type, with its policy and weight there."""
        return self._hosts.get(agent_type, {})

    def process_count(self, agent_type: str) -> int:
        """How many active nodes host the type or pin an agent of it."""
        return len(self._hosts.get(agent_type, {}).keys() | self._pinned_types.get(agent_type, {}).keys())

    def _forget_homes(self, agent_type: str) -> None:
        self._homes_count -= len(self._homes.pop(agent_type, {}))
        self.version += 1

    def _replace_types(self, node_id: NodeId, old: Mapping[str, HostedType], new: Mapping[str, HostedType]) -> None:
        for agent_type in old.keys() | new.keys():
            if old.get(agent_type) == new.get(agent_type):
                continue
            hosts = self._hosts.setdefault(agent_type, {})
            replaced = hosts.pop(node_id, None)
            if replaced is not None:
                self._take_from_sums(agent_type, node_id, replaced)
            if agent_type in new:
                hosts[node_id] = new[agent_type]
                self._add_to_sums(agent_type, node_id, new[agent_type])
            if not hosts:
                del self._hosts[agent_type]
                del self._views[agent_type]
            self._forget_homes(agent_type)

    # -- policies and claims -----------------------------------------------------------------------------------

    def policy(self, agent_type: str) -> Policy | PolicyConflict:
        """How agents of the type are placed, as its hosts say; ``by_key`` if it has none, or for an unknown policy."""
        policies = self._policies.get(agent_type)
        if policies is None:
            return Policy.BY_KEY
        if len(policies) > 1:
            return self._conflict(agent_type)
        (text,) = policies
        return Policy.named(text)

    @property
    def conflicting(self) -> AbstractSet[str]:
        """The agent types whose hosts disagree on the policy."""
        return self._conflicting

    def conflicts(self) -> list[PolicyConflict]:
        """For each agent type whose hosts disagree, two of them that do."""
        return [self._conflict(agent_type) for agent_type in sorted(self._conflicting)]

    def _conflict(self, agent_type: str) -> PolicyConflict:
        hosts = self._hosts[agent_type]
        one = min(hosts)
        other = min(node_id for node_id, hosted in hosts.items() if hosted.policy != hosts[one].policy)
        return PolicyConflict(agent_type, one, hosts[one].policy, other, hosts[other].policy)

    def view(self, agent_type: str) -> bytes:
        """8 bytes that are equal on nodes for which the hosts of the type and their weights are."""
        return self._views.get(agent_type, 0).to_bytes(VIEW_BYTES, "big")

    def claimants(self, agent_type: str) -> Mapping[NodeId, HostedType]:
        """The nodes where agents of the type may be active: its hosts, and those that are leaving."""
        return self._claimants.get(agent_type, {})

    def _add_to_sums(self, agent_type: str, node_id: NodeId, hosted: HostedType) -> None:
        policies = self._policies.setdefault(agent_type, Counter())
        policies[hosted.policy] += 1
        if len(policies) > 1:
            self._conflicting.add(agent_type)
        self._views[agent_type] = self._views.get(agent_type, 0) ^ _fingerprint(node_id, hosted.weight)

    def _take_from_sums(self, agent_type: str, node_id: NodeId, hosted: HostedType) -> None:
        _decrease(self._policies, agent_type, hosted.policy)
        if len(self._policies.get(agent_type, ())) <= 1:
            self._conflicting.discard(agent_type)
        self._views[agent_type] ^= _fingerprint(node_id, hosted.weight)

    def _replace_claims(self, node_id: NodeId, old: Mapping[str, HostedType], new: Mapping[str, HostedType]) -> None:
        for agent_type in old.keys() - new.keys():
            claimants = self._claimants[agent_type]
            del claimants[node_id]
            if not claimants:
                del self._claimants[agent_type]
        for agent_type, hosted in new.items():
            self._claimants.setdefault(agent_type, {})[node_id] = hosted
        self.version += 1

    # -- pins --------------------------------------------------------------------------------------------------

    def _replace_pins(self, node_id: NodeId, gone: Iterable[AgentKey], added: Iterable[AgentKey]) -> None:
        for agent in gone:
            nodes = self._pins[agent]
            nodes.discard(node_id)
            if not nodes:
                del self._pins[agent]
            _decrease(self._pinned_types, agent_type_of(agent), node_id)
            self._forget_homes(agent_type_of(agent))
        for agent in added:
            self._pins.setdefault(agent, set()).add(node_id)
            self._pinned_types.setdefault(agent_type_of(agent), Counter())[node_id] += 1
            self._forget_homes(agent_type_of(agent))

    # -- topics ------------------------------------------------------------------------------------------------

    def agent_types(self, topic_type: str) -> tuple[str, ...]:
        """Where subscriptions of kind 0 and 1 send the topic type: agent types, whose key is the topic's source."""
        types = self._topics.get(topic_type)
        if types is None:
            found: dict[str, None] = dict.fromkeys(self._exact.get(topic_type, ()))
            for length, prefixes in self._prefixes.items():
                if length <= len(topic_type):
                    found.update(dict.fromkeys(prefixes.get(topic_type[:length], ())))
            types = tuple(found)
            if len(self._topics) >= MAX_CACHED_TOPICS:
                self._topics.clear()
            self._topics[topic_type] = types
        return types

    @property
    def opaque_owners(self) -> Mapping[NodeId, int]:
        """The nodes that evaluate subscriptions of their own (kind 2), and how many of them."""
        return self._opaque

    def _replace_subscriptions(
        self, node_id: NodeId, old: Mapping[str, SubscriptionEntry], new: Mapping[str, SubscriptionEntry]
    ) -> None:
        gone = [entry for identity, entry in old.items() if new.get(identity) != entry]
        added = [entry for identity, entry in new.items() if old.get(identity) != entry]
        for entry in gone:
            self._remove_subscription(node_id, entry)
        for entry in added:
            self._add_subscription(node_id, entry)
        self._forget_topics({entry.match for entry in (*gone, *added) if entry.kind == SubscriptionKind.PREFIX})
        self.version += 1

    def _add_subscription(self, node_id: NodeId, entry: SubscriptionEntry) -> None:
        if entry.kind == SubscriptionKind.EXACT:
            self._exact.setdefault(entry.match, Counter())[entry.agent_type] += 1
            self._topics.pop(entry.match, None)
        elif entry.kind == SubscriptionKind.PREFIX:
            by_text = self._prefixes.setdefault(len(entry.match), {})
            by_text.setdefault(entry.match, Counter())[entry.agent_type] += 1
        else:
            self._opaque[node_id] = self._opaque.get(node_id, 0) + 1

    def _remove_subscription(self, node_id: NodeId, entry: SubscriptionEntry) -> None:
        if entry.kind == SubscriptionKind.EXACT:
            _decrease(self._exact, entry.match, entry.agent_type)
            self._topics.pop(entry.match, None)
        elif entry.kind == SubscriptionKind.PREFIX:
            by_text = self._prefixes[len(entry.match)]
            _decrease(by_text, entry.match, entry.agent_type)
            if not by_text:
                del self._prefixes[len(entry.match)]
        else:
            self._opaque[node_id] -= 1
            if not self._opaque[node_id]:
                del self._opaque[node_id]

    def _forget_topics(self, prefixes: set[str]) -> None:
        lengths = {len(prefix) for prefix in prefixes}
        if lengths:
            for topic in [topic for topic in self._topics if any(topic[:length] in prefixes for length in lengths)]:
                del self._topics[topic]


_MemberT = TypeVar("_MemberT", str, bytes)


def _decrease(counters: dict[str, Counter[_MemberT]], name: str, member: _MemberT) -> None:
    counter = counters[name]
    counter[member] -= 1
    if not counter[member]:
        del counter[member]
    if not counter:
        del counters[name]


def _id_of(old: Record | None, new: Record | None) -> NodeId:
    record = new or old
    if record is None:
        raise ValueError("a change has an old or a new record")
    return record.node_id


def _hosted(record: Record | None) -> Mapping[str, HostedType]:
    return record.types if record is not None and record.phase is Phase.ACTIVE else {}


def _claimed(record: Record | None) -> Mapping[str, HostedType]:
    return record.types if record is not None and record.phase in (Phase.ACTIVE, Phase.LEAVING) else {}


def _changes(
    node_id: NodeId, old: Mapping[str, HostedType], new: Mapping[str, HostedType], claims: Iterable[str]
) -> Iterator[HostsChanged]:
    """What a node's hosting of ``new`` in place of ``old`` means to the types, and to those in ``claims``."""
    changed_claims = frozenset(claims)
    for agent_type in sorted(old.keys() | new.keys() | changed_claims):
        before, after = old.get(agent_type), new.get(agent_type)
        same = before is not None and after is not None and before.weight == after.weight
        lost = (node_id,) if before is not None and not same else ()
        gained = (node_id,) if after is not None and not same else ()
        if lost or gained or agent_type in changed_claims:
            yield HostsChanged(agent_type, gained, lost, agent_type in changed_claims)


def _fingerprint(node_id: NodeId, weight: int) -> int:
    digest = hashlib.blake2b(node_id + weight.to_bytes(8, "big"), digest_size=VIEW_BYTES).digest()
    return int.from_bytes(digest, "big")


def _pins(record: Record | None) -> frozenset[AgentKey]:
    return frozenset(record.pinned) if record is not None and record.phase is Phase.ACTIVE else frozenset()


def _subscriptions(record: Record | None) -> Mapping[str, SubscriptionEntry]:
    return record.subscriptions if record is not None and record.phase is Phase.ACTIVE else {}
