"""A large message over a slow line: it takes long, and arrives."""

from __future__ import annotations

import pytest

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, within
from tests.integration.lines import new_line
from tests.integration.messages import Text
from tests.integration.test_seeds import free_port

pytestmark = pytest.mark.integration

BYTES_PER_S = 2_000_000
SIZE = 6_000_000  # three seconds on the line: far longer than the timeout of ZMTP heartbeats


async def test_message_that_takes_seconds_on_its_line_arrives(cluster: Cluster) -> None:
    async with new_line(BYTES_PER_S) as line:
        line.target = free_port()
        await cluster.host(Echo, port=line.target, advertise=f"127.0.0.1:{line.port}")
        caller = await cluster.host()
        answer = await within(caller.send_message(Text("x" * SIZE), agent("echo")), 30)
    assert len(answer.content) == SIZE
