"""Calls that wait in the socket of a program that stands still: given up by then, they are not handled."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.agents import agent
from tests.integration.clusters import Cluster, within
from tests.integration.messages import Number, Text
from tests.integration.processes import Launch
from zmqagents import CallTimeoutError

pytestmark = pytest.mark.integration


async def test_call_given_up_while_its_process_stood_still_is_not_handled(cluster: Cluster, launch: Launch) -> None:
    caller = await cluster.host(discovery="mdns")
    member = await launch("member", cluster=cluster.name, instance_id="stands still", agents=["busy", "slow"])
    await member.report("started")
    await within(caller.wait_for_agents("busy"))
    for name in ("busy", "slow"):
        assert await within(caller.send_message(Number(0), agent(name))) == Text("done")
    await member.all_reports("handling", 1)

    first = asyncio.ensure_future(caller.send_message(Number(0), agent("slow")))
    standing = asyncio.ensure_future(caller.send_message(Number(1_000), agent("busy")))
    await member.report("handling")  # in this very turn of its event loop it begins to stand still
    with pytest.raises(CallTimeoutError):
        await within(caller.send_message(Number(7), agent("slow"), timeout_s=0.2))
    given_up = asyncio.ensure_future(caller.send_message(Number(8), agent("slow")))
    await asyncio.sleep(0)
    given_up.cancel()
    assert not standing.done(), "it has stood still all the while"

    assert (await within(first), await within(standing)) == (Text("done"), Text("done"))
    assert await within(caller.send_message(Number(0), agent("slow"))) == Text("done")
    await member.stop()
    assert len(await member.all_reports("handled", 3)) == 3
    assert [report for report in member._reports if report["what"] in ("handling", "cancelled")] == [
        {"what": "handling"}
    ], "the last call's"
