"""What ``peers()`` tells of how the others stand with this process."""

from __future__ import annotations

import logging
import time

import pytest

from tests.integration.clusters import eventually, node_of
from tests.unit.runtime.wired import WiredCluster
from zmqagents import ZmqAgentRuntime


def states(runtime: ZmqAgentRuntime) -> dict[str, str]:
    return {peer.instance_id: peer.state for peer in runtime.peers()}


async def test_peer_is_up_unreachable_while_only_another_has_a_connection_with_it_and_up_again(
    wired: WiredCluster,
) -> None:
    a, b, c = [await wired.host(instance_id=name) for name in "abc"]
    await eventually(lambda: states(a) == {"b": "up", "c": "up"} and len(b.peers()) == len(c.peers()) == 2)
    wired.hub.cut(node_of(a).node_id, node_of(b).node_id)
    await eventually(lambda: states(a)["b"] == states(b)["a"] == "unreachable")
    assert states(a)["c"] == states(b)["c"] == states(c)["a"] == states(c)["b"] == "up"
    wired.hub.heal(node_of(a).node_id, node_of(b).node_id)
    await eventually(lambda: states(a)["b"] == states(b)["a"] == "up")


async def test_process_started_again_with_an_instance_id_that_lives_is_warned_of(
    wired: WiredCluster, caplog: pytest.LogCaptureFixture
) -> None:
    watcher = await wired.host(instance_id="watcher")
    first = await wired.host(instance_id="twin")
    await eventually(lambda: len(watcher.peers()) == 1 and time.time() * 1_000 > node_of(first).record.started_ms + 1)
    with caplog.at_level(logging.WARNING, "zmqagents"):
        second = await wired.host(instance_id="twin")
        await eventually(lambda: [peer.instance_id for peer in watcher.peers()] == ["twin", "twin"])
    assert "give each process an instance_id of its own" in caplog.text
    assert node_of(second).record.started_ms > 0
