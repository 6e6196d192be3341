"""Which newcomer takes the place of which older node."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.unit.protocol.builders import make_record, node_id
from zmqagents.protocol.effects import Superseded
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.lives import Lives
from zmqagents.protocol.membership import Change, MemberChange
from zmqagents.protocol.records import Phase, Record
from zmqagents.protocol.state import NodeLimits, NodeState


def life(name: str, started_ms: int, label: str = "shop", phase: Phase = Phase.ACTIVE) -> Record:
    return replace(make_record(name, phase=phase, label=label), started_ms=started_ms)


class Registry:
    """Lives as one node sees them."""

    def __init__(self, own: Record) -> None:
        self.state = NodeState(own, NodeLimits(), 0.0)
        self.buried: list[NodeId] = []
        self.lives = Lives(self.state, lambda node_id, _now_s: self.buried.append(node_id))

    def joins(self, record: Record) -> None:
        self.lives.changed(MemberChange(Change.JOINED, record, None), 0.0)

    def is_gone(self, record: Record) -> None:
        self.lives.changed(MemberChange(Change.DIED, record, record), 0.0)


@pytest.fixture
def registry() -> Registry:
    return Registry(make_record("own", label="own"))


def test_newcomer_that_was_started_later_takes_the_place_of_the_older_one(registry: Registry) -> None:
    registry.joins(life("old", 1))
    registry.joins(life("new", 2))
    assert registry.buried == [node_id("old")]
    assert registry.state.effects == [Superseded(node_id("old"), node_id("new"), "shop")]


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (life("old", 2), life("new", 2)),
        (life("old", 3), life("new", 2)),
        (life("old", 0), life("new", 2)),
        (life("old", 1), life("new", 0)),
        (life("old", 1), life("new", 2, "other")),
        (life("old", 1, ""), life("new", 2, "")),
        (life("old", 1, phase=Phase.LEAVING), life("new", 2)),
    ],
    ids=["same time", "later", "older says no time", "newcomer says no time", "other id", "no id", "leaving"],
)
def test_others_stay(registry: Registry, older: Record, newer: Record) -> None:
    registry.joins(older)
    registry.joins(newer)
    assert registry.buried == []
    assert registry.state.effects == []


def test_older_one_that_refutes_its_death_is_not_superseded_again(registry: Registry) -> None:
    old, new = life("old", 1), life("new", 2)
    registry.joins(old)
    registry.joins(new)
    registry.is_gone(old)
    registry.joins(old)
    registry.is_gone(new)
    registry.joins(new)
    assert registry.buried == [node_id("old")]


def test_one_that_is_gone_is_superseded_by_nobody(registry: Registry) -> None:
    registry.joins(life("old", 1))
    registry.is_gone(life("old", 1))
    registry.joins(life("new", 2))
    assert registry.buried == []


def test_process_that_joins_itself_judges_nobody() -> None:
    registry = Registry(make_record("own", phase=Phase.JOINING, label="own"))
    registry.joins(life("old", 1))
    registry.joins(life("new", 2))
    assert registry.buried == []


def test_process_whose_own_place_is_taken_tells_its_people_and_stays() -> None:
    registry = Registry(life("own", 1))
    registry.joins(life("new", 2))
    assert registry.buried == []
    assert registry.state.effects == [Superseded(node_id("own"), node_id("new"), "shop")]
