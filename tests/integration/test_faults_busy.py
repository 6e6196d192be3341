"""Processes whose event loop stands still: nobody gives them up, and no work starts in them that nobody waits for."""

from __future__ import annotations

import asyncio
import time

import pytest

from tests.integration.actors import ask, start, told
from tests.integration.clusters import Cluster
from tests.integration.processes import Launch, Program

pytestmark = pytest.mark.integration

BUSY_S = 12.0
KEYS = [str(number) for number in range(20)]
SLOWEST_CALL_S = 2.0  # of an idle process, with a spinning one on the other core of a small machine


async def watch(actor: Program, until: asyncio.Future[object], others: set[str], about: str) -> set[str]:
    """The states that it saw of ``about``. AssertionError if it ever misses one of the others."""
    states = set()
    while not until.done():
        peers = await ask(actor, "peers")
        assert {peer["instance_id"] for peer in peers} == others
        states |= {peer["state"] for peer in peers if peer["instance_id"] == about}
        await asyncio.wait([until], timeout=0.25)
    return states


async def test_process_that_computes_for_12_s_answers_and_nobody_is_given_up(cluster: Cluster, launch: Launch) -> None:
    (busy,), (idle,), (caller,) = await asyncio.gather(
        start(launch, cluster.name, "busy", count=False, kinds={"spinner": "spinner"}),
        start(launch, cluster.name, "idle", count=False, kinds={"tally": "tally"}),
        start(launch, cluster.name, "caller", count=False),
    )
    names = {"busy", "idle", "caller"}
    for actor, name in ((busy, "busy"), (idle, "idle"), (caller, "caller")):
        await ask(actor, "wait_for_peers", names=sorted(names - {name}))
    began_s = time.monotonic()
    await caller.tell("call", agent_type="spinner", key="a", number=int(BUSY_S * 1_000))
    await busy.report("spinning")
    call = asyncio.ensure_future(told(caller, "call", 3 * BUSY_S))

    async def keep_calling() -> int:
        count = 0
        while not call.done():
            added = await ask(caller, "add", keys=["a", "b"], number=count)
            assert [answer[0] for answer in added["answers"].values()] == [idle.pid] * 2
            assert added["took_s"] < SLOWEST_CALL_S
            count += 1
            await asyncio.wait([call], timeout=0.1)
        return count

    states, of_idle, calls = await asyncio.gather(
        watch(caller, call, names - {"caller"}, "busy"), watch(idle, call, names - {"idle"}, "busy"), keep_calling()
    )
    assert call.result().get("answer") == busy.pid
    assert call.result()["at_s"] - began_s >= BUSY_S
    assert calls > BUSY_S
    assert "busy" in states & of_idle
    assert {peer["instance_id"] for peer in await ask(busy, "peers")} == names - {"busy"}
    assert not any(") died" in actor.stderr for actor in (busy, idle, caller))


async def test_handlers_of_calls_whose_deadline_has_passed_while_their_process_was_busy_do_not_start(
    cluster: Cluster, launch: Launch
) -> None:
    (target,), (caller,) = await asyncio.gather(
        start(
            launch,
            cluster.name,
            "target",
            count=False,
            kinds={"spinner": "spinner", "tally": "tally"},
        ),
        start(launch, cluster.name, "caller", count=False),
    )
    await ask(caller, "wait_for_peers", names=["target"])
    await caller.tell("call", agent_type="spinner", key="a", number=2_000)
    await target.report("spinning")
    late = await ask(caller, "add", keys=KEYS, number=1, timeout_s=0.5)
    assert set(late["answers"].values()) == {"CallTimeoutError"}
    assert (await told(caller, "call")).get("answer") == target.pid
    added = await ask(caller, "add", keys=["after"], number=2)
    assert added["answers"] == {"after": [target.pid, 1]}
    assert await ask(target, "executed") == [["after", 2]]
