"""The directory answers as one that looks at all records anew for each question, whatever changed in between."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace as with_fields

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.protocol.builders import EXACT, OPAQUE, PREFIX, make_record, node_id
from zmqagents.protocol.directory import Directory, HostsChanged
from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of
from zmqagents.protocol.placement import Policy, rendezvous_score
from zmqagents.protocol.records import HostedType, Phase, Record

NODES = 4
TYPES = ("v", "w")
AGENTS = [f"{agent_type}/{key}" for agent_type in TYPES for key in "ab"]
TOPICS = ["", "t", "ta", "tab", "tb", "x"]

agent_types = st.sampled_from(TYPES)
hosted_types = st.builds(
    HostedType,
    st.sampled_from(["by_key", "random", "of_a_later_version"]),
    st.integers(0, 3),
    st.frozensets(st.sampled_from(["Ask", "Tell"])),
)
placed = st.dictionaries(agent_types, hosted_types, max_size=2)
bare_records = st.builds(
    make_record,
    st.integers(1, NODES),
    phase=st.sampled_from([Phase.ACTIVE, Phase.ACTIVE, Phase.ACTIVE, Phase.JOINING, Phase.LEAVING]),
    pinned=st.frozensets(st.sampled_from(AGENTS), max_size=2),
    subscriptions=st.lists(
        st.tuples(st.sampled_from([EXACT, PREFIX, OPAQUE]), st.sampled_from(TOPICS), agent_types), max_size=4
    ),
)
records = st.builds(lambda record, types: with_fields(record, types=types), bare_records, placed)
changes = st.lists(records | st.integers(1, NODES), max_size=14)
"""A record in place of the node's last one, or the number of a node that is gone."""


class Model:
    """The records, and nothing kept of what was asked before."""

    def __init__(self) -> None:
        self.records: dict[NodeId, Record] = {}

    @property
    def active(self) -> list[Record]:
        return [record for record in self.records.values() if record.phase is Phase.ACTIVE]

    def hosts(self, agent_type: str) -> dict[NodeId, HostedType]:
        return {record.node_id: record.types[agent_type] for record in self.active if agent_type in record.types}

    def claimants(self, agent_type: str) -> dict[NodeId, HostedType]:
        staying = [record for record in self.records.values() if record.phase in (Phase.ACTIVE, Phase.LEAVING)]
        return {record.node_id: record.types[agent_type] for record in staying if agent_type in record.types}

    def policies(self, agent_type: str) -> set[str]:
        return {hosted.policy for hosted in self.hosts(agent_type).values()}

    def view(self, agent_type: str) -> bytes:
        view = 0
        for node, hosted in self.hosts(agent_type).items():
            data = node + hosted.weight.to_bytes(8, "big")
            view ^= int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "big")
        return view.to_bytes(8, "big")

    def home(self, agent: AgentKey) -> NodeId | None:
        pinning = [record.node_id for record in self.active if agent in record.pinned]
        if pinning:
            return min(pinning)
        hosts = self.hosts(agent_type_of(agent))
        if hosts:
            return min(hosts, key=lambda node: (-rendezvous_score(node, agent, hosts[node].weight), node))
        return min(self.pinning_the_type(agent_type_of(agent)), default=None)

    def pinning_the_type(self, agent_type: str) -> set[NodeId]:
        return {r.node_id for r in self.active if agent_type in map(agent_type_of, r.pinned)}

    def process_count(self, agent_type: str) -> int:
        return len(self.hosts(agent_type).keys() | self.pinning_the_type(agent_type))

    def agent_types(self, topic: str) -> set[str]:
        return {
            entry.agent_type
            for record in self.active
            for entry in record.subscriptions.values()
            if (entry.kind is EXACT and topic == entry.match)
            or (entry.kind is PREFIX and entry.match in prefixes(topic))
        }

    def opaque_owners(self) -> dict[NodeId, int]:
        return Counter(r.node_id for r in self.active for e in r.subscriptions.values() if e.kind is OPAQUE)


def prefixes(text: str) -> list[str]:
    return [text[:length] for length in range(len(text) + 1)]


def check(directory: Directory, model: Model) -> None:
    assert {agent: directory.home(agent) for agent in AGENTS} == {agent: model.home(agent) for agent in AGENTS}
    assert dict(directory.opaque_owners) == model.opaque_owners()
    for agent_type in TYPES:
        assert dict(directory.hosts(agent_type)) == model.hosts(agent_type)
        assert directory.process_count(agent_type) == model.process_count(agent_type)
        assert dict(directory.claimants(agent_type)) == model.claimants(agent_type)
        assert directory.view(agent_type) == model.view(agent_type)
        check_policy(directory, model, agent_type)
    for topic in TOPICS:
        answer = directory.agent_types(topic)
        assert set(answer) == model.agent_types(topic)
        assert len(answer) == len(set(answer))


def check_policy(directory: Directory, model: Model, agent_type: str) -> None:
    said = model.policies(agent_type)
    policy = directory.policy(agent_type)
    if isinstance(policy, Policy):
        assert len(said) <= 1
        assert policy.value in said or (policy is Policy.BY_KEY and said <= {"of_a_later_version"})
    else:
        hosts = model.hosts(agent_type)
        assert policy.one == min(hosts)
        assert (hosts[policy.one].policy, hosts[policy.other].policy) == (policy.one_policy, policy.other_policy)
        assert policy.one_policy != policy.other_policy
    assert (policy in directory.conflicts()) is (len(said) > 1)


def replace(directory: Directory, model: Model, change: Record | int) -> list[HostsChanged]:
    new = change if isinstance(change, Record) else None
    node = node_id(change) if isinstance(change, int) else change.node_id
    old = model.records.pop(node, None)
    if new is not None:
        model.records[node] = new
    return directory.replace(old, new) if new is not None or old is not None else []


@given(changes)
@settings(deadline=None)
def test_directory_answers_from_the_records_as_they_are_now(steps: list[Record | int]) -> None:
    directory, model = Directory(), Model()
    for change in steps:
        replace(directory, model, change)
        check(directory, model)


@given(changes)
def test_changes_of_hosts_and_claimants_are_told_and_no_others(steps: list[Record | int]) -> None:
    directory, model = Directory(), Model()
    for change in steps:
        before = {name: (model.hosts(name), model.claimants(name)) for name in TYPES}
        told = {changed.agent_type: changed for changed in replace(directory, model, change)}
        for name in TYPES:
            hosts, claimants = before[name]
            weighted = {(node, hosted.weight) for node, hosted in hosts.items()}
            weighted_now = {(node, hosted.weight) for node, hosted in model.hosts(name).items()}
            claims_changed = claimants.keys() != model.claimants(name).keys()
            assert (name in told) is (weighted != weighted_now or claims_changed)
            if name in told:
                lost = tuple(node for node, _ in weighted - weighted_now)
                gained = tuple(node for node, _ in weighted_now - weighted)
                assert told[name] == HostsChanged(name, gained, lost, claims_changed)


@given(changes)
@settings(deadline=None)
def test_directory_tells_by_its_version_when_an_answer_may_have_changed(steps: list[Record | int]) -> None:
    directory, model = Directory(), Model()
    for change in steps:
        before = answers(model)
        version = directory.version
        replace(directory, model, change)
        assert directory.version > version or before == answers(model)


def answers(model: Model) -> object:
    homes = [model.home(agent) for agent in AGENTS]
    topics = [model.agent_types(topic) for topic in TOPICS]
    types = [(model.hosts(name), model.claimants(name)) for name in TYPES]
    return homes, topics, types


@given(changes)
def test_directory_holds_nothing_once_everybody_is_gone(steps: list[Record | int]) -> None:
    directory, model = Directory(), Model()
    for change in (*steps, *range(1, NODES + 1)):
        replace(directory, model, change)
    check(directory, model)
    kept = {name: value for name, value in vars(directory).items() if isinstance(value, dict) and name != "_topics"}
    assert all(not value for value in kept.values()), kept
    assert directory.conflicts() == []


@given(st.lists(records, max_size=NODES, unique_by=lambda record: record.node_id), st.data())
def test_home_is_the_same_on_every_node_whatever_the_order_of_records(
    members: list[Record], data: st.DataObject
) -> None:
    one, other = Directory(), Directory()
    for record in members:
        one.replace(None, record)
    for record in data.draw(st.permutations(members)):
        other.replace(None, record)
    assert [one.home(agent) for agent in AGENTS] == [other.home(agent) for agent in AGENTS]
