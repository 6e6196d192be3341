"""Each way of giving a call up reaches its handler, in another process."""

from __future__ import annotations

import asyncio
import time

import pytest
from autogen_core import CancellationToken

from tests.integration.actors import start
from tests.integration.agents import agent
from tests.integration.clusters import Cluster, within
from tests.integration.messages import Number
from tests.integration.processes import Launch

pytestmark = pytest.mark.integration

TOLD_WITHIN_S = 1.0


async def test_wait_for_and_task_cancel_and_token_each_end_the_handler_in_another_process(
    cluster: Cluster, launch: Launch
) -> None:
    caller = await cluster.host(discovery="mdns")
    [target] = await start(
        launch, cluster.name, "target", count=False, kinds={"sleeper": "sleeper"}, cancel_grace_s=0.2
    )
    await within(caller.wait_for_agents("sleeper"))
    token = CancellationToken()

    async def call(key: str) -> None:
        await caller.send_message(Number(60_000), agent("sleeper", key), cancellation_token=token)

    for give_up in ("wait_for", "cancel", "token"):
        if give_up == "wait_for":
            waiting = asyncio.ensure_future(asyncio.wait_for(call(give_up), 0.3))
            expected: type[BaseException] = asyncio.TimeoutError
        else:
            waiting = asyncio.ensure_future(call(give_up))
            expected = asyncio.CancelledError
        await target.report("handling")
        if give_up == "cancel":
            waiting.cancel()
        elif give_up == "token":
            token.cancel()
        with pytest.raises(expected):
            await within(waiting)
        given_up_s = time.monotonic()
        await target.report("told to stop")
        await target.report("cancelled")
        assert time.monotonic() - given_up_s < TOLD_WITHIN_S
