"""Who has no key, or speaks no ZMTP, keeps members from nothing."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from tests.integration.actors import ask, start, told
from tests.integration.clusters import new_name
from tests.integration.flood import flood
from tests.integration.processes import Launch
from zmqagents.keys import make_key

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KEYS = [f"key-{number}" for number in range(8)]
CALLS_EVERY_S = 0.01
SLOWEST_S = 3.0
MOST_LINES = 30


@pytest.mark.parametrize("key", [make_key(), None], ids=["key", "no key"])
async def test_random_bytes_over_a_thousand_connections_leave_members_their_calls(
    launch: Launch, key: str | None
) -> None:
    cluster = new_name()
    settings: dict[str, Any] = {"cluster_key": key, "discovery": "none", "listen": "loopback", "count": False}
    [worker] = await start(launch, cluster, "worker", kinds={"tally": "tally"}, **settings)
    [caller] = await start(launch, cluster, "caller", seeds=[await ask(worker, "endpoint")], **settings)
    await ask(caller, "add", keys=KEYS, number=-1)
    endpoints = [await ask(worker, "endpoint"), await ask(worker, "gossip_endpoint")]
    async with flood(launch, worker.pid, *endpoints, key=key is not None) as over:
        await caller.tell("keep_adding", keys=KEYS, seconds=30.0, every_s=CALLS_EVERY_S)
        await over.wait()
        await ask(caller, "rest")
    called = await told(caller, "keep_adding")
    sys.stdout.write(f"{sum(called['sent'].values())} calls, slowest {called['slowest_s']:.2f} s\n")
    assert called["failed"] == []
    assert called["slowest_s"] < SLOWEST_S
    assert len(await ask(caller, "peers")) == len(await ask(worker, "peers")) == 1
    assert worker.stderr.count("\n") < MOST_LINES, worker.stderr
