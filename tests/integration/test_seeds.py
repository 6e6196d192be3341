"""Processes that are told of each other instead of finding each other."""

from __future__ import annotations

import asyncio
import socket

import pytest
from autogen_core.exceptions import UndeliverableException

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, endpoint_of, eventually, new_cluster, within
from tests.integration.messages import Text

pytestmark = pytest.mark.integration


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


async def test_two_processes_of_which_one_knows_the_other_call_each_other_both_ways(cluster: Cluster) -> None:
    first = await cluster.host(Echo)
    second = cluster.make(seeds=[endpoint_of(first)])
    await Echo.register(second, "second", Echo)
    await within(second.start())
    assert await within(second.send_message(Text("hi"), agent("echo"))) == Text("hi")
    assert await within(first.send_message(Text("hi"), agent("second"))) == Text("hi")


async def test_chain_of_seeds_becomes_a_full_mesh(cluster: Cluster) -> None:
    a = await cluster.host()
    b = await cluster.host(seeds=[endpoint_of(a)])
    c = await cluster.host(seeds=[endpoint_of(b)])
    await Echo.register(a, "echo", Echo)
    await eventually(lambda: [len(runtime.peers()) for runtime in (a, b, c)] == [2, 2, 2])
    await within(b.stop())
    assert await within(c.send_message(Text("hi"), agent("echo"))) == Text("hi")


async def test_seed_by_name_is_looked_up(cluster: Cluster) -> None:
    first = await cluster.host(Echo)
    port = endpoint_of(first).rpartition(":")[2]
    second = await cluster.host(seeds=[f"tcp://localhost:{port}"])
    assert await within(second.send_message(Text("hi"), agent("echo"))) == Text("hi")


async def test_seed_that_comes_up_later_is_found(cluster: Cluster) -> None:
    port = free_port()
    early = await cluster.host(seeds=[f"tcp://127.0.0.1:{port}"])
    assert early.peers() == []
    call = asyncio.ensure_future(early.send_message(Text("hi"), agent("echo")))
    await cluster.host(Echo, seeds=[], port=port)
    assert await within(call) == Text("hi")


async def test_start_does_not_wait_for_a_seed_that_is_not_there(cluster: Cluster) -> None:
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    await cluster.host(seeds=[f"tcp://127.0.0.1:{free_port()}"])
    assert loop.time() - began_s < 2


async def test_seed_that_restarts_is_found_again(cluster: Cluster) -> None:
    port = free_port()
    first = await cluster.host(Echo, port=port)
    second = await cluster.host(seeds=[f"tcp://127.0.0.1:{port}"])
    await within(first.stop())
    await eventually(lambda: not second.peers())
    await cluster.host(Echo, seeds=[], port=port)
    assert await within(second.send_message(Text("hi"), agent("echo"))) == Text("hi")


async def test_own_endpoint_among_the_seeds_does_no_harm(cluster: Cluster) -> None:
    port = free_port()
    seeds = [f"tcp://127.0.0.1:{port}", f"tcp://localhost:{port}"]
    first = await cluster.host(Echo, port=port, seeds=seeds)
    second = await cluster.host(seeds=seeds)
    assert await within(second.send_message(Text("hi"), agent("echo"))) == Text("hi")
    assert len(first.peers()) == 1


async def test_clusters_do_not_mix_though_one_is_a_seed_of_the_other(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    host = await cluster.host(Echo)
    async with new_cluster() as other:
        stranger = await other.host(seeds=[endpoint_of(host)], discovery_timeout_s=0.1)
        assert (host.peers(), stranger.peers()) == ([], [])
        with pytest.raises(UndeliverableException):
            await within(stranger.send_message(Text("hi"), agent("echo")))
    assert f"cluster '{cluster.name}' does not admit cluster '{other.name}'" in caplog.text


async def test_clusters_on_one_host_that_find_their_own_by_mdns_do_not_mix(cluster: Cluster) -> None:
    async with new_cluster() as other:
        mine, theirs = await asyncio.gather(
            cluster.host(Echo, discovery="mdns"), other.host(discovery="mdns", discovery_timeout_s=0.1)
        )
        with pytest.raises(UndeliverableException):
            await within(theirs.send_message(Text("hi"), agent("echo")))
        assert (mine.peers(), theirs.peers()) == ([], [])


async def test_process_that_is_a_seed_and_found_by_mdns_is_reached_at_once(cluster: Cluster) -> None:
    host = await cluster.host(Echo, discovery="mdns")
    loop = asyncio.get_running_loop()
    for _ in range(5):
        began_s = loop.time()
        caller = await cluster.host(discovery="mdns", seeds=[endpoint_of(host)])
        assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")
        assert loop.time() - began_s < 1
        await within(caller.stop())
