"""Processes that host one type together, and come and go under load: every agent has one home, and keeps its state."""

from __future__ import annotations

import asyncio
import time
from collections import Counter

import pytest

from tests.integration.actors import ask, start
from tests.integration.clusters import Cluster, eventually, within
from tests.integration.load import Load, places
from tests.integration.processes import Launch, Program
from zmqagents import ZmqAgentRuntime

pytestmark = pytest.mark.integration

TALLY = {"tally": "tally"}
KEYS = [f"key-{number}" for number in range(300)]
NEW_KEYS = [f"new-{number}" for number in range(200)]
OVER_WITHIN_S = 5.0


async def workers(cluster: Cluster, launch: Launch, *names: str) -> tuple[ZmqAgentRuntime, list[Program]]:
    """A caller in this process, and workers; everybody knows everybody."""
    caller, started = await asyncio.gather(
        cluster.host(discovery="mdns"), start(launch, cluster.name, *names, count=False, kinds=TALLY)
    )
    everybody = [*names, caller.config.instance_id]
    for worker, name in zip(started, names, strict=True):
        await ask(worker, "wait_for_peers", names=[other for other in everybody if other != name])
    await within(caller.wait_for_agents("tally", len(names)))
    return caller, started


async def test_three_hundred_agents_are_spread_and_each_answers_from_one_process_whoever_asks(
    cluster: Cluster, launch: Launch
) -> None:
    caller, started = await workers(cluster, launch, "w1", "w2", "w3")
    first = await within(places(caller, KEYS))
    shares = Counter(first.values())
    assert shares.keys() == {worker.pid for worker in started}
    assert min(shares.values()) >= len(KEYS) / 5
    assert await within(places(caller, KEYS)) == first
    for count, worker in enumerate(started, start=3):
        asked = await ask(worker, "add", keys=KEYS, number=count)
        assert asked["answers"] == {key: [first[key], count] for key in KEYS}


async def test_fourth_process_joins_under_load_and_active_agents_stay_and_new_ones_spread_over_four(
    cluster: Cluster, launch: Launch
) -> None:
    caller, started = await workers(cluster, launch, "w1", "w2", "w3")
    before = await within(places(caller, KEYS))
    load = Load(caller, KEYS)
    async with load.on(300):
        [fourth] = await start(launch, cluster.name, "w4", count=False, kinds=TALLY)
        await within(caller.wait_for_agents("tally", 4))
        new = await within(places(caller, NEW_KEYS))
        so_far = load.sent
        await eventually(lambda: load.sent >= so_far + len(KEYS))  # each old agent is called now that there are four
    assert load.failures == []
    assert load.places == {key: {pid} for key, pid in before.items()}
    asked = await ask(fourth, "add", keys=KEYS, number=1)
    assert asked["answers"] == {key: [before[key], 2 + load.answered[key]] for key in KEYS}
    shares = Counter(new.values())
    assert shares.keys() == {worker.pid for worker in [*started, fourth]}
    assert min(shares.values()) >= len(NEW_KEYS) / 10


async def test_only_the_agents_of_a_killed_process_move_and_no_call_of_a_retrying_caller_fails(
    cluster: Cluster, launch: Launch
) -> None:
    caller, (killed, *others) = await workers(cluster, launch, "w1", "w2", "w3")
    before = await within(places(caller, KEYS))
    load = Load(caller, KEYS, retrying=True)
    async with load.on(500):
        await eventually(lambda: sum(load.answered.values()) > 100)
        killed.kill()
        killed_s = time.monotonic()
        after = await places(caller, [key for key, pid in before.items() if pid != killed.pid])
        moved = await retried(caller, [key for key, pid in before.items() if pid == killed.pid])
        over_s = time.monotonic() - killed_s
    assert load.failures == []
    assert load.slowest_s < OVER_WITHIN_S
    assert over_s < OVER_WITHIN_S
    assert after == {key: pid for key, pid in before.items() if pid != killed.pid}
    assert set(moved.values()) == {worker.pid for worker in others}
    final = await within(places(caller, KEYS))
    assert final == after | moved
    assert all(load.places[key] <= {before[key], final[key]} for key in KEYS)


async def retried(caller: ZmqAgentRuntime, keys: list[str]) -> dict[str, int]:
    """Where the agents are, once a call to each of them was answered."""
    load = Load(caller, keys, retrying=True)
    await asyncio.gather(*(load.call(key, number) for number, key in enumerate(keys)))
    assert load.failures == []
    return {key: pid for key, (pid,) in load.places.items()}


async def test_rolling_restart_under_load_fails_no_call_and_forgets_none(cluster: Cluster, launch: Launch) -> None:
    names = ["w1", "w2", "w3"]
    keys = KEYS[:100]
    caller, started = await workers(cluster, launch, *names)
    load = Load(caller, keys)
    async with load.on(500):
        for worker, name in zip(list(started), names, strict=True):
            await worker.stop()
            started += await start(launch, cluster.name, name, count=False, kinds=TALLY)
            await within(caller.wait_for_agents("tally", 3))
    assert load.failures == []
    assert sum(load.answered.values()) == load.sent
    assert load.highest == dict(load.answered)
    assert load.slowest_s < OVER_WITHIN_S
    running = started[3:]
    active = [key for worker in running for key in await ask(worker, "active")]
    assert sorted(active) == sorted(f"tally/{key}" for key in keys)
