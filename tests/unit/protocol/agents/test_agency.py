"""The parts of ``protocol.agents`` put together, as a node sees them."""

from __future__ import annotations

from itertools import islice

from tests.unit.protocol.agents.wiring import Wiring, keys_at, node_id
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.agency import _draws
from zmqagents.protocol.records import Phase


def test_agents_that_are_active_here_are_listed(wiring: Wiring) -> None:
    one, two = wiring.join(1, ["worker"], pinned=["worker/p"]), wiring.join(2, ["worker"])
    keys = [key for key in keys_at(one, 3) if key != "worker/p"]
    for key in [*keys, "worker/p", *keys_at(two, 1)]:
        one.call(key)
    wiring.settle()
    assert sorted(one.node.agency.active()) == sorted(keys)


def test_moved_is_learned_if_it_names_a_member_and_else_makes_the_sender_look_anew(wiring: Wiring) -> None:
    caller, _, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    [key] = keys_at(two)
    agency = caller.node.agency
    agency.take(node_id(2), f.Moved(key, node_id(1)), wiring.now_s)
    assert agency.locations.target(key) == node_id(1)
    agency.take(node_id(1), f.Moved(key, node_id(9)), wiring.now_s)
    assert agency.locations.target(key) == node_id(2)


def test_node_is_empty_once_nothing_is_left_that_another_could_take(wiring: Wiring) -> None:
    one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    [key] = keys_at(one)
    one.slow.add(key)
    one.call(key)
    wiring.settle()
    empty = [one.node.agency.is_empty]
    one.become(Phase.LEAVING)
    empty.append(one.node.agency.is_empty)
    one.finish(key)
    empty.append(one.node.agency.is_empty)
    wiring.settle()
    empty.append(one.node.agency.is_empty)
    assert empty == [True, False, False, True]
    assert two.seen(key) == [""]


def test_agents_go_once_though_leaving_is_published_twice(wiring: Wiring) -> None:
    one, _ = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    [key] = keys_at(one)
    one.call(key)
    wiring.settle()
    one.become(Phase.LEAVING)
    one.become(Phase.LEAVING)
    wiring.settle()
    assert len(one.evicted) == 1


def test_draws_differ_between_nodes_and_lie_below_one() -> None:
    mine, others = (list(islice(_draws(node_id(name)), 200)) for name in (1, 2))
    assert mine != others
    assert all(0 <= number < 1 for number in mine)
    assert 0.3 < sum(mine) / len(mine) < 0.7
