"""Who is known dead when, who is not, and who is back: SPEC.md section 6.4."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.simulation.network import Network
from tests.simulation.process import Process, converged, start
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.records import Phase
from zmqagents.protocol.watch import Standing

KILL_KNOWN_S = 1.0
SILENCE_KNOWN_S = 5.0


def standing(one: Process, other: Process) -> Standing:
    return one.node.contacts.watch.standing(other.node_id, one.network.now_s)


def isolate(network: Network, one: Process, others: list[Process]) -> None:
    for other in others:
        network.cut(one.name, other.name)


def buried_by(process: Process, processes: list[Process]) -> bool:
    return all(other.lost(process) for other in processes if other is not process)


class TestDeath:
    @pytest.mark.parametrize("names", ["ab", "abc", "abcdefgh"])
    def test_killed_process_is_known_dead_by_everybody_in_under_a_second(self, names: str) -> None:
        network = Network()
        processes = start(network, *names)
        processes[-1].kill()
        network.run_until(lambda: buried_by(processes[-1], processes), within_s=KILL_KNOWN_S / 2)
        network.run(30.0)
        assert converged(processes)

    @pytest.mark.parametrize("names", ["ab", "abcde"])
    def test_cut_off_process_is_known_dead_by_everybody_in_under_5_s(self, names: str) -> None:
        network = Network()
        processes = start(network, *names)
        network.run(1.0)
        isolate(network, processes[0], processes[1:])
        network.run(1.0)
        calls = [processes[1].call(processes[0]), processes[0].call(processes[1])]
        network.run_until(lambda: buried_by(processes[0], processes), within_s=SILENCE_KNOWN_S - 1.0)
        assert all(call.outcome is Fate.PEER_LOST for call in calls)

    @pytest.mark.parametrize("names", ["ab", "abcde"])
    def test_frozen_process_is_known_dead_by_everybody_in_under_5_s_and_is_back_when_it_goes_on(
        self, names: str
    ) -> None:
        network = Network()
        processes = start(network, *names)
        network.run(1.0)
        processes[-1].suspend(30.0)
        network.run_until(lambda: buried_by(processes[-1], processes), within_s=SILENCE_KNOWN_S - 0.3)
        network.run(20.0)
        assert converged(processes[:-1])
        network.run_until(lambda: converged(processes), within_s=25.0)

    def test_all_processes_of_one_machine_are_known_dead_in_under_a_second(self) -> None:
        network = Network()
        processes = start(network, *"abcdef")
        for process in processes[3:]:
            process.kill()
        network.run_until(lambda: converged(processes), within_s=KILL_KNOWN_S)

    def test_member_known_by_gossip_alone_is_known_dead_by_everybody_in_under_a_second(self) -> None:
        network = Network()
        processes = [Process(network, name) for name in "abcd"]
        for process in processes[1:]:
            process.seed("a")
        network.run_until(lambda: converged(processes))
        processes[-1].kill()
        network.run_until(lambda: converged(processes), within_s=KILL_KNOWN_S)


class TestSupersession:
    @staticmethod
    def restart(network: Network, old: Process) -> Process:
        new = Process(network, "z", label=old.name, types=["worker"])
        assert new.node.record.started_ms > old.node.record.started_ms
        return new

    def test_next_life_of_a_process_supersedes_the_one_before_at_once(self) -> None:
        network = Network()
        a, b, c = start(network, *"abc")
        network.run(1.0)
        isolate(network, c, [a, b])  # its machine has lost power: silence is all that tells
        new = self.restart(network, c)
        network.cut("c", "z")
        new.sight(a)
        network.run_until(lambda: a.lost(c) and b.lost(c) and a.knows(new) and b.knows(new), within_s=0.5)
        network.run(5.0)
        assert a.members == b.members == new.members == {"a", "b", "c"}

    def test_two_living_processes_with_one_instance_id_both_stay(self) -> None:
        network = Network()
        a, b, c = start(network, *"abc")
        network.run(1.0)
        new = self.restart(network, c)
        new.sight(a, b, c)
        network.run_until(lambda: a.knows(new) and b.knows(new) and c.knows(new), within_s=1.0)
        network.run(5.0)
        version = c.node.record.version
        network.run(60.0)
        assert all(one.knows(other) for one in (a, b, c, new) for other in (a, b, c, new))
        assert c.node.record.version == version, "it is not accused again and again"

    def test_life_that_is_leaving_is_left_to_it(self) -> None:
        network = Network()
        a, b = start(network, *"ab")
        network.run(1.0)
        b.node.publish_record(replace(b.node.record, phase=Phase.LEAVING))
        b._settle()
        new = self.restart(network, b)
        new.sight(a, b)
        network.run(2.0)
        assert a.knows(b)
        assert a.knows(new)


class TestFaultBetweenTwo:
    def test_walled_member_stays_a_member_that_is_unreachable_from_here(self) -> None:
        network = Network()
        a, b, c = start(network, *"abc")
        versions = [process.node.record.version for process in (a, b, c)]
        network.wall("a", "b")
        network.run_until(lambda: standing(a, b) is standing(b, a) is Standing.UNREACHABLE, within_s=1.0)
        for _ in range(120):
            network.run(0.5)
            assert a.members == b.members == c.members == {"a", "b", "c"}
            assert a.node.is_synchronised(), "nobody waits for what it would tell"
        assert standing(a, c) is Standing.UP
        assert [process.node.record.version for process in (a, b, c)] == versions, "nobody had to refute"

    def test_calls_to_an_unreachable_member_end_each(self) -> None:
        network = Network()
        a, b, _ = start(network, *"abc", handler_s=None)
        under_way = a.call(b)
        network.run(0.1)
        network.wall("a", "b")
        network.run_until(lambda: bool(under_way.outcomes), within_s=1.0)
        assert under_way.outcome is Fate.PEER_LOST
        for _ in range(10):
            late = a.call(b)
            network.run_until(lambda: bool(late.outcomes), within_s=2.0)  # noqa: B023 - it is done with in this round
            assert late.outcome is Fate.UNDELIVERABLE

    def test_unreachable_member_costs_few_resets_and_few_envelopes(self) -> None:
        network = Network()
        a, b, _ = start(network, *"abc")
        network.wall("a", "b")
        network.run(10.0)
        envelopes = network.envelopes
        network.run(60.0)
        assert network.envelopes - envelopes < 60
        assert a.node.state.counters.resets == b.node.state.counters.resets == 1

    def test_member_is_reachable_again_once_the_fault_is_mended(self) -> None:
        network = Network()
        a, b, c = start(network, *"abc")
        network.wall("a", "b")
        network.run(20.0)
        network.mend("a", "b")
        network.run_until(lambda: standing(a, b) is standing(b, a) is Standing.UP, within_s=2.0)
        call = a.call(b)
        network.run_until(lambda: bool(call.outcomes), within_s=0.5)
        assert not isinstance(call.outcome, Fate)
        assert converged([a, b, c])

    def test_unreachable_member_that_dies_is_known_dead(self) -> None:
        network = Network()
        a, b, c = start(network, *"abc")
        network.wall("a", "b")
        network.run(30.0)
        b.kill()
        network.run_until(lambda: converged([a, c]), within_s=KILL_KNOWN_S)

    def test_call_ends_when_only_the_data_connection_is_refused(self) -> None:
        network = Network()
        a, b = start(network, *"ab", handler_s=None)
        b.sight(a)
        del network.listeners[b.endpoint], network.listeners[a.endpoint]
        for connection in [one for one in network.connections if one.dial.kind == "data"]:
            connection.close()
        call = a.call(b)
        network.run_until(lambda: bool(call.outcomes), within_s=SILENCE_KNOWN_S)
        assert not a.lost(b)


class TestAccuser:
    def test_process_that_was_asleep_accuses_nobody(self) -> None:
        network = Network()
        processes = start(network, *"abc")
        a = processes[0]
        versions = [process.node.record.version for process in processes]
        a.freeze(30.0)
        network.run(20.0)
        network.blip("a", "b")
        network.blip("a", "c")
        network.run(20.0)
        assert converged(processes)
        assert [process.node.record.version for process in processes] == versions

    def test_refusals_that_were_over_before_it_woke_accuse_nobody(self) -> None:
        network = Network()
        a, b = start(network, *"ab")
        version = b.node.record.version
        a.freeze(10.0)
        network.run(3.0)
        network.wall("a", "b")
        network.run(0.04)  # b is not refused yet
        assert not b.lost(a)
        b.freeze(10.0)
        network.run(2.0)
        network.mend("a", "b")
        network.run(20.0)
        assert converged([a, b])
        assert b.node.record.version == version

    def test_waits_begin_anew_when_it_wakes(self) -> None:
        network = Network()
        a, b = start(network, *"ab")
        version = b.node.record.version
        network.cut("a", "b")
        network.run(2.0)
        a.freeze(8.0)
        b.freeze(8.0)
        network.run(7.95)
        network.mend("a", "b")
        network.run(10.0)
        assert converged([a, b])
        assert b.node.record.version == version

    def test_process_that_was_stopped_accuses_nobody_when_it_goes_on(self) -> None:
        network = Network()
        processes = start(network, *"abc")
        versions = [process.node.record.version for process in processes[1:]]
        processes[0].suspend(30.0)
        network.run(35.0)
        network.run_until(lambda: converged(processes), within_s=20.0)
        assert [process.node.record.version for process in processes[1:]] == versions

    def test_process_that_was_asleep_notices_deaths_soon_after(self) -> None:
        network = Network()
        processes = start(network, *"abc")
        processes[0].freeze(10.0)
        network.run(5.0)
        processes[2].kill()
        network.run(5.0)
        network.run_until(lambda: converged(processes), within_s=2.0)

    def test_busy_process_is_shown_as_busy_and_stays(self) -> None:
        network = Network()
        a, b, c = start(network, *"abc")
        network.run(5.0)
        assert standing(a, b) is Standing.UP
        b.freeze(30.0)
        network.run(4.0)
        assert standing(a, b) is standing(c, b) is Standing.BUSY
        network.run(30.0)
        assert standing(a, b) is Standing.UP
        assert converged([a, b, c])


class TestBehindNat:
    """Processes that nobody can dial: they have connections of their own with a public one."""

    @staticmethod
    def hide(network: Network, process: Process) -> None:
        del network.listeners[process.endpoint], network.listeners[process.gossip_endpoint]

    def test_process_that_cannot_be_dialled_stays_a_member(self) -> None:
        network = Network()
        hidden, public = Process(network, "h"), Process(network, "p")
        self.hide(network, hidden)
        hidden.sight(public)
        network.run_until(lambda: converged([hidden, public]))
        network.run(60.0)
        assert converged([hidden, public])
        hidden.freeze(20.0)
        network.run(19.0)
        assert not public.lost(hidden)

    def test_two_hidden_processes_stay_members_of_each_other(self) -> None:
        network = Network()
        processes = [Process(network, name) for name in "hkp"]
        for hidden in processes[:2]:
            self.hide(network, hidden)
            hidden.sight(processes[2])
        network.run_until(lambda: converged(processes))
        versions = [process.node.record.version for process in processes]
        network.run(60.0)
        assert converged(processes)
        assert [process.node.record.version for process in processes] == versions

    def test_hidden_process_that_is_killed_is_known_dead(self) -> None:
        network = Network()
        processes = [Process(network, name) for name in "hkp"]
        for hidden in processes[:2]:
            self.hide(network, hidden)
            hidden.sight(processes[2])
        network.run_until(lambda: converged(processes))
        network.run(10.0)
        processes[0].kill()
        network.run_until(lambda: converged(processes), within_s=SILENCE_KNOWN_S)


class TestGraves:
    def test_two_processes_that_buried_each_other_are_back_without_seeds(self) -> None:
        network = Network()
        a, b = start(network, *"ab")
        network.cut("a", "b")
        network.run_until(lambda: a.lost(b) and b.lost(a), within_s=SILENCE_KNOWN_S)
        network.run(60.0)
        network.mend("a", "b")
        network.run_until(lambda: converged([a, b]), within_s=20.0)

    def test_two_processes_that_refused_each_other_are_back_without_seeds(self) -> None:
        network = Network()
        a, b = start(network, *"ab")
        network.wall("a", "b")
        network.run_until(lambda: a.lost(b) and b.lost(a), within_s=KILL_KNOWN_S)
        network.run(60.0)
        network.mend("a", "b")
        network.run_until(lambda: converged([a, b]), within_s=20.0)

    def test_halves_of_a_cluster_are_one_again_after_a_partition(self) -> None:
        network = Network()
        processes = start(network, *"abcxyz")
        for one in processes[:3]:
            isolate(network, one, processes[3:])
        network.run_until(lambda: converged(processes[:3]) and converged(processes[3:]), within_s=SILENCE_KNOWN_S)
        network.run(60.0)
        for one in processes[:3]:
            for other in processes[3:]:
                network.mend(one.name, other.name)
        network.run_until(lambda: converged(processes), within_s=20.0)

    def test_buried_process_that_discovery_shows_again_is_dialled_at_once(self) -> None:
        network = Network()
        a, b = start(network, *"ab")
        network.wall("a", "b")
        network.run(120.0)
        network.mend("a", "b")
        a.sight(b)
        network.run_until(lambda: converged([a, b]), within_s=0.5)

    def test_other_process_at_the_port_of_a_dead_one_is_not_disturbed(self) -> None:
        network = Network()
        a, b = start(network, *"ab")
        b.kill()
        network.run(1.0)
        other = Process(network, "o", port="b", cluster="other")
        network.run(60.0)
        assert other.strays == a.strays == []
        assert other.refusals == a.refusals == []
        assert a.members == {"a"}

    def test_connection_with_the_next_process_at_the_port_of_a_dead_one_lasts(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever dials the dead there would end it, as a ROUTER keeps the newest of a node's connections."""
        network = Network()
        a, b = start(network, *"ab")
        b.kill()
        network.run_until(lambda: a.lost(b))
        after = Process(network, "c", port="b")
        a.sight(after)
        network.run_until(lambda: converged([a, after]))
        network.run(10.0)
        connected: list[bytes] = []
        monkeypatch.setattr(after, "shaken", lambda source, connection: connected.append(source))
        network.run(120.0)
        assert connected == []

    def test_dead_are_not_dialled_for_ever(self) -> None:
        network = Network()
        a, _ = start(network, *"ab")
        network.cut("a", "b")
        network.run(590.0)
        assert len(a._dials) == 1, "nobody refuses it"
        network.run(30.0)
        assert a._dials == {}

    def test_joining_does_not_wait_for_the_dead(self) -> None:
        network = Network()
        a, b = start(network, *"ab")
        b.kill()
        network.run_until(lambda: bool(a._dials) and a.lost(b), within_s=5.0)
        assert a.node.is_synchronised()


class TestOtherVersions:
    def test_member_whose_versions_do_not_meet_ours_is_no_home_for_agents_here(self) -> None:
        network = Network()
        old = Process(network, "old", types=["worker"])
        both = Process(network, "both", types=["worker"], protocol=(1, 2))
        new = Process(network, "new", types=["worker"], protocol=(2, 2))
        for process in (old, new):
            process.sight(both)
        network.run_until(lambda: converged([old, both, new]))
        hosts = [set(process.node.directory.hosts("worker")) for process in (old, both, new)]
        ids = [process.node_id for process in (old, both, new)]
        assert hosts == [set(ids[:2]), set(ids), set(ids[1:])]
        new.kill()
        network.run_until(lambda: converged([old, both]), within_s=KILL_KNOWN_S)
