"""Processes that are wrongly taken for dead, ports that change hands, and bytes that break the rules."""

from __future__ import annotations

from tests.simulation.network import Network
from tests.simulation.process import Process, converged, start
from tests.unit.protocol.builders import make_record, node_id
from zmqagents.errors import WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import encode_envelope, pack_records
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.membership import Change
from zmqagents.protocol.records import encode_record


def envelope(source: bytes, to: Process, *frames: f.Frame, session: int = 1, first: int = 0) -> list[f.Part]:
    return encode_envelope(f.Envelope(source, to.node_id, session, first, 0, 0, list(frames)))


class TestBurial:
    def test_process_that_was_wrongly_buried_refutes_and_is_back_with_working_links(self) -> None:
        network = Network()
        a, b, c = start(network, "a", "b", "c")
        version = b.node.record.version
        a.do(lambda: a.node._bury(b.node_id, network.now_s))
        assert a.lost(b)
        network.run_until(lambda: converged([a, b, c]), within_s=5.0)
        assert b.node.record.version > version
        calls = [a.call(b), b.call(a), b.call(c), c.call(b)]
        network.run_until(lambda: all(isinstance(call.outcome, f.Reply) for call in calls), within_s=1.0)

    def test_two_processes_that_buried_each_other_are_back_when_a_third_knows_both(self) -> None:
        network = Network()
        a, b, c = start(network, "a", "b", "c")
        for one, other in ((a, b), (b, a)):
            one.do(lambda one=one, other=other: one.node._bury(other.node_id, network.now_s))  # type: ignore[misc]
        assert a.lost(b)
        assert b.lost(a)
        network.run_until(lambda: converged([a, b, c]), within_s=6.0)
        call = a.call(b)
        network.run_until(lambda: isinstance(call.outcome, f.Reply), within_s=1.0)

    def test_wall_between_two_processes_disturbs_neither_their_links_with_a_third_nor_its_table(self) -> None:
        network = Network()
        a, b, c = start(network, "a", "b", "c")
        network.wall("a", "b")
        calls = []
        for _ in range(300):
            calls += [a.call(c), c.call(a), b.call(c), c.call(b)]
            network.run(0.2)
            assert c.members == {"a", "b", "c"}
        assert all(isinstance(call.outcome, f.Reply) for call in calls)
        assert max(a.node.record.version, b.node.record.version) < 60, "refuted no more often than news goes round"
        assert c.node.state.counters.resets == 0

    def test_two_processes_that_buried_each_other_are_back_when_one_is_the_seed_of_the_other(self) -> None:
        network = Network()
        a, b = Process(network, "a"), Process(network, "b")
        a.seed("b")
        network.run_until(lambda: converged([a, b]))
        network.cut("a", "b")
        network.run_until(lambda: a.lost(b) and b.lost(a), within_s=8.0)
        network.mend("a", "b")
        network.run_until(lambda: converged([a, b]), within_s=6.0)

    def test_partition_heals_when_seeds_lead_across_it(self) -> None:
        network = Network()
        left, right = [Process(network, name) for name in "abc"], [Process(network, name) for name in "xyz"]
        for process in (*left[1:], *right):
            process.seed("a")
        network.run_until(lambda: converged([*left, *right]))
        for one in left:
            for other in right:
                network.cut(one.name, other.name)
        network.run_until(lambda: converged(left) and converged(right), within_s=12.0)
        left[1].change_record(["painter"])
        right[1].change_record(["cook"])
        for one in left:
            for other in right:
                network.mend(one.name, other.name)
        network.run_until(lambda: converged([*left, *right]), within_s=15.0)

    def test_peer_that_is_no_member_is_forgotten_after_a_while(self) -> None:
        network = Network()
        a, b, c = start(network, "a", "b", "c")
        b.node.leave()
        b._settle()
        network.run(0.05)
        b.inject(a, envelope(b.node_id, a, f.Ack(gap=False)))  # its last words, after it had left
        network.run(0.05)
        b.kill()
        network.run(10.0)
        assert a.node.state.peers.keys() == {c.node_id}
        assert a.node.is_synchronised()


class TestPorts:
    def test_caller_is_told_when_another_process_has_taken_the_port(self) -> None:
        network = Network()
        a, b = start(network, "a", "b", handler_s=None)
        call = a.call(b)
        network.run(0.1)
        b.kill()
        new = Process(network, "new", port="b")
        network.run_until(lambda: bool(call.outcomes), within_s=1.0)
        assert call.outcome is Fate.PEER_LOST
        assert a.lost(b)
        assert new.executed.total() == 0
        assert new.strays[0].code is WireCode.WRONG_NODE

    def test_answer_to_what_was_meant_for_its_predecessor_buries_nobody(self) -> None:
        network = Network()
        a, b = start(network, "a", "b")
        a.call(b)  # so that there is a connection that a has dialled
        network.run(0.1)
        bye = envelope(b.node_id, a, f.Bye(WireCode.WRONG_NODE, "not here"), session=0)
        assert b._send_raw(a.node_id, bye)
        network.run(0.1)
        assert Change.DIED not in [seen.change.change for seen in a.seen]

    def test_process_that_was_started_again_at_its_old_port_takes_its_place(self) -> None:
        network = Network()
        a, b, c = start(network, "a", "b", "c")
        b.kill()
        new = Process(network, "new", port="b", types=["worker"])
        new.seed("a")
        network.run_until(lambda: converged([a, c, new]), within_s=8.0)
        network.run(20.0)
        assert converged([a, c, new])
        call = a.call(new)
        network.run_until(lambda: isinstance(call.outcome, f.Reply), within_s=1.0)

    def test_member_known_by_gossip_alone_whose_port_was_taken_is_lost(self) -> None:
        network = Network()
        a, b, c = (Process(network, name) for name in "abc")
        a.sight(c)
        b.sight(c)
        network.run_until(lambda: converged([a, b, c]))
        b.kill()
        new = Process(network, "new", port="b")
        new.sight(c)
        network.run_until(lambda: converged([a, c, new]), within_s=10.0)
        new.change_record(["painter"])
        network.run_until(lambda: converged([a, c, new]), within_s=0.1)

    def test_refused_dials_cost_no_envelopes_while_the_peer_is_connected_with_us(self) -> None:
        network = Network()
        a, b = start(network, "a", "b")
        del network.listeners[a.endpoint]
        for connection in [one for one in network.connections if one.dial.endpoint == a.endpoint]:
            connection.close()
        network.run(1.0)
        envelopes = network.envelopes
        network.run(60.0)
        assert network.envelopes - envelopes < 10
        call = b.call(a)
        network.run_until(lambda: isinstance(call.outcome, f.Reply), within_s=1.0)

    def test_process_at_a_seed_that_was_replaced_is_found(self) -> None:
        network = Network()
        a, b = Process(network, "a"), Process(network, "b", port="port")
        a.seed("port")
        network.run_until(lambda: converged([a, b]))
        b.kill()
        network.run(10.0)
        new = Process(network, "new", port="port")
        network.run_until(lambda: converged([a, new]), within_s=5.0)

    def test_peer_that_cannot_dial_us_back_is_answered_on_its_own_connection(self) -> None:
        network = Network()
        a, b = Process(network, "a"), Process(network, "b")
        del network.listeners[a.endpoint]
        b.sight(a)
        a.sight(b)
        network.run_until(lambda: converged([a, b]))
        calls = [a.call(b), b.call(a)]
        network.run_until(lambda: all(isinstance(call.outcome, f.Reply) for call in calls), within_s=1.0)
        envelopes = network.envelopes
        network.run(60.0)
        assert network.envelopes - envelopes < 30, "refused dials cost no envelopes"
        assert converged([a, b])


class TestBrokenRules:
    def test_malformed_envelope_on_an_up_link_closes_that_link_only(self) -> None:
        network = Network()
        a, b, c = start(network, "a", "b", "c", handler_s=0.5)
        to_a, to_c = b.call(a), b.call(c)
        network.run(0.1)
        b.inject(a, [b"\xc1 is no msgpack"])
        network.run_until(lambda: bool(to_a.outcomes), within_s=0.1)
        assert to_a.outcome is Fate.PEER_LOST
        assert [stray.code for stray in a.strays] == [WireCode.MALFORMED]
        assert a.strays[0].peer == b.node_id
        assert [refusal.code for refusal in b.refusals] == [WireCode.MALFORMED]
        network.run_until(lambda: isinstance(to_c.outcome, f.Reply), within_s=1.0)
        again = b.call(a)
        network.run_until(lambda: isinstance(again.outcome, f.Reply), within_s=2.0)
        assert converged([a, b, c])

    def test_peer_that_breaks_the_rules_again_and_again_is_greeted_less_and_less_often(self) -> None:
        network = Network()
        a, b = start(network, "a", "b")
        envelopes = network.envelopes
        for _ in range(600):
            b.inject(a, [b"\xc1"])
            network.run(0.1)
        assert network.envelopes - envelopes < 600 + 150
        network.run(20.0)
        call = a.call(b)
        network.run_until(lambda: isinstance(call.outcome, f.Reply), within_s=10.0)

    def test_data_of_a_stranger_is_dropped_and_counted(self) -> None:
        network = Network()
        a, stranger = Process(network, "a"), Process(network, "s")
        stranger.do(lambda: stranger.node.contacts.sighted((a.endpoint,), a.node_id, network.now_s))
        network.run_until(lambda: converged([a, stranger]))
        data = envelope(node_id("unknown"), a, f.Cancel(1), first=1)
        a.do(lambda: a.receive(node_id("unknown"), data))
        assert [(stray.peer, stray.code) for stray in a.strays] == [(node_id("unknown"), WireCode.ILLEGAL_NOW)]
        assert node_id("unknown") not in a.node.state.peers
        assert converged([a, stranger])

    def test_source_that_is_not_the_owner_of_the_connection_is_refused(self) -> None:
        network = Network()
        a, b = start(network, "a", "b")
        forged = envelope(node_id("forged"), a, f.Cancel(1), first=1)
        a.do(lambda: a.receive(b.node_id, forged))
        assert [(stray.peer, stray.code) for stray in a.strays] == [(b.node_id, WireCode.BAD_FIELD)]

    def test_bad_record_in_a_push_disturbs_neither_the_others_nor_the_link(self) -> None:
        network = Network()
        a, b = start(network, "a", "b")
        good = encode_record(make_record("good"))
        for records in ([b"bad", good], [encode_record(make_record("x", cluster="other"))]):
            push = f.SyncPush(0, True, [], pack_records(records))
            a.do(lambda push=push: b.node._sync.pushed(b.node.state.peers[a.node_id], push, network.now_s))  # type: ignore[misc]
        assert b.node.membership.get(node_id("good")) is not None
        assert [stray.code for stray in b.strays] == []
        network.run(0.1)
        assert [stray.code for stray in b.strays] == [WireCode.MALFORMED, WireCode.WRONG_CLUSTER]
        call = a.call(b)
        network.run_until(lambda: isinstance(call.outcome, f.Reply), within_s=0.1)

    def test_malformed_gossip_is_dropped_and_counted(self) -> None:
        network = Network()
        a, b = start(network, "a", "b")
        a.do(lambda: a.receive_gossip([b"zmqagents/1", b"\xc1"]))
        assert [stray.code for stray in a.strays] == [WireCode.MALFORMED]
        assert converged([a, b])

    def test_greeting_with_the_record_of_another_node_is_refused(self) -> None:
        network = Network()
        a = Process(network, "a")
        liar = node_id("liar")
        hello = f.Hello(1, 1, [], "default", 0, encode_record(make_record("victim")))
        a.do(lambda: a.receive(liar, envelope(liar, a, hello)))
        assert [stray.code for stray in a.strays] == [WireCode.BAD_FIELD]
        assert a.members == {"a"}
        assert a.node.state.peers == {}
