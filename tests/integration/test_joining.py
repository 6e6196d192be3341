"""Joining a cluster: in any order, and knowing everybody who is there already once ``start`` has returned."""

from __future__ import annotations

import asyncio
import re
import signal
import time

import pytest
from autogen_core import DefaultTopicId, MessageContext, RoutedAgent, default_subscription, message_handler
from autogen_core.exceptions import UndeliverableException

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, endpoint_of, eventually, new_name, node_of, within
from tests.integration.messages import Text
from tests.integration.processes import Launch

pytestmark = pytest.mark.integration


@default_subscription
class Listener(RoutedAgent):
    """Keeps what it hears; there is one in each process, since each has a type of its own."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__("listens")
        self._heard = heard

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        self._heard.append(message.content)


async def test_three_processes_that_start_one_after_the_other_reach_each_other(launch: Launch) -> None:
    cluster = new_name()
    members = []
    for name in ("first", "second", "third"):
        members.append(await launch("member", cluster=cluster, instance_id=name, agents=["where"]))
        await members[-1].report("started")
    for member in members:
        await member.ask("wait", type="where", count=3)
    answers = [await member.ask("where", keys=100) for member in members]
    assert answers[0] == answers[1] == answers[2]
    assert set(answers[0]) == {member.pid for member in members}
    for member in members:
        await member.stop()


async def test_first_publish_after_start_reaches_every_process_that_is_there(cluster: Cluster, launch: Launch) -> None:
    members = await asyncio.gather(
        *(launch("member", cluster=cluster.name, agents=["listener"], rename={"listener": f"l{n}"}) for n in range(3))
    )
    for member in members:
        await member.report("started")
    publisher = cluster.make(discovery="mdns")
    await within(publisher.start())
    await publisher.publish_message(Text("news"), DefaultTopicId())
    assert sorted([(await member.report("event"))["agent"] for member in members]) == [
        f"l{n}/default" for n in range(3)
    ]


async def test_first_call_after_start_finds_its_agent_without_waiting(cluster: Cluster) -> None:
    await cluster.host(Echo)
    caller = await cluster.host(discovery_timeout_s=0)
    assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")


async def test_message_sent_before_start_leaves_with_it(cluster: Cluster) -> None:
    heard: list[str] = []
    host = cluster.make()
    await Echo.register(host, "echo", Echo)
    await Listener.register(host, "listener", lambda: Listener(heard))
    await within(host.start())
    caller = cluster.make()
    await caller.publish_message(Text("early"), DefaultTopicId())
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("echo")))
    await asyncio.sleep(0)
    assert caller.unprocessed_messages_count == 2
    await within(caller.start())
    assert await within(call) == Text("hi")
    await eventually(lambda: heard == ["early"])


async def test_call_made_before_any_host_is_there_is_answered_once_one_is(cluster: Cluster) -> None:
    caller = await cluster.host()
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("echo")))
    await asyncio.sleep(0)
    await cluster.host(Echo)
    assert await within(call) == Text("hi")


async def test_call_to_a_type_that_nobody_hosts_is_undeliverable_after_the_discovery_timeout(cluster: Cluster) -> None:
    caller = await cluster.host(discovery_timeout_s=0.3)
    began_s = asyncio.get_running_loop().time()
    with pytest.raises(UndeliverableException, match=re.escape(f"cluster {cluster.name!r} hosts agent type 'nobody'")):
        await within(caller.send_message(Text("hi"), agent("nobody")))
    assert asyncio.get_running_loop().time() - began_s >= 0.3


async def test_agent_registered_after_start_is_reached_by_others(cluster: Cluster) -> None:
    host, caller = await cluster.pair()
    heard: list[str] = []
    await Echo.register(host, "echo", Echo)
    await Listener.register(host, "listener", lambda: Listener(heard))
    assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")
    await within(caller.publish_message(Text("news"), DefaultTopicId()))
    await eventually(lambda: heard == ["news"])


async def test_agent_instance_registered_after_start_is_reached_by_others(cluster: Cluster) -> None:
    host, caller = await cluster.pair()
    await Echo().register_instance(host, agent("pinned", "one"))
    assert await within(caller.send_message(Text("hi"), agent("pinned", "one"))) == Text("hi")


async def test_subscription_that_is_removed_is_forgotten_by_others(cluster: Cluster) -> None:
    host, caller = await cluster.pair()
    heard: list[str] = []
    await Listener.register(host, "listener", lambda: Listener(heard))
    await eventually(lambda: node_of(caller).directory.agent_types("default"))
    [identity] = [id_ for id_, entry in node_of(host).record.subscriptions.items() if entry.match == "default"]
    await host.remove_subscription(identity)
    await eventually(lambda: not node_of(caller).directory.agent_types("default"))


async def test_registering_many_types_after_start_is_cheap(cluster: Cluster) -> None:
    host, caller = await cluster.pair()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    for number in range(200):
        await Echo.register(host, f"echo{number}", Echo)
    await within(caller.wait_for_agents("echo199", 1))
    assert await within(caller.send_message(Text("hi"), agent("echo199"))) == Text("hi")
    assert loop.time() - began_s < 3


async def test_waiting_for_agents_counts_processes_this_one_included(cluster: Cluster) -> None:
    first = await cluster.host(Echo)
    await within(first.wait_for_agents("echo"))
    waiting = asyncio.ensure_future(first.wait_for_agents("echo", 2, 10))
    await asyncio.sleep(0)
    assert not waiting.done()
    await cluster.host(Echo)
    await within(waiting)


async def test_waiting_for_agents_counts_processes_that_pin_one(cluster: Cluster) -> None:
    host, caller = await cluster.pair()
    await Echo().register_instance(host, agent("pinned", "one"))
    await Echo().register_instance(host, agent("pinned", "two"))
    await within(caller.wait_for_agents("pinned", 1))
    with pytest.raises(TimeoutError):
        await within(caller.wait_for_agents("pinned", 2, 0.05))


async def test_waiting_for_agents_in_vain_is_a_timeout_error_with_what_there_is(cluster: Cluster) -> None:
    host = await cluster.host(Echo)
    with pytest.raises(
        TimeoutError, match=rf"^1 processes of cluster '{cluster.name}' host agent type 'echo' after 0.05 s"
    ):
        await within(host.wait_for_agents("echo", 3, 0.05))


async def test_peers_tell_who_is_there_what_it_hosts_and_who_showed_it(cluster: Cluster) -> None:
    host = await cluster.host(Echo, instance_id="host")
    await Echo().register_instance(host, agent("pinned", "one"))
    caller = await cluster.host()
    [peer] = caller.peers()
    assert peer.instance_id == "host"
    assert peer.node_id == node_of(host).node_id.hex()
    assert peer.endpoint == endpoint_of(host)
    assert peer.agent_types == ("echo", "pinned")
    assert (peer.source, peer.connected) == ("seed", True)
    await eventually(lambda: [other.source for other in host.peers()] == ["greeting"])


async def test_process_that_was_busy_as_it_joined_is_no_full_member_before_it_knows_the_others(
    cluster: Cluster, launch: Launch, unused_tcp_port: int
) -> None:
    settings = {"cluster": cluster.name, "discovery": "none", "listen": "loopback", "port": unused_tcp_port}
    other = await launch("member", **settings, instance_id="other", agents=["where"])
    await other.report("started")
    other.signal(signal.SIGSTOP)  # so that it has not answered yet
    newcomer = cluster.make(seeds=[f"tcp://127.0.0.1:{unused_tcp_port}"], join_timeout_s=1.5)
    starting = asyncio.ensure_future(newcomer.start())
    await eventually(lambda: newcomer._lifecycle.running and node_of(newcomer).contacts.unidentified())
    other.signal(signal.SIGCONT)
    time.sleep(2.0)  # noqa: ASYNC251 - longer than its patience, and it has read nothing
    await within(starting)
    assert [peer.instance_id for peer in newcomer.peers()] == ["other"]
    assert node_of(newcomer).is_synchronised()


async def test_process_that_has_left_is_no_peer_any_more(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Echo)
    await within(host.stop())
    await eventually(lambda: not caller.peers())
