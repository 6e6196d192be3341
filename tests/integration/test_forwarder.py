"""A forwarder over real sockets, with nodes that are nothing but a DEALER."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import AsyncIterator

import pytest

from tests.integration.clusters import eventually, within
from tests.integration.forwarders import Lab, RawNode, new_lab
from tests.integration.lines import new_line
from tests.integration.processes import Launch
from zmqagents import ConfigError
from zmqagents.errors import WireCode
from zmqagents.forwarder import Forwarder
from zmqagents.keys import make_key
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import Delta, encode_envelope, encode_gossip
from zmqagents.protocol.relay import Relay

pytestmark = pytest.mark.integration

KEY, OTHER_KEY = make_key(), make_key()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with new_lab() as made:
        yield made


def relay_of(forwarder: Forwarder) -> Relay:
    assert forwarder.relay is not None
    return forwarder.relay


@pytest.mark.parametrize("key", [None, KEY], ids=["no key", "key"])
async def test_nodes_see_each_other_and_what_they_write_goes_on_as_it_is(lab: Lab, key: str | None) -> None:
    forwarder = await lab.forwarder(cluster_key=key)
    a, b = await lab.attached(forwarder, key=key), await lab.attached(forwarder, key=key)
    await a.until(lambda: b.node_id in a.roster)
    written = [a.write(b, payload) for payload in (b"", b"x" * 4_000, b"y" * 5_000, os.urandom(3 << 20), b"z")]
    await b.until(lambda: len(b.got) == len(written))
    assert b.got == written
    answer = b.write(a)
    await a.until(lambda: a.got)
    assert a.got == [answer]
    assert relay_of(forwarder).counters.envelopes == 6
    assert forwarder.waiting[0] == 0


async def test_message_of_many_large_parts_goes_on(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a, b = await lab.attached(forwarder), await lab.attached(forwarder)
    frames: list[f.Frame] = [f.Reply(n, "T", "b", os.urandom(20_000 + n)) for n in range(200)]
    parts = encode_envelope(f.Envelope(a.node_id, b.node_id, 1, 1, 0, 0, frames))
    a.socket.send_multipart(parts)
    await b.until(lambda: b.got)
    assert b.got == [parts]
    await eventually(lambda: forwarder.waiting == (0, 0))


async def test_envelope_in_the_name_of_another_goes_nowhere(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a, b, c = [await lab.attached(forwarder) for _ in range(3)]
    parts = encode_envelope(f.Envelope(c.node_id, b.node_id, 1, 1, 0, 0, [f.Cancel(1)]))
    a.socket.send_multipart(parts)
    a.write(b)
    await b.until(lambda: b.got)
    assert len(b.got) == 1
    assert relay_of(forwarder).counters.strays == 1


async def test_sender_is_told_that_a_destination_is_not_attached(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a = await lab.attached(forwarder)
    stranger = lab.node(forwarder)
    a.write(stranger)
    await a.until(lambda: any(stranger.node_id in roster.gone for roster in a.rosters))
    assert relay_of(forwarder).counters.dropped == {"not attached": 1}


async def test_gossip_goes_to_those_who_listen(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a, b, c = [await lab.attached(forwarder) for _ in range(3)]
    b.tell(f.Listen(True, [a.node_id], []))
    await eventually(lambda: relay_of(forwarder).listened == 1)
    gossip = encode_gossip(Delta(a.node_id, [os.urandom(10_000)], [[os.urandom(15) + b"x", 1] for _ in range(1_000)]))
    a.socket.send_multipart(gossip)
    await b.until(lambda: b.got)
    assert b.got == [gossip]
    c.hear()
    assert c.got == []


async def test_node_of_another_cluster_is_told_so(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    stranger = lab.node(forwarder)
    stranger.tell(f.Attach(1, 1, "another", 1))
    await stranger.until(lambda: stranger.byes)
    assert stranger.byes[0].code == WireCode.WRONG_CLUSTER
    assert lab.name in stranger.byes[0].text


async def test_node_beyond_the_most_is_told_so_until_one_leaves(lab: Lab) -> None:
    forwarder = await lab.forwarder(max_peers=2)
    a, b = await lab.attached(forwarder), await lab.attached(forwarder)
    c = lab.node(forwarder)
    c.tell(f.Attach(1, 1, lab.name, 7))
    await c.until(lambda: c.byes)
    assert c.byes[0].code == WireCode.FULL
    a.tell(f.Bye(0, ""))
    await b.until(lambda: b.roster == {b.node_id})
    await c.attach()


async def test_node_that_closes_its_connection_is_gone_for_the_others_at_once(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a, b = await lab.attached(forwarder), await lab.attached(forwarder)
    await a.until(lambda: b.node_id in a.roster)
    b.socket.close()
    await a.until(lambda: b.node_id not in a.roster, deadline_s=0.9)


async def test_killed_process_is_gone_for_the_others_in_under_a_second(lab: Lab, launch: Launch) -> None:
    forwarder = await lab.forwarder()
    a = await lab.attached(forwarder)
    program = await launch("raw_nodes", endpoint=forwarder.endpoints[0], cluster=lab.name, count=3)
    await program.report("attached")
    await a.until(lambda: len(a.roster) == 4)
    program.kill()
    await a.until(lambda: a.roster == {a.node_id}, deadline_s=0.9)


async def test_stopped_process_is_gone_when_zmtp_hears_nothing_of_it(lab: Lab, launch: Launch) -> None:
    forwarder = await lab.forwarder()
    a = await lab.attached(forwarder)
    program = await launch("raw_nodes", endpoint=forwarder.endpoints[0], cluster=lab.name, count=1)
    await program.report("attached")
    await a.until(lambda: len(a.roster) == 2)
    program.signal(signal.SIGSTOP)
    await a.until(lambda: a.roster == {a.node_id}, deadline_s=5)


async def test_process_that_reads_nothing_for_a_while_stays_attached(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a, busy = await lab.attached(forwarder), await lab.attached(forwarder)
    await a.until(lambda: busy.node_id in a.roster)
    heard = len(a.rosters)
    await a.until(lambda: len(a.rosters) >= heard + 4)  # a second apart
    assert busy.node_id in a.roster


async def test_process_that_says_nothing_is_attached_again_when_its_connection_was_lost_for_a_moment(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a = await lab.attached(forwarder)
    async with new_line() as line:
        line.target = int(forwarder.endpoints[0].rpartition(":")[2])
        busy = lab.node(forwarder, via=line)
        await busy.attach()
        await a.until(lambda: busy.node_id in a.roster)
        assert line.cut() == 1
        await busy.until(lambda: a.write(busy) and busy.got, deadline_s=3)  # what comes before it is back is dropped
        await a.until(lambda: busy.node_id in a.roster)


async def test_slow_reader_holds_up_nobody_and_costs_a_bounded_amount(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a, b, slow = [await lab.attached(forwarder) for _ in range(3)]
    payload = os.urandom(1 << 20)
    for number in range(1, 201):
        a.write(slow, payload, number)
        a.write(b, number=number)
        if not number % 10:
            await b.until(lambda: len(b.got) >= number)  # noqa: B023 - it is over before the next
    assert 0 < forwarder.waiting[1] <= 34 << 20
    assert relay_of(forwarder).counters.dropped["queue full"] > 50
    got = 0

    async def read_on() -> None:
        nonlocal got
        while forwarder.waiting[0]:
            slow.hear()
            await asyncio.sleep(0.001)

    await within(read_on())
    await slow.until(lambda: slow.rosters[-1].whole)  # it may have missed a change
    got = len(slow.got)
    assert slow.roster == {a.node_id, b.node_id, slow.node_id}
    assert [b"".join(parts[1:]) == payload for parts in slow.got] == [True] * got
    await eventually(lambda: forwarder.waiting == (0, 0))


async def test_small_messages_for_a_slow_reader_are_bounded_too(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a, b, slow = [await lab.attached(forwarder) for _ in range(3)]
    for number in range(1, 12_001):
        a.write(slow, b"x" * 2_000, number)
        if not number % 500:
            a.write(b, number=number)
            await b.until(lambda: len(b.got) >= number // 500)  # noqa: B023
    messages, size_bytes = forwarder.waiting
    assert messages <= 4_096
    assert size_bytes < 33 << 20
    assert relay_of(forwarder).counters.dropped["queue full"] > 0


async def test_what_waits_for_a_node_goes_with_it(lab: Lab) -> None:
    forwarder = await lab.forwarder()
    a, slow = await lab.attached(forwarder), await lab.attached(forwarder)
    for number in range(1, 161):  # more than it has room for, with what is on its way
        a.write(slow, b"x" * (1 << 20), number)
    await eventually(lambda: forwarder.waiting[0])
    slow.socket.close()
    await a.until(lambda: slow.node_id not in a.roster)
    await eventually(lambda: forwarder.waiting == (0, 0))


@pytest.mark.parametrize(
    ("theirs", "said"), [(OTHER_KEY, "another cluster key"), (None, "has no cluster key")], ids=["another", "none"]
)
async def test_node_with_another_key_or_none_is_not_let_in_and_one_line_says_so(
    lab: Lab, caplog: pytest.LogCaptureFixture, theirs: str | None, said: str
) -> None:
    caplog.set_level(logging.INFO, logger="zmqagents.forwarder")
    forwarder = await lab.forwarder(cluster_key=KEY)
    # As soon as libzmq sees that the other side wants a key it hangs up for good, at times before it has said that it
    # has none; then there is nothing to report, and the dialling starts anew as a runtime's does.
    strangers: list[RawNode] = []
    while "no connection with" not in caplog.text:
        assert len(strangers) < 20
        strangers.append(lab.node(forwarder, key=theirs))
        strangers[-1].tell(f.Attach(1, 1, lab.name, 1))
        with contextlib.suppress(AssertionError):
            await eventually(lambda: "no connection with" in caplog.text, 2.0)
    lines = [record.getMessage() for record in caplog.records if "no connection with" in record.getMessage()]
    assert len(lines) == 1
    assert said in lines[0]
    assert KEY not in caplog.text
    for stranger in strangers:
        stranger.hear()
        assert not stranger.rosters
    assert not relay_of(forwarder).attached


async def test_forwarder_whose_port_is_taken_says_what_to_do(lab: Lab) -> None:
    first = await lab.forwarder()
    with pytest.raises(ConfigError, match=r"--bind tcp://127.0.0.1:\d+: the port is taken"):
        await lab.forwarder(bind=first.endpoints)
    with pytest.raises(ConfigError, match="not an address of this machine"):
        await lab.forwarder(bind=("tcp://192.0.2.1:0",), cluster_key=KEY)


async def test_forwarder_listens_at_several_addresses(lab: Lab) -> None:
    forwarder = await lab.forwarder(bind=("tcp://127.0.0.1:0", "tcp://[::1]:0"))
    a = await lab.attached(forwarder)
    b = lab.node(forwarder, place=1)
    await b.attach()
    await a.until(lambda: b.node_id in a.roster)


async def test_stop_sends_the_nodes_away_and_relays_until_they_have_gone(lab: Lab) -> None:
    forwarder = await lab.forwarder(drain_s=5)
    a, b = await lab.attached(forwarder), await lab.attached(forwarder)
    stopping = asyncio.ensure_future(forwarder.stop())
    for node in (a, b):
        await node.until(lambda: node.byes)  # noqa: B023
        assert node.byes[0].code == 0
        assert node.roster == set()
    a.write(b)
    await b.until(lambda: b.got)
    assert not stopping.done()
    for node in (a, b):
        node.tell(f.Bye(0, ""))
    await within(stopping, 2)


async def test_stop_ends_after_the_drain_time_though_nodes_stay(lab: Lab) -> None:
    forwarder = await lab.forwarder(drain_s=0.2)
    await lab.attached(forwarder)
    await within(forwarder.stop(), 2)
    await within(forwarder.stop(), 1)


async def test_restarted_forwarder_is_used_again(lab: Lab) -> None:
    first = await lab.forwarder(drain_s=0)
    a: RawNode = await lab.attached(first)
    await first.stop()
    second = await lab.forwarder(bind=first.endpoints)
    a.rosters.clear()
    await a.attach()
    await eventually(lambda: set(relay_of(second).attached) == {a.node_id})
