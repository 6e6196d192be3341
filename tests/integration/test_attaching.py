"""Runtimes that know one another by forwarders alone: real sockets, and forwarders as processes of their own."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from autogen_core import DefaultTopicId, MessageContext, RoutedAgent, default_subscription, message_handler

from tests.integration.agents import Counter, Echo, agent
from tests.integration.clusters import Cluster, eventually, new_cluster, node_of, within
from tests.integration.fault_messages import Add, Added
from tests.integration.forwarders import ForwarderProgram, Lab, clean_environment, new_lab
from tests.integration.load import Load
from tests.integration.messages import Number, Text
from zmqagents import PeerInfo, ZmqAgentRuntime
from zmqagents.protocol.records import Record
from zmqagents.runtime.cluster import Cluster as RuntimeCluster
from zmqagents.transport.base import Bound

pytestmark = pytest.mark.integration

NOWHERE = "tcp://127.0.0.1:9"
"""The discard port, where nobody listens: what the address of a process behind NAT is to others."""
KEYS = ["a", "b", "c", "d"]
A_SECOND = 200


@default_subscription
class Listener(RoutedAgent):
    """Keeps the events that it gets."""

    def __init__(self) -> None:
        super().__init__("a listener")
        self.heard: list[str] = []

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        self.heard.append(message.content)


class Tally(RoutedAgent):
    """Counts the calls that it gets."""

    def __init__(self) -> None:
        super().__init__("a tally")
        self.total = 0

    @message_handler
    async def on_add(self, message: Add, ctx: MessageContext) -> Added:
        self.total += 1
        return Added(os.getpid(), self.total)


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with new_lab() as made:
        yield made


@pytest.fixture
async def cluster(lab: Lab) -> AsyncIterator[Cluster]:
    """Of the same name as the lab's; its nodes get no seeds."""
    async with new_cluster() as made:
        made.name = lab.name
        yield made


@pytest.fixture
def nat(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody can dial a runtime that is started."""
    published = RuntimeCluster._record

    def record(self: RuntimeCluster, bound: Bound) -> Record:
        return replace(published(self, bound), endpoints=(NOWHERE,), gossip_endpoints=(NOWHERE,))

    monkeypatch.setattr(RuntimeCluster, "_record", record)


async def host(
    cluster: Cluster, *forwarders: ForwarderProgram, classes: tuple[type[RoutedAgent], ...] = (), **settings: object
) -> ZmqAgentRuntime:
    url = ",".join(forwarder.endpoint for forwarder in forwarders)
    return await cluster.host(*classes, seeds=[], broker_url=url, **settings)


def the_peer(runtime: ZmqAgentRuntime) -> PeerInfo:
    [peer] = runtime.peers()
    return peer


@pytest.mark.usefixtures("nat")
async def test_calls_events_and_agent_operations_go_through_a_forwarder(lab: Lab, cluster: Cluster) -> None:
    forwarder = await lab.program()
    worker = await host(cluster, forwarder, classes=(Echo, Counter, Listener))
    caller = await host(cluster, forwarder)
    assert the_peer(caller).agent_types == ("counter", "echo", "listener"), "start waits until they know each other"
    assert await within(caller.send_message(Text("hello"), agent("echo"))) == Text("hello")
    big = Text("x" * 3_000_000)
    assert await within(caller.send_message(big, agent("echo"))) == big
    await within(caller.send_message(Number(7), agent("counter", "one")))
    assert await within(caller.agent_save_state(agent("counter", "one"))) == {"total": 7}
    listener = await worker.try_get_underlying_agent_instance(agent("listener"), Listener)
    for number in range(100):
        await caller.publish_message(Text(str(number)), DefaultTopicId())
    await eventually(lambda: len(listener.heard) >= 100)
    assert listener.heard == [str(number) for number in range(100)]
    for one in (worker, caller):
        peer = the_peer(one)
        assert (peer.path, peer.forwarder, peer.source, peer.state) == (
            "forwarded",
            forwarder.endpoint,
            "forwarder",
            "up",
        )


async def test_processes_that_can_reach_each_other_go_direct(lab: Lab, cluster: Cluster) -> None:
    forwarder = await lab.program()
    await host(cluster, forwarder, classes=(Echo,))
    caller = await host(cluster, forwarder)
    await eventually(lambda: the_peer(caller).path in ("direct", "accepted"))
    assert the_peer(caller).forwarder == ""
    await within(forwarder.stop())
    assert await within(caller.send_message(Text("hello"), agent("echo"))) == Text("hello")


@pytest.mark.usefixtures("nat")
async def test_no_call_fails_when_one_forwarder_is_killed_and_comes_back_and_the_other_is_killed(
    lab: Lab, cluster: Cluster
) -> None:
    forwarders = [await lab.program(), await lab.program()]
    worker = await host(cluster, *forwarders, classes=(Tally,))
    caller = await host(cluster, *forwarders)
    used = [the_peer(caller).forwarder == forwarder.endpoint for forwarder in forwarders].index(True)
    async with Load(caller, KEYS).on(A_SECOND) as load:
        await eventually(lambda: sum(load.answered.values()) > A_SECOND / 2)
        forwarders[used].kill()
        before = load.sent
        await eventually(lambda: sum(load.answered.values()) > before + A_SECOND)
        assert the_peer(caller).forwarder == forwarders[1 - used].endpoint
        forwarders[used] = await lab.program(bind=forwarders[used].endpoint)
        await eventually(lambda: not node_of(caller).contacts.attachments.missing())
        await eventually(lambda: not node_of(worker).contacts.attachments.missing())
        forwarders[1 - used].kill()
        before = load.sent
        await eventually(lambda: sum(load.answered.values()) > before + A_SECOND)
    assert load.failures == []
    assert sum(load.answered.values()) == load.sent
    assert {key: load.highest[key] for key in KEYS} == dict(load.answered), "each call was handled once"
    assert the_peer(caller).forwarder == forwarders[used].endpoint


@pytest.mark.usefixtures("nat")
async def test_no_call_fails_when_a_forwarder_is_told_to_end(lab: Lab, cluster: Cluster) -> None:
    forwarders = [await lab.program(), await lab.program()]
    await host(cluster, *forwarders, classes=(Tally,))
    caller = await host(cluster, *forwarders)
    used = [the_peer(caller).forwarder == forwarder.endpoint for forwarder in forwarders].index(True)
    async with Load(caller, KEYS).on(A_SECOND) as load:
        await eventually(lambda: sum(load.answered.values()) > A_SECOND / 2)
        forwarders[used].signal(signal.SIGTERM)
        await eventually(lambda: the_peer(caller).forwarder == forwarders[1 - used].endpoint)
        assert await forwarders[used].exit_code() == 0
    assert load.failures == []
    assert load.slowest_s < 1.0


@pytest.mark.usefixtures("nat")
async def test_forwarder_that_is_not_there_at_the_start_is_used_once_it_is(
    lab: Lab, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    forwarder = await lab.program()
    await within(forwarder.stop())
    with caplog.at_level(logging.WARNING, "zmqagents"):
        worker = await host(cluster, forwarder, classes=(Echo,), join_timeout_s=0.3)
    [warning] = [record.getMessage() for record in caplog.records if "No forwarder" in record.getMessage()]
    assert forwarder.endpoint in warning
    caller = await host(cluster, forwarder, join_timeout_s=0.3)
    assert worker.peers() == caller.peers() == []
    await lab.program(bind=forwarder.endpoint)
    assert await within(caller.send_message(Text("hello"), agent("echo"))) == Text("hello")


@pytest.mark.usefixtures("nat")
async def test_one_missing_forwarder_of_two_holds_up_no_start(
    lab: Lab, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    gone, forwarder = await lab.program(), await lab.program()
    await within(gone.stop())
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await host(cluster, gone, forwarder, classes=(Echo,), join_timeout_s=8.0)
    caller = await host(cluster, gone, forwarder, join_timeout_s=8.0)
    assert loop.time() - began_s < 8.0
    assert await within(caller.send_message(Text("hello"), agent("echo"))) == Text("hello")
    assert re.search(rf"No forwarder answers at {gone.endpoint} yet", caplog.text)


@pytest.mark.usefixtures("nat")
async def test_forwarder_with_another_key_lets_nobody_in(lab: Lab, cluster: Cluster) -> None:
    key, other = "0123456789abcdef" * 2, "fedcba9876543210" * 2
    forwarder = await lab.program(environment={**clean_environment(), "ZMQAGENTS_CLUSTER_KEY": key})
    worker = await host(cluster, forwarder, classes=(Echo,), cluster_key=key)
    await host(cluster, forwarder, cluster_key=other, join_timeout_s=0.5)
    caller = await host(cluster, forwarder, cluster_key=key)
    assert await within(caller.send_message(Text("hello"), agent("echo"))) == Text("hello")
    assert len(worker.peers()) == 1


@pytest.mark.usefixtures("nat")
async def test_runtime_that_stops_is_gone_for_the_others_at_once(lab: Lab, cluster: Cluster) -> None:
    forwarder = await lab.program()
    worker = await host(cluster, forwarder, classes=(Echo,))
    caller = await host(cluster, forwarder)
    await within(worker.stop())
    await eventually(lambda: caller.peers() == [], 1.0)
