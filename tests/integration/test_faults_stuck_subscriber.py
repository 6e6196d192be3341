"""One subscriber of three is frozen while large events are published: memory stays bounded, the others miss nothing."""

from __future__ import annotations

import asyncio
import signal
from typing import Any

import psutil
import pytest

from tests.integration.actors import ask, start, told
from tests.integration.clusters import Cluster
from tests.integration.processes import Launch, Program

pytestmark = pytest.mark.integration

EVENTS = 15_000
EVENT_BYTES = 8_000
MOST_GROWTH_BYTES = 64 << 20
CALM_EVENTS = 1_000
CALM_WITHIN_S = 2.5  # beside a flood; whoever waited for the frozen process would wait for more than 3 s
PUBLISHED_WITHIN_S = 40.0  # 360 MB on a busy machine, and the five seconds until the frozen one is given up


class Memory:
    """The greatest resident size of a process while it is watched."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.at_first_bytes = self.most_bytes = self._process.memory_info().rss

    async def watch(self) -> None:
        """Sample for ever."""
        while True:
            self.most_bytes = max(self.most_bytes, self._process.memory_info().rss)
            await asyncio.sleep(0.05)

    @property
    def growth_bytes(self) -> int:
        """Since it was made."""
        return self.most_bytes - self.at_first_bytes


async def subscriber(launch: Launch, cluster: str, name: str, **topics: str) -> Program:
    """A process whose agent types, the keywords, each subscribe to a topic."""
    kinds = dict.fromkeys(topics, "counter")
    [started] = await start(launch, cluster, name, count=False, kinds=kinds, subscribe=topics)
    return started


async def test_frozen_subscriber_costs_the_publisher_no_memory_and_the_others_no_event(
    cluster: Cluster, launch: Launch
) -> None:
    [publisher], stuck, second, third = await asyncio.gather(
        start(launch, cluster.name, "publisher", count=False),
        subscriber(launch, cluster.name, "s1", first="news"),
        subscriber(launch, cluster.name, "s2", second="news"),
        subscriber(launch, cluster.name, "s3", third="news", calm="calm"),
    )
    await ask(publisher, "wait_for_peers", names=["s1", "s2", "s3"])
    calm: dict[str, Any] = {"topic": "calm", "source": "x", "count": CALM_EVENTS, "size_bytes": EVENT_BYTES}
    await ask(publisher, "publish", **calm)

    stuck.signal(signal.SIGSTOP)
    memory = Memory(publisher.pid)
    watching = asyncio.create_task(memory.watch())
    await publisher.tell("publish", label="flood", topic="news", source="x", count=EVENTS, size_bytes=EVENT_BYTES)
    during = await ask(publisher, "publish", **calm)
    flood = await told(publisher, "flood", PUBLISHED_WITHIN_S)
    numbers = [f"{number:08}" for number in range(EVENTS)]
    heard = [await heard_by(second, EVENTS), await heard_by(third, EVENTS + 2 * CALM_EVENTS)]
    watching.cancel()

    assert heard[0] == {"second/x": numbers}
    assert heard[1] == {"third/x": numbers, "calm/x": 2 * numbers[:CALM_EVENTS]}
    assert memory.growth_bytes < MOST_GROWTH_BYTES
    assert during["took_s"] < CALM_WITHIN_S
    assert flood["dead_letters"] > 0  # those of the frozen one, once it was given up


async def heard_by(actor: Program, count: int) -> dict[str, list[str]]:
    """The events that each of its agents has heard, once there are that many."""
    events: dict[str, list[str]] = {}
    for agent, number in await ask(actor, "heard", count=count):
        events.setdefault(agent, []).append(number)
    return events
