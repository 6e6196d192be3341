"""Events on their way: one way at a time, in order, to the end."""

from __future__ import annotations

from msgspec.structs import replace

from tests.unit.protocol.agents.wiring import Site, Wiring, key_that_goes, keys_at, node_id
from tests.unit.protocol.builders import event
from zmqagents.protocol.agents.residents import Stay
from zmqagents.protocol.agents.routes import MAX_LOSSES
from zmqagents.protocol.bounds import MAX_EVENT_HOPS
from zmqagents.protocol.events import Origin
from zmqagents.protocol.frames import Event
from zmqagents.protocol.records import Phase


def settled(wiring: Wiring) -> tuple[Site, Site, Site, str]:
    """A publisher, a host that has an agent, and the agent's home, which is another."""
    caller, one = wiring.join(0), wiring.join(1, ["worker"])
    key = key_that_goes(one, node_id(2))
    one.call(key, "first")
    two = wiring.join(2, ["worker"])
    caller.node.agency.locations.forget(key)
    return caller, one, two, key


def test_event_is_forwarded_and_finished_for_its_publisher_only_when_its_handler_has_ended(wiring: Wiring) -> None:
    caller, one, two, key = settled(wiring)
    one.slow.add(key)
    caller.publish("e", key)
    wiring.settle()
    assert one.seen(key) == ["first", "e"]
    before = (two.node.agency.routes.forwarded, two.node.agency.is_empty, caller.node.unfinished_events)
    one.finish(key)
    wiring.settle()
    after = (two.node.agency.routes.forwarded, two.node.agency.is_empty, caller.node.unfinished_events)
    assert (before, after) == ((1, False, 1), (0, True, 0))


def test_event_waits_while_an_earlier_one_is_unfinished_on_the_old_way(wiring: Wiring) -> None:
    caller, one, _, key = settled(wiring)
    one.slow.add(key)
    caller.publish("a", key)
    wiring.settle()
    assert caller.node.agency.locations.target(key) == one.node_id
    caller.publish("b", key)
    wiring.settle()
    assert one.seen(key) == ["first", "a"]
    assert caller.node.unfinished_events == 2
    one.finish(key)
    wiring.settle()
    assert one.seen(key) == ["first", "a", "b"]


def test_events_of_others_do_not_wait_for_that(wiring: Wiring) -> None:
    caller, one, two, key = settled(wiring)
    one.slow.add(key)
    caller.publish("a", key)
    wiring.settle()
    wiring.join(3).publish("b", key)
    two.publish("c", key)
    wiring.settle()
    assert sorted(one.seen(key)) == ["a", "b", "c", "first"]


def test_one_event_for_several_agents_is_finished_when_all_have_ended_wherever_they_are(wiring: Wiring) -> None:
    caller, one, two, away = settled(wiring)
    [here] = keys_at(two, 1) if keys_at(two, 1) != [away] else keys_at(two, 2)[1:]
    one.slow.add(away)
    caller.publish_together("e", away, here)
    wiring.settle()
    assert two.seen(here) == ["e"]
    assert one.seen(away) == ["first", "e"]
    assert caller.node.unfinished_events == 1
    one.finish(away)
    wiring.settle()
    assert caller.node.unfinished_events == 0


def test_event_that_two_nodes_would_send_each_other_is_delivered(wiring: Wiring) -> None:
    one, two, three = wiring.join(1), wiring.join(2), wiring.join(3, ["worker"])
    one.node.agency.locations.learn("worker/a", two.node_id)
    two.node.agency.locations.learn("worker/a", one.node_id)
    for text in "abc":
        one.publish(f"1{text}", "worker/a")
        two.publish(f"2{text}", "worker/a")
    wiring.settle()
    seen = three.seen("worker/a")
    assert [text for text in seen if text[0] == "1"] == ["1a", "1b", "1c"]
    assert [text for text in seen if text[0] == "2"] == ["2a", "2b", "2c"]
    assert one.node.unfinished_events == two.node.unfinished_events == 0


def test_event_that_comes_back_does_not_wait_for_itself(wiring: Wiring) -> None:
    one, two = wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    three = wiring.join(3, ["worker"], phase=Phase.JOINING)
    wiring.hold(two, three)
    three.become(Phase.ACTIVE)
    wiring.settle()
    two.become(Phase.LEAVING)  # and takes node 1 for the only host
    wiring.settle()
    [key] = keys_at(three)
    one.node.agency.locations.learn(key, two.node_id)
    for text in "ab":
        one.publish(text, key)
    wiring.settle(lambda: two.node.agency.routes.forwarded == 2)
    wiring.release(two, three)
    wiring.settle()
    assert three.seen(key) == ["a", "b"]
    assert one.node.unfinished_events == 0


def test_event_comes_behind_those_before_it_when_the_agent_comes_to_its_forwarder(wiring: Wiring) -> None:
    caller, one, two, key = settled(wiring)
    one.slow.add(key)
    one.call(key, "running")
    one.become(Phase.LEAVING)
    caller.publish("a", key)
    wiring.settle()  # it waits at node 1 now, and comes back from there behind the agent
    caller.node.agency.locations.learn(key, two.node_id)
    caller.publish("b", key)
    wiring.hold(caller, two)
    one.finish(key)
    wiring.settle(lambda: two.stay(key) is Stay.ACTIVE)
    while wiring.wires[caller.node_id, two.node_id]:
        wiring.deliver((caller.node_id, two.node_id))
    wiring.release(caller, two)
    wiring.settle()
    assert two.seen(key) == ["first", "running", "a", "b"]
    assert caller.node.unfinished_events == 0


def test_event_that_comes_back_by_the_same_way_does_not_wait_and_what_follows_it_does(wiring: Wiring) -> None:
    caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    routes, locations = caller.node.agency.routes, caller.node.agency.locations
    sent: list[tuple[bytes, str]] = []

    def send(node_id: bytes, event: Event, origin: Origin | None) -> bool:
        sent.append((node_id, event.message_id))
        return True

    routes._send = send
    locations.learn("worker/a", one.node_id)
    routes.send_on(event("e"), Origin(two.node_id, 1, 0))
    locations.learn("worker/a", two.node_id)
    routes.send_on(event("later"), Origin(two.node_id, 2, 0))
    routes.send_on(replace(event("e"), hops=2), Origin(two.node_id, 3, 2))
    assert sent == [(one.node_id, "e"), (two.node_id, "e")]
    assert routes.waiting == 1


def test_unfinished_events_of_a_lost_node_go_to_the_next_one_in_order(wiring: Wiring) -> None:
    caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    [key] = keys_at(two)
    two.slow.add(key)
    for text in "abc":
        caller.publish(text, key)
    wiring.settle()
    caller.node.agency.locations.learn(key, one.node_id)
    caller.publish("d", key)
    wiring.die(two)
    wiring.pass_time(0.5)
    assert one.seen(key) == ["a", "b", "c", "d"]
    assert caller.node.unfinished_events == 0


def test_event_that_was_sent_on_too_often_is_dead_and_finished_for_its_sender(wiring: Wiring) -> None:
    caller, one, two = wiring.join(0), wiring.join(1, ["worker"]), wiring.join(2, ["worker"])
    [key] = keys_at(two)
    tired = replace(event("e", [key], "e"), hops=MAX_EVENT_HOPS)
    caller.node.publish(one.node_id, tired, wiring.now_s)
    caller.work()
    wiring.settle()
    [(message_id, reason)] = one.dead
    assert message_id == "e"
    assert reason.startswith("it was sent on too often")
    assert caller.node.unfinished_events == 0
    assert not two.handled


def test_event_whose_way_was_lost_too_often_is_dead(wiring: Wiring) -> None:
    """As it may be what ends each process that handles it."""
    caller, host = wiring.join(0), wiring.join(1, ["worker"])
    host.slow.add("worker/a")
    caller.publish("e", "worker/a")
    wiring.settle()
    for number in range(2, MAX_LOSSES + 3):
        assert (host.seen("worker/a"), caller.dead) == (["e"], [])
        successor = wiring.join(number, ["worker"])
        successor.slow.add("worker/a")
        wiring.die(host)
        wiring.pass_time(0.5)
        host = successor
    assert caller.dead == [("e", "the link with its home was lost each time")]
    assert not caller.node.agency.routes._losses


def test_event_has_no_way_left_when_the_last_host_is_gone(wiring: Wiring) -> None:
    caller, one = wiring.join(0), wiring.join(1, ["worker"])
    one.slow.add("worker/a")
    caller.publish("a", "worker/a")
    wiring.settle()
    wiring.die(one)
    caller.publish("b", "worker/a")
    assert caller.dead == [("a", "no process hosts its type"), ("b", "no process hosts its type")]
    assert not caller.node.agency.routes.ways


def test_forwarder_keeps_what_it_forwards_when_the_publisher_is_gone(wiring: Wiring) -> None:
    caller, one, two, key = settled(wiring)
    one.slow.add(key)
    caller.publish("e", key)
    wiring.settle()
    wiring.die(caller)
    one.finish(key)
    wiring.settle()
    assert two.node.agency.is_empty
    assert one.seen(key) == ["first", "e"]
