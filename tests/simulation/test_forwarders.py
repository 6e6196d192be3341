"""Nodes that meet and talk through forwarders, and what becomes of that when paths come and go."""

from __future__ import annotations

from itertools import combinations

import pytest

from tests.simulation.forwarders import Forwarder, restarted
from tests.simulation.network import Network
from tests.simulation.process import Call, Process, converged
from zmqagents.errors import WireCode
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.membership import Change


def behind_nat(network: Network, *names: str, refuses: bool = False) -> list[Process]:
    """Processes that can't dial one another: nothing answers there, or something that is nobody's refuses."""
    processes = [Process(network, name, types=["worker"]) for name in names]
    for one, other in combinations(names, 2):
        (network.wall if refuses else network.cut)(one, other)
    return processes


def attach(network: Network, processes: list[Process], *forwarders: Forwarder) -> None:
    for process in processes:
        process.attach(*forwarders)
    network.run_until(
        lambda: converged(processes) and all(process.node.is_synchronised() for process in processes), within_s=2.0
    )


def path_kind(one: Process, other: Process) -> str:
    peer = one.node.state.peers[other.node_id]
    if peer.path is None:
        return "none"
    if isinstance(peer.path, bytes):
        return "accepted"
    return "direct" if peer.path == peer.dialled else "forwarded"


def is_direct(one: Process, other: Process) -> bool:
    """Whether the two use one connection, dialled by either."""
    return {path_kind(one, other), path_kind(other, one)} == {"direct", "accepted"}


def forwarder_of(one: Process, other: Process) -> str:
    return one.node.contacts.attachments.endpoint_of(one.node.state.peers[other.node_id].path)


def answered(calls: list[Call]) -> bool:
    return all(isinstance(call.outcome, f.Reply) for call in calls)


@pytest.fixture
def network() -> Network:
    return Network()


@pytest.mark.parametrize("refuses", [False, True])
def test_nodes_that_can_not_reach_each_other_meet_at_a_forwarder(network: Network, *, refuses: bool) -> None:
    a, b = behind_nat(network, "a", "b", refuses=refuses)
    attach(network, [a, b], Forwarder(network, "f1"))
    calls = [a.call(b), b.call(a)]
    a.publish(b, "event")
    network.run_until(lambda: answered(calls) and len(b.heard) > 0, within_s=1.0)
    assert (path_kind(a, b), path_kind(b, a)) == ("forwarded", "forwarded")
    network.run(120)
    assert a.knows(b)
    assert b.knows(a)
    assert a.node.state.counters.resets == b.node.state.counters.resets == 0


def test_nodes_that_met_at_a_forwarder_talk_directly_where_they_can(network: Network) -> None:
    a, b, c = (Process(network, name) for name in "abc")
    network.cut("a", "c")
    attach(network, [a, b, c], Forwarder(network, "f1"))
    network.run_until(lambda: path_kind(a, b) == path_kind(b, c) == "direct", within_s=1.0)
    network.run(30)
    assert path_kind(a, c) == "forwarded"
    relayed = Counters(network)
    calls = [a.call(b), b.call(a)]
    network.run_until(lambda: answered(calls), within_s=1.0)
    assert relayed.envelopes == 0


class Counters:
    """What the forwarders have relayed since then."""

    def __init__(self, network: Network) -> None:
        self._relays = [host.relay for host in network.listeners.values() if isinstance(host, Forwarder)]
        self._before = self._now()

    def _now(self) -> int:
        return sum(relay.counters.envelopes for relay in self._relays)

    @property
    def envelopes(self) -> int:
        return self._now() - self._before


def test_forwarder_that_is_not_there_at_the_start_is_used_when_it_comes(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    a.attach("f1", "f2")
    assert not a.node.is_synchronised()
    network.run(30)
    b.attach("f1", "f2")
    network.run(30)
    Forwarder(network, "f2")
    network.run_until(lambda: converged([a, b]), within_s=3.0)
    assert a.node.contacts.attachments.missing() == ["data://f1"]
    assert a.node.is_synchronised()


def test_calls_go_on_when_one_of_two_forwarders_dies_and_comes_back_and_the_other_dies(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    forwarders = {place: Forwarder(network, place) for place in ("f1", "f2")}
    attach(network, [a, b], *forwarders.values())
    calls: list[Call] = []

    def work(seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            calls.extend([a.call(b), b.call(a)])
            a.publish(b, f"e{len(calls)}")
            network.run(0.01)

    work(1.0)
    for place in ("f1", "f2"):
        forwarders[place].kill()
        work(3.0)
        forwarders[place] = restarted(forwarders[place])
        network.run_until(lambda place=place: forwarders[place].has(a, b), within_s=2.0)  # type: ignore[misc]
        work(0.5)
    network.run(10)
    assert answered(calls)
    assert len(b.heard) == len(set(b.heard)) == len(calls) // 2
    assert a.node.state.counters.resets == b.node.state.counters.resets == 0


def test_pair_stays_with_its_forwarder_when_another_comes(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    a.attach("f1", "f2")
    b.attach("f1", "f2")
    f1 = Forwarder(network, "f1")
    network.run_until(lambda: converged([a, b]), within_s=2.0)
    network.run(0.2)
    f2 = Forwarder(network, "f2")
    network.run_until(lambda: f2.has(a, b), within_s=2.0)
    network.run(5)
    assert forwarder_of(a, b) == f1.endpoint


def test_pairs_that_lose_their_forwarder_are_spread_over_the_others(network: Network) -> None:
    processes = behind_nat(network, *"abcdef")
    f1 = Forwarder(network, "f1")
    attach(network, processes, f1)
    f2, f3 = Forwarder(network, "f2"), Forwarder(network, "f3")
    attach(network, processes, f2, f3)
    network.run_until(lambda: f2.has(*processes) and f3.has(*processes))
    network.run(0.2)
    f1.kill()
    network.run(1)
    pairs = [(forwarder_of(a, b), forwarder_of(b, a)) for a, b in combinations(processes, 2)]
    assert all(one == other for one, other in pairs)
    assert {one for one, _ in pairs} == {f2.endpoint, f3.endpoint}


@pytest.mark.parametrize("fault", ["cut", "wall"])
def test_direct_path_that_breaks_gives_way_to_the_forwarder_and_is_used_again(network: Network, fault: str) -> None:
    a, b = Process(network, "a"), Process(network, "b")
    attach(network, [a, b], Forwarder(network, "f1"))
    network.run_until(lambda: is_direct(a, b), within_s=1.0)
    calls: list[Call] = []

    def work(seconds: float) -> None:
        for _ in range(round(seconds * 20)):
            calls.extend([a.call(b), b.call(a)])
            network.run(0.05)

    work(1.0)
    getattr(network, fault)("a", "b")
    work(5.0)
    assert (path_kind(a, b), path_kind(b, a)) == ("forwarded", "forwarded")
    network.run(100)
    assert a.knows(b)
    network.mend("a", "b")
    work(5.0)
    network.run_until(lambda: is_direct(a, b), within_s=61.0)
    work(1.0)
    network.run(5)
    assert answered(calls)
    assert a.node.state.counters.resets == b.node.state.counters.resets == 0


def test_one_sided_nat_ends_in_one_direct_connection(network: Network) -> None:
    a, b = Process(network, "a"), Process(network, "b")
    del network.listeners[b.endpoint], network.listeners[b.gossip_endpoint]  # nobody reaches it from outside
    attach(network, [a, b], Forwarder(network, "f1"))
    network.run_until(lambda: (path_kind(a, b), path_kind(b, a)) == ("accepted", "direct"), within_s=1.0)
    network.run(30)
    b.change_record(["painter"])
    network.run_until(lambda: a.knows(b), within_s=0.1)


def test_process_that_dies_behind_a_forwarder_is_known_dead_soon(network: Network) -> None:
    a, b, c = behind_nat(network, "a", "b", "c")
    attach(network, [a, b, c], Forwarder(network, "f1"))
    call = a.call(b, deadline_s=None)
    network.run_until(lambda: answered([call]))
    network.run(5)
    b.kill()
    network.run_until(lambda: a.lost(b) and c.lost(b), within_s=3.0)
    assert a.knows(c)


def test_process_that_leaves_is_gone_at_once_for_those_behind_a_forwarder(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    attach(network, [a, b], Forwarder(network, "f1"))
    network.run(3)
    b.leave()
    network.run_until(lambda: a.lost(b), within_s=0.1)
    network.run(5)
    assert b.node_id not in a.node.state.peers


def test_newcomer_of_whom_others_have_told_before_the_forwarder_is_not_taken_for_dead() -> None:
    for seed in range(20):
        network = Network(seed)
        *there, new = behind_nat(network, "a", "b", "c", "d", refuses=True)
        forwarder = Forwarder(network, "f1")
        attach(network, there, forwarder)
        network.run(3)
        network.loss = 0.3  # so that its own greeting does not always come first
        new.attach(forwarder)
        network.run_until(lambda: converged([*there, new]))  # noqa: B023
        network.run(1)
        deaths = [seen for one in there for seen in one.seen if seen.change.change is Change.DIED]
        assert not deaths, f"seed {seed}"


def test_newcomer_that_dies_before_the_forwarder_has_told_of_it_is_known_dead_soon(network: Network) -> None:
    *there, new = behind_nat(network, "a", "b", "c", refuses=True)
    forwarder = Forwarder(network, "f1")
    attach(network, there, forwarder)
    new.attach(forwarder)
    network.run_until(lambda: all(one.knows(new) for one in there))
    new.kill()
    network.run_until(lambda: all(one.lost(new) for one in there), within_s=5.0)


def test_busy_process_behind_a_forwarder_stays_a_member(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    attach(network, [a, b], Forwarder(network, "f1"))
    network.run(3)
    b.freeze(30)
    call = a.call(b)
    network.run(29)
    assert a.knows(b)
    network.run_until(lambda: answered([call]), within_s=5.0)


def test_nodes_forgive_their_only_forwarder_a_quick_restart(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    forwarder = Forwarder(network, "f1")
    attach(network, [a, b], forwarder)
    network.run(20)
    forwarder.kill()
    call = a.call(b)
    network.run(2.5)
    restarted(forwarder)
    network.run_until(lambda: answered([call]), within_s=2.0)
    assert a.node.state.counters.resets == 0


def test_nodes_whose_only_forwarder_is_away_find_each_other_again_when_it_comes_back(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    forwarder = Forwarder(network, "f1")
    attach(network, [a, b], forwarder)
    forwarder.kill()
    network.run_until(lambda: a.lost(b) and b.lost(a), within_s=7.0)
    call = None
    network.run(30)
    restarted(forwarder)
    network.run_until(lambda: converged([a, b]), within_s=3.0)
    call = a.call(b)
    network.run_until(lambda: answered([call]), within_s=1.0)


def test_forwarder_that_ends_sends_its_nodes_to_the_other_at_once(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    forwarders = {f"data://{place}": Forwarder(network, place) for place in ("f1", "f2")}
    attach(network, [a, b], *forwarders.values())
    used = forwarder_of(a, b)
    calls = [a.call(b) for _ in range(20)]
    forwarders[used].drain()
    network.run(0.05)
    assert forwarder_of(a, b) != used
    network.run_until(lambda: answered(calls), within_s=0.2)


def test_forwarder_whose_program_hangs_is_not_used(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    forwarders = {f"data://{place}": Forwarder(network, place) for place in ("f1", "f2")}
    attach(network, [a, b], *forwarders.values())
    used = forwarder_of(a, b)
    forwarders[used].freeze(20)
    call = a.call(b)
    network.run_until(lambda: answered([call]), within_s=6.0)
    assert forwarder_of(a, b) != used
    network.run_until(lambda: a.node.contacts.attachments.missing() == [], within_s=30.0)
    assert a.node.state.counters.resets == 0


def test_gossip_comes_by_one_forwarder_alone_and_only_while_the_direct_way_is_shut(network: Network) -> None:
    a, b = Process(network, "a"), Process(network, "b")
    f1, f2 = Forwarder(network, "f1"), Forwarder(network, "f2")
    network.cut("a", "b")
    attach(network, [a, b], f1, f2)
    network.run(3)
    assert f1.relay.listened + f2.relay.listened == 2
    before = f1.relay.counters.gossip + f2.relay.counters.gossip
    network.run(10)
    assert 16 <= f1.relay.counters.gossip + f2.relay.counters.gossip - before <= 24
    network.mend("a", "b")
    network.run_until(lambda: f1.relay.listened + f2.relay.listened == 0, within_s=5.0)
    network.cut("a", "b")
    network.run_until(lambda: f1.relay.listened + f2.relay.listened == 2, within_s=5.0)


def test_news_spreads_through_forwarders_at_once(network: Network) -> None:
    a, b, c = behind_nat(network, "a", "b", "c")
    attach(network, [a, b, c], Forwarder(network, "f1"))
    network.run(3)
    a.change_record(["painter"])
    network.run_until(lambda: converged([a, b, c]), within_s=0.1)


def test_two_names_of_one_forwarder_make_one_attachment(network: Network) -> None:
    a, b = behind_nat(network, "a", "b")
    forwarder = Forwarder(network, "f1")
    network.listeners["data://alias"] = forwarder
    a.attach("f1", "alias")
    b.attach("f1")
    network.run_until(lambda: converged([a, b]), within_s=2.0)
    network.run(5)
    attached = forwarder.relay.counters.attached
    call = a.call(b)
    network.run_until(lambda: answered([call]), within_s=1.0)
    network.run(60)
    assert forwarder.relay.counters.attached == attached
    assert a.node.contacts.attachments.missing() == []


def test_forwarder_of_another_cluster_is_asked_once_and_told_of(network: Network) -> None:
    a = Process(network, "a")
    forwarder = Forwarder(network, "f1", cluster="other")
    a.attach(forwarder)
    network.run(1)
    envelopes = network.envelopes
    network.run(60)
    assert network.envelopes == envelopes
    assert forwarder.relay.counters.refused == {WireCode.WRONG_CLUSTER.name: 1}
    assert a.node.is_synchronised()


def test_address_behind_which_another_process_of_the_cluster_is_harms_nobody(network: Network) -> None:
    a, b, c = behind_nat(network, "a", "b", "c")
    network.mend("a", "c")
    network.listeners[b.endpoint], network.listeners[b.gossip_endpoint] = c, c  # b's address leads to c from anywhere
    attach(network, [a, b, c], Forwarder(network, "f1"))
    calls: list[Call] = []
    for _ in range(200):
        calls += [a.call(b), b.call(a), a.call(c), c.call(b)]
        network.run(0.5)
    network.run(2)
    assert answered(calls)
    assert path_kind(a, b) == "forwarded"
    assert {process.node.state.counters.resets for process in (a, b, c)} == {0}


def test_nodes_at_different_forwarders_alone_learn_of_each_other_and_calls_between_them_end(network: Network) -> None:
    a, b, c = behind_nat(network, "a", "b", "c")
    f1, f2 = Forwarder(network, "f1"), Forwarder(network, "f2")
    a.attach(f1)
    b.attach(f2)
    c.attach(f1, f2)
    network.run_until(lambda: converged([a, b, c]), within_s=2.0)
    call = a.call(b)
    network.run(30)
    assert call.outcome in (e.Fate.UNDELIVERABLE, e.Fate.PEER_LOST)
    a.attach(f2)
    network.run_until(lambda: path_kind(a, b) == "forwarded", within_s=2.0)
    call = a.call(b)
    network.run_until(lambda: answered([call]), within_s=2.0)
