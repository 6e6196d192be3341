"""How processes find one another, and what keeps them apart."""

from __future__ import annotations

from itertools import pairwise

from tests.simulation.network import Network
from tests.simulation.process import Process, converged, start
from zmqagents.errors import WireCode
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f


def test_two_processes_find_each_other_by_discovery() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b")
    a.sight(b)
    network.run_until(lambda: converged([a, b]), within_s=0.5)
    network.run_until(lambda: a.node.is_synchronised() and b.node.is_synchronised(), within_s=0.5)


def test_two_processes_find_each_other_by_a_seed() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b")
    a.seed("b")
    assert not a.node.is_synchronised(), "somebody may be there"
    network.run_until(lambda: converged([a, b]) and a.node.is_synchronised(), within_s=0.5)


def test_five_processes_find_one_another_through_one_of_them() -> None:
    network = Network()
    processes = [Process(network, name) for name in "abcde"]
    for process in processes[1:]:
        process.seed("a")
    network.run_until(lambda: converged(processes), within_s=3.0)


def test_processes_that_dial_each_other_at_once_have_one_link() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    calls = [a.call(b), b.call(a)]
    network.run_until(lambda: all(call.outcome for call in calls))
    network.run(5.0)
    assert (a.node.state.counters.resets, b.node.state.counters.resets) == (0, 0)


def test_seed_that_is_not_there_yet_is_found_when_it_comes() -> None:
    network = Network()
    a = Process(network, "a")
    a.seed("b")
    network.run(0.2)
    assert a.node.is_synchronised(), "nobody is there who could tell us anything"
    network.run(30)
    b = Process(network, "b")
    network.run_until(lambda: converged([a, b]), within_s=2.0)


def test_process_that_is_its_own_seed_takes_no_notice() -> None:
    network = Network()
    a = Process(network, "a")
    network.listeners["data://alias"] = a
    a.seed("a", "alias")
    network.run_until(a.node.is_synchronised, within_s=0.5)
    envelopes = network.envelopes
    network.run(60)
    assert a.members == {"a"}
    assert network.envelopes == envelopes, "it doesn't call itself again and again"


def test_two_seeds_of_one_process_lead_to_one_link() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b")
    network.listeners["data://alias"] = b
    a.seed("alias", "b")
    network.run_until(lambda: converged([a, b]) and a.node.is_synchronised(), within_s=1.0)
    call = a.call(b)
    network.run_until(lambda: call.outcome is not None)
    envelopes = network.envelopes
    network.run(60)
    assert network.envelopes - envelopes < 5


def test_process_is_reached_at_its_seed_when_the_endpoints_it_publishes_lead_nowhere() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b")
    network.listeners["data://forwarded"] = b
    del network.listeners[b.endpoint]
    a.sight(b)
    a.seed("forwarded")
    network.run_until(lambda: converged([a, b]), within_s=3.0)
    call = a.call(b)
    network.run_until(lambda: call.outcome is not None, within_s=1.0)


def test_records_spread_at_once_when_they_change() -> None:
    network = Network()
    a, b, c = start(network, "a", "b", "c")
    a.change_record(["painter"])
    network.run_until(lambda: converged([a, b, c]), within_s=0.1)
    assert list(b.node.directory.hosts("painter")) == [a.node_id]


def test_heartbeats_of_a_cluster_come_together_and_no_more_often_for_that() -> None:
    network = Network()
    processes = []
    for name in "abcdefgh":
        processes.append(Process(network, name))
        processes[-1].seed("a")
        network.run(0.37)
    network.run(3.0)
    arrivals: list[float] = []
    first = processes[0]
    receive = first.receive_gossip

    def note(parts: list[f.Part]) -> None:
        arrivals.append(network.now_s)
        receive(parts)

    first.receive_gossip = note  # type: ignore[method-assign]
    network.run(10.0)
    assert 7 * 9 <= len(arrivals) <= 7 * 11
    assert sum(later - earlier > 0.05 for earlier, later in pairwise(arrivals)) <= 11


def test_lost_news_is_repaired_by_heartbeats() -> None:
    network = Network()
    a, b, c = start(network, "a", "b", "c")
    network.run_until(a.node.is_quiet, within_s=1.0)
    network.gossip_loss = 1.0
    for other in (b, c):  # no link, so that news would come by gossip alone
        network.blip("a", other.name)
    a.change_record(["painter"])
    network.run(0.04)
    network.gossip_loss = 0.0
    network.run_until(lambda: converged([a, b, c]), within_s=4.0)


def test_news_arrives_although_most_gossip_is_lost() -> None:
    network = Network(3, gossip_loss=0.7)
    processes = start(network, "a", "b", "c", "d")
    for index, process in enumerate(processes):
        process.change_record([f"type{index}"])
    network.run_until(lambda: converged(processes), within_s=20.0)


def test_record_is_known_before_what_was_sent_after_its_change() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    network.gossip_loss = 1.0
    a.node.publish_record(a.node.record)
    version = a.node.record.version
    a.publish(b, "after")
    network.run_until(lambda: len(b.heard) > 0, within_s=0.5)
    known = b.node.membership.get(a.node_id)
    assert known is not None
    assert known.version == version


def test_two_clusters_on_one_network_do_not_mix() -> None:
    network = Network()
    ours = [Process(network, name) for name in "ab"]
    theirs = [Process(network, name, cluster="other") for name in "cd"]
    for process in (*ours, *theirs):
        process.seed("a", "b", "c", "d")
    network.run_until(lambda: converged(ours) and converged(theirs), within_s=3.0)
    network.run(30)
    assert converged(ours)
    assert converged(theirs)
    assert {refusal.code for process in ours for refusal in process.refusals} == {WireCode.WRONG_CLUSTER}


def refused_for(process: Process) -> list[int]:
    return [refusal.code for refusal in process.refusals]


def test_wrong_cluster_is_reported_on_both_sides_once_and_not_asked_again() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b", cluster="other")
    a.seed("b")
    network.run(1.0)
    assert refused_for(a) == refused_for(b) == [WireCode.WRONG_CLUSTER]
    assert a.node.is_synchronised()
    envelopes = network.envelopes
    network.run(60)
    assert network.envelopes == envelopes
    assert a.node.state.peers == b.node.state.peers == {}


def test_version_mismatch_is_reported_on_both_sides_once_and_not_asked_again() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b", protocol=(2, 3))
    a.seed("b")
    network.run(1.0)
    assert refused_for(a) == refused_for(b) == [WireCode.VERSION_MISMATCH]
    assert "1 to 1" in a.refusals[0].text
    assert "2 to 3" in a.refusals[0].text
    envelopes = network.envelopes
    network.run(60)
    assert network.envelopes == envelopes


def test_versions_that_do_not_meet_make_no_storm_between_members_of_one_cluster() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b", protocol=(1, 3))
    c = Process(network, "c", protocol=(2, 3))
    a.seed("b")
    c.seed("b")
    network.run_until(lambda: converged([a, b, c]), within_s=3.0)
    envelopes = network.envelopes
    call = a.call(c)
    network.run(60)
    assert call.outcome is e.Fate.UNDELIVERABLE
    assert network.envelopes - envelopes < 20
    assert WireCode.VERSION_MISMATCH in refused_for(a)
    assert WireCode.VERSION_MISMATCH in refused_for(c)
    again = a.call(c)
    network.run(1.0)
    assert again.outcome is e.Fate.UNDELIVERABLE


def test_process_of_our_cluster_that_takes_the_port_of_one_that_was_refused_is_found() -> None:
    network = Network()
    a, stranger = Process(network, "a"), Process(network, "x", port="x", cluster="other")
    a.seed("x")
    network.run(5.0)
    stranger.kill()
    b = Process(network, "b", port="x")
    network.run_until(lambda: converged([a, b]), within_s=5.0)


def test_many_versions_of_a_record_reach_a_peer_that_was_away_as_one() -> None:
    network = Network()
    a, b = start(network, "a", "b")
    network.cut("a", "b")
    for number in range(3_000):
        a.change_record([f"type{number}"])
    peer = a.node.state.peers[b.node_id]
    assert len(peer.controls) <= 1
    network.run(1.0)
    network.mend("a", "b")
    network.run_until(lambda: converged([a, b]), within_s=5.0)
    assert not any(isinstance(control, f.SyncPush) for control in peer.controls)


def test_data_of_a_process_whose_greeting_was_lost_waits_for_the_next_greeting() -> None:
    network = Network()
    a, b = Process(network, "a"), Process(network, "b")
    a.sight(b)
    network.run_until(lambda: a.node_id in b.node.state.peers and b.node.state.peers[a.node_id].link.peer_session > 0)
    network.loss = 1.0
    network.run(0.0)  # the WELCOME is lost
    network.loss = 0.0
    call = b.call(a)
    network.run(0.1)
    assert a.lost(b)
    assert not a.executed
    network.run_until(lambda: call.outcome is not None, within_s=2.0)
    assert isinstance(call.outcome, f.Reply)
    assert a.knows(b)
