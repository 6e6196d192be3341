"""The directory answers as one that looks at all records anew for each question, whatever changed in between."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.protocol.builders import EXACT, OPAQUE, PREFIX, make_record, node_id
from zmqagents.protocol.directory import Directory
from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of
from zmqagents.protocol.placement import rendezvous_score
from zmqagents.protocol.records import HostedType, Phase, Record

NODES = 4
TYPES = ("v", "w")
AGENTS = [f"{agent_type}/{key}" for agent_type in TYPES for key in "ab"]
TOPICS = ["", "t", "ta", "tab", "tb", "x"]

agent_types = st.sampled_from(TYPES)
records = st.builds(
    make_record,
    st.integers(1, NODES),
    phase=st.sampled_from([Phase.ACTIVE, Phase.ACTIVE, Phase.ACTIVE, Phase.JOINING, Phase.LEAVING]),
    types=st.dictionaries(agent_types, st.integers(0, 3), max_size=2),
    pinned=st.frozensets(st.sampled_from(AGENTS), max_size=2),
    subscriptions=st.lists(
        st.tuples(st.sampled_from([EXACT, PREFIX, OPAQUE]), st.sampled_from(TOPICS), agent_types), max_size=4
    ),
)
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
    for topic in TOPICS:
        answer = directory.agent_types(topic)
        assert set(answer) == model.agent_types(topic)
        assert len(answer) == len(set(answer))


def replace(directory: Directory, model: Model, change: Record | int) -> None:
    new = change if isinstance(change, Record) else None
    node = node_id(change) if isinstance(change, int) else change.node_id
    old = model.records.pop(node, None)
    if new is not None:
        model.records[node] = new
    if new is not None or old is not None:
        directory.replace(old, new)


@given(changes)
@settings(deadline=None)
def test_directory_answers_from_the_records_as_they_are_now(steps: list[Record | int]) -> None:
    directory, model = Directory(), Model()
    for change in steps:
        replace(directory, model, change)
        check(directory, model)


@given(changes)
@settings(deadline=None)
def test_directory_tells_by_its_version_when_an_answer_may_have_changed(steps: list[Record | int]) -> None:
    directory, model = Directory(), Model()
    for change in steps:
        before = ([model.home(agent) for agent in AGENTS], [model.agent_types(topic) for topic in TOPICS])
        version = directory.version
        replace(directory, model, change)
        after = ([model.home(agent) for agent in AGENTS], [model.agent_types(topic) for topic in TOPICS])
        assert directory.version > version or before == after


@given(changes)
def test_directory_holds_nothing_once_everybody_is_gone(steps: list[Record | int]) -> None:
    directory, model = Directory(), Model()
    for change in (*steps, *range(1, NODES + 1)):
        replace(directory, model, change)
    check(directory, model)
    kept = {name: value for name, value in vars(directory).items() if isinstance(value, dict) and name != "_topics"}
    assert all(not value for value in kept.values()), kept


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
