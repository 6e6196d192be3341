"""A hostile program that has no key, and what it costs the process that it is hostile to."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator

import psutil

from tests.integration.clusters import eventually
from tests.integration.processes import Launch

CONNECTIONS = 1_000
SECONDS = 10.0
MOST_MIB = 96.0
"""What the victim may grow by: without a key, libzmq takes 40 KiB to 50 KiB for each connection that is open."""
MOST_FILES = 100
"""What it may hold open once the flood is over."""

_MIB = 1 << 20
_LOOK_S = 0.05


@contextlib.asynccontextmanager
async def flood(launch: Launch, pid: int, *endpoints: str, key: bool) -> AsyncIterator[asyncio.Event]:
    """Random bytes over 1,000 connections for 10 s at those endpoints of that process; the event is set at the end.

    AssertionError at the end of the block if the process has grown much, or keeps files open.
    """
    victim = psutil.Process(pid)
    before = most = victim.memory_info().rss
    over = asyncio.Event()

    async def watch() -> None:
        nonlocal most
        while not over.is_set():
            most = max(most, victim.memory_info().rss)
            await asyncio.sleep(_LOOK_S)

    watching = asyncio.create_task(watch())
    ports = [int(endpoint.rpartition(":")[2]) for endpoint in endpoints]
    mechanism = "CURVE" if key else "NULL"
    hostile = await launch("hostile", ports=ports, connections=CONNECTIONS, seconds=SECONDS, mechanism=mechanism)
    ending = asyncio.create_task(hostile.report("thrown", SECONDS + 20.0))
    ending.add_done_callback(lambda _: over.set())
    try:
        yield over
        thrown = await ending
    finally:
        over.set()
        ending.cancel()
        await watching
    grown_mib = (most - before) / _MIB
    sys.stdout.write(f"{thrown['opened']} connections, {thrown['most']} at a time; +{grown_mib:.0f} MiB\n")
    assert thrown["opened"] >= CONNECTIONS
    assert grown_mib < MOST_MIB
    await eventually(lambda: victim.num_fds() < MOST_FILES)
