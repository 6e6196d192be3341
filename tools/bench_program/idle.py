"""Processes that idle in one cluster: what each of them uses, beside a process that has imported autogen_core."""

from __future__ import annotations

import asyncio
import compileall
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

import psutil

from .processes import ROOT, Worker, Workers

NODE = "tools.bench_program.idle_node"
BARE = 'import sys, autogen_core; print(\'{"value": "ready"}\', flush=True); sys.stdin.read()'
MIB = 1 << 20

# After the last one has joined: pulls and late greetings end, and then, after 2 s, each pair closes one of its two data
# connections. An idle process repeats none of that. What recurs, and what mDNS asks in its first 14 s, is measured.
CALM_S = 5.0


@dataclass(frozen=True)
class Idleness:
    """What one process used, mean over all of them, while nothing happened."""

    cpu_percent: float
    """Of one core."""
    uss_mib: float
    """Memory that is this process's alone, above that of the bare process."""
    rss_mib: float
    """Memory with what it shares with others, above that of the bare process."""


@asynccontextmanager
async def cluster(workers: Workers, size: int, shown: Callable[[str], None]) -> AsyncIterator[list[Worker]]:
    """Processes that have imported what they need and have not joined yet; they have ended when the block is left."""
    name = f"bench-{secrets.token_hex(4)}"
    nodes: list[Worker] = []
    try:
        for index in range(size):
            node = await workers.start(f"node {index}", ["-m", NODE, name, str(index)])
            nodes.append(node)
        for index, node in enumerate(nodes):
            shown(f"imports of process {index + 1} of {size}")
            await node.ready()
        yield nodes
    finally:
        await workers.end(nodes)


async def join(nodes: list[Worker]) -> list[float]:
    """Start all of them at once; when each had met all, by the monotonic clock."""
    await asyncio.gather(*(node.ask("start") for node in nodes))
    met: list[float] = await asyncio.gather(*(node.ask("meet", count=len(nodes)) for node in nodes))
    return met


async def cpu_percent(nodes: list[Worker], seconds: float) -> list[float]:
    """CPU of each process, in percent of one core, over that time."""
    processes = [psutil.Process(node.pid) for node in nodes]
    loop = asyncio.get_running_loop()
    begun_s, before = loop.time(), [_used_s(process) for process in processes]
    await asyncio.sleep(seconds)
    took_s, after = loop.time() - begun_s, [_used_s(process) for process in processes]
    return [(now - then) / took_s * 100 for now, then in zip(after, before, strict=True)]


def _used_s(process: psutil.Process) -> float:
    """The scheduler's own count, in nanoseconds, where there is one: ticks of 10 ms are coarse for what idles."""
    try:
        threads = Path(f"/proc/{process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text(encoding="ascii").split()[0]) for thread in threads) / 1e9
    except OSError:  # a kernel without it, or a thread that has just ended
        times = process.cpu_times()
        return float(times.user + times.system)


async def measure_idle(workers: Workers, size: int, seconds: float, shown: Callable[[str], None]) -> Idleness:
    """Start a cluster of that size, let it come to rest, and look at it for that long."""
    for package in ("zmqagents", "tools/bench_program"):  # as in an installation: what compiles keeps a MiB and more
        compileall.compile_dir(ROOT / package, quiet=2)
    bare = await workers.start("bare process", ["-c", BARE])
    try:
        async with cluster(workers, size, shown) as nodes:
            await bare.ready()
            shown(f"{size} processes meet")
            await join(nodes)
            await asyncio.sleep(CALM_S)
            shown(f"{size} processes idle")
            used = await cpu_percent(nodes, seconds)
            bare_memory = psutil.Process(bare.pid).memory_full_info()
            memory = [psutil.Process(node.pid).memory_full_info() for node in nodes]
    finally:
        await workers.end([bare])
    return Idleness(
        mean(used),
        (median(each.uss for each in memory) - bare_memory.uss) / MIB,
        (median(each.rss for each in memory) - bare_memory.rss) / MIB,
    )
