"""Where a sender takes an agent to be."""

from __future__ import annotations

from unittest import mock

import pytest

from tests.unit.protocol.agents.wiring import Wiring, key_that_goes, keys_at, node_id
from zmqagents.protocol.agents import locations
from zmqagents.protocol.agents.locations import MAX_HOPS, Itinerary, Locations
from zmqagents.protocol.records import Phase


def of(wiring: Wiring) -> Locations:
    """The locations of the site named 0."""
    return wiring.sites[node_id(0)].node.agency.locations


@pytest.fixture
def meeting(wiring: Wiring) -> Wiring:
    """A caller, 0, and two hosts, 1 and 2."""
    wiring.join(0)
    wiring.join(1, ["worker"])
    wiring.join(2, ["worker"])
    return wiring


def test_agent_of_a_type_that_nobody_hosts_is_nowhere(wiring: Wiring) -> None:
    wiring.join(0)
    assert of(wiring).target("worker/a") is None


def test_first_guess_is_the_home_and_is_kept_when_another_host_takes_that_over(wiring: Wiring) -> None:
    wiring.join(0)
    host = wiring.join(1, ["worker"])
    key = key_that_goes(host, node_id(2))
    assert of(wiring).target(key) == node_id(1)
    wiring.join(2, ["worker"])
    assert wiring.sites[node_id(0)].node.directory.home(key) == node_id(2)
    assert of(wiring).target(key) == node_id(1)


def test_what_is_learned_is_kept_until_it_is_forgotten(meeting: Wiring) -> None:
    [key] = keys_at(meeting.sites[node_id(1)])
    of(meeting).learn(key, node_id(2))
    assert of(meeting).target(key) == node_id(2)
    of(meeting).forget(key)
    assert of(meeting).target(key) == node_id(1)


def test_nothing_is_taken_to_be_at_a_node_that_is_gone(meeting: Wiring) -> None:
    [key] = keys_at(meeting.sites[node_id(2)])
    assert of(meeting).target(key) == node_id(2)
    meeting.die(meeting.sites[node_id(2)])
    assert of(meeting).target(key) == node_id(1)


def test_home_asks_its_entries_first(meeting: Wiring) -> None:
    one = meeting.sites[node_id(1)]
    [key] = keys_at(one)
    one.node.agency.claims._entries[key] = node_id(2)
    assert one.node.agency.locations.target(key) == node_id(2)


def test_known_places_are_bounded(meeting: Wiring) -> None:
    with mock.patch.object(locations, "MAX_KNOWN", 3):
        for number in range(10):
            of(meeting).learn(f"worker/{number}", node_id(1))
            assert len(of(meeting)._known) <= 3


def test_places_of_a_type_are_forgotten_when_its_policy_changes(meeting: Wiring) -> None:
    of(meeting).learn("worker/a", node_id(1))
    of(meeting).learn("workers/a", node_id(1))
    of(meeting).type_changed("worker")
    assert list(of(meeting)._known) == ["workers/a"]


def test_messages_of_a_keyless_type_go_to_all_hosts_and_nothing_is_learned(wiring: Wiring) -> None:
    wiring.join(0)
    for name in (1, 2):
        wiring.join(name, ["worker"], policy="round_robin")
    of(wiring).learn("worker/a", node_id(1))
    assert {of(wiring).target("worker/a") for _ in range(4)} == {node_id(1), node_id(2)}
    assert not of(wiring)._known


def test_process_that_leaves_as_the_last_host_has_its_agents_itself(wiring: Wiring) -> None:
    host = wiring.join(1, ["worker"])
    host.become(Phase.LEAVING)
    assert host.node.agency.locations.target("worker/a") == node_id(1)
    assert host.node.agency.locations.target("clerk/a") is None


class TestItinerary:
    def test_call_goes_where_it_is_sent_on_to(self, meeting: Wiring) -> None:
        [key] = keys_at(meeting.sites[node_id(1)])
        way = Itinerary(of(meeting), key)
        assert way.target() == node_id(1)
        assert way.moved(node_id(1), node_id(2))
        assert way.target() == node_id(2)

    def test_call_looks_anew_when_a_node_names_itself_or_nobody(self, meeting: Wiring) -> None:
        [key] = keys_at(meeting.sites[node_id(1)])
        way = Itinerary(of(meeting), key)
        for answer in (None, node_id(2)):
            of(meeting).learn(key, node_id(2))
            assert way.moved(node_id(2), answer)
            assert way.target() == node_id(1)

    def test_call_that_goes_round_pauses_and_begins_anew(self, meeting: Wiring) -> None:
        [key] = keys_at(meeting.sites[node_id(1)])
        way = Itinerary(of(meeting), key)
        answers = [way.moved(node_id(1 + hop % 2), node_id(2 - hop % 2)) for hop in range(MAX_HOPS)]
        assert answers == [True] * (MAX_HOPS - 1) + [False]
        assert way.hops == 0
        assert way.target() == node_id(1)
