"""The table of the agents here: which stay follows which, and what waits for whom."""

from __future__ import annotations

import itertools

import pytest

from tests.unit.protocol.builders import event, node_id, request
from zmqagents.errors import LocalProtocolError
from zmqagents.protocol.agents.residents import Held, Resident, Residents, Stay

PEER, OTHER = node_id("peer"), node_id("other")

LEGAL = {
    (Stay.AWAITED, Stay.ACTIVE),
    (Stay.AWAITED, Stay.ARRIVING),
    (Stay.ARRIVING, Stay.ACTIVE),
    (Stay.ACTIVE, Stay.DRAINING),
    (Stay.DRAINING, Stay.PACKED),
    (Stay.DRAINING, Stay.ACTIVE),
    (Stay.PACKED, Stay.ACTIVE),
}


def held(call_id: int, peer: bytes = PEER) -> Held:
    return Held(peer, 0, request(call_id), 0.0)


@pytest.mark.parametrize(("before", "after"), list(itertools.product(Stay, Stay)))
def test_resident_passes_only_to_the_stays_of_the_table(before: Stay, after: Stay) -> None:
    resident = Resident("worker/a", before)
    if (before, after) in LEGAL:
        resident.become(after)
        assert resident.stay is after
    else:
        with pytest.raises(LocalProtocolError, match="worker/a can't become"):
            resident.become(after)


def test_resident_is_claimed_unless_it_is_only_awaited_or_has_been_sent_to_who_asks() -> None:
    assert not Resident("worker/a", Stay.AWAITED).is_claimed(PEER)
    resident = Resident("worker/a", Stay.PACKED)
    assert resident.is_claimed(PEER)
    resident.bound_for = PEER
    assert not resident.is_claimed(PEER)
    assert resident.is_claimed(OTHER)


def test_agent_is_found_by_its_key_and_its_type_until_it_is_removed() -> None:
    residents = Residents()
    a, b = residents.add("worker/a", Stay.ACTIVE), residents.add("clerk/b", Stay.ACTIVE)
    assert residents.get("worker/a") is a
    assert residents.of_type("worker") == [a]
    assert set(residents.types) == {"worker", "clerk"}
    residents.remove("worker/a")
    assert residents.get("worker/a") is None
    assert residents.of_type("worker") == []
    assert set(residents.types) == {"clerk"}
    assert list(residents) == [b]
    assert len(residents) == 1


def test_agent_is_added_once() -> None:
    residents = Residents()
    residents.add("worker/a", Stay.ACTIVE)
    with pytest.raises(LocalProtocolError, match="here already"):
        residents.add("worker/a", Stay.AWAITED)


def test_what_waits_is_taken_in_order_and_once() -> None:
    residents = Residents()
    resident = residents.add("worker/a", Stay.AWAITED)
    for call_id in (1, 2, 3):
        residents.hold(resident, held(call_id))
    assert list(residents.holding) == ["worker/a"]
    assert residents.take_held(resident) == [held(1), held(2), held(3)]
    assert not residents.holding
    assert residents.take_held(resident) == []


def test_call_that_waits_can_be_dropped_and_an_event_of_the_same_number_stays() -> None:
    resident = Resident("worker/a", Stay.AWAITED)
    resident.hold(Held(PEER, 1, event("e"), 0.0))
    resident.hold(held(1))
    assert not resident.drop_call(OTHER, 1)
    assert resident.drop_call(PEER, 1)
    assert not resident.drop_call(PEER, 1)
    assert [one.frame for one in resident.take_held()] == [event("e")]


def test_nothing_waits_from_a_peer_that_is_gone() -> None:
    residents = Residents()
    both, one = residents.add("worker/a", Stay.AWAITED), residents.add("worker/b", Stay.AWAITED)
    residents.hold(both, held(1))
    residents.hold(both, held(2, OTHER))
    residents.hold(one, held(3))
    residents.drop_peer(PEER)
    assert list(residents.holding) == ["worker/a"]
    assert residents.take_held(both) == [held(2, OTHER)]
    assert not one.holds
