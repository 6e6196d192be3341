"""Two processes with many calls in flight to one agent of a third."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.clusters import new_name
from tests.integration.processes import Launch

pytestmark = pytest.mark.integration

CALLS = 5_000  # of each of the two callers


async def test_every_reply_reaches_its_own_caller_and_its_own_call(launch: Launch) -> None:
    cluster = new_name()
    worker, *callers = await asyncio.gather(
        launch("worker", cluster=cluster),
        launch("caller", cluster=cluster, instance_id="ann", count=CALLS),
        launch("caller", cluster=cluster, instance_id="bob", count=CALLS),
    )
    for caller in callers:
        await caller.report("ready")
    for caller in callers:
        await caller.tell("call")
    for caller in callers:
        called = await caller.report("called", deadline_s=40)
        assert (called["answered"], called["wrong"]) == (CALLS, [])
        assert await caller.exit_code() == 0
    await worker.stop()
