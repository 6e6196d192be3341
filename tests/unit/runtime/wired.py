"""Whole runtimes on the memory transport, so that a test can cut, kill and freeze them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from unittest import mock

import pytest

from tests.integration.clusters import Cluster, node_of
from zmqagents import ZmqAgentRuntime
from zmqagents.transport.memory import MemoryHub

QUICK = {"zmtp_heartbeat_s": 0.02, "heartbeat_s": 0.05, "drain_timeout_s": 0.5}
"""So that what takes seconds in a cluster takes tenths of one here."""


class WiredCluster(Cluster):
    """A cluster whose network is ``hub``."""

    def __init__(self) -> None:
        super().__init__()
        self.hub = MemoryHub()

    def make(self, **settings: Any) -> ZmqAgentRuntime:
        """See ``Cluster``."""
        return super().make(**{**QUICK, **settings})

    def kill(self, runtime: ZmqAgentRuntime) -> None:
        """End its network as SIGKILL does; what runs in it goes on without effect."""
        self.hub.kill(node_of(runtime).node_id)


@pytest.fixture
async def wired() -> AsyncIterator[WiredCluster]:
    """A cluster on a memory network."""
    cluster = WiredCluster()
    with mock.patch("zmqagents.runtime.cluster.ZeroMqTransport", cluster.hub.transport):
        yield cluster
        await cluster.close()
