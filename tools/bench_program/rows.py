"""The kinds of work: who does each, how it is measured, and what has to be reached."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from .contenders import Contender
from .idle import MIB, measure_idle
from .processes import Workers
from .results import Better, Goal
from .stages import Stage, new_address, open_stage
from .wire import BenchError

TEXT_SIZE = 64
IN_FLIGHT = 64
ECHO_SIZE = MIB
ECHO_IN_FLIGHT = 4

# Events that are published to learn how many fill the time of one round, and what their delivery may take at most.
FEW_EVENTS = 400
EVENTS_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Settings:
    """How much is measured."""

    rounds: int = 3
    seconds: float = 3.0
    """Of each measurement."""
    warm_seconds: float = 1.0
    """Of the same work before a contender's first round."""
    nodes: int = 20
    """Processes of the cluster that idles."""
    agents: int = 100_000
    """Agents that live in one process."""


QUICK = Settings(rounds=1, seconds=0.3, warm_seconds=0.1, nodes=4, agents=5_000)


class Sample(NamedTuple):
    """What one contender did in one round."""

    value: float
    details: Mapping[str, float]


class Bench(NamedTuple):
    """What a measurement needs besides its contender."""

    workers: Workers
    settings: Settings
    shown: Callable[[str], None]


Measure: TypeAlias = Callable[[Bench, Stage, float], Awaitable[Sample]]
"""On a stage that is ready, for about that many seconds."""

MeasureAlone: TypeAlias = Callable[[Bench, Contender], Awaitable[Sample]]
"""With processes of its own, which have ended afterwards."""


@dataclass(frozen=True)
class Row:
    """One kind of work."""

    name: str
    title: str
    unit: str
    better: Better
    contenders: tuple[str, ...]
    measure: Measure | None = None
    measure_alone: MeasureAlone | None = None
    goals: tuple[Goal, ...] = ()
    most_rounds: int = 1_000
    """For what is dear to repeat, and varies little."""


async def calls(bench: Bench, stage: Stage, seconds: float) -> Sample:
    """Calls a second with IN_FLIGHT of them on their way."""
    got = await stage.caller.ask("concurrent", size=TEXT_SIZE, in_flight=IN_FLIGHT, seconds=seconds)
    return Sample(got["calls"] / got["seconds"], {})


async def one_by_one(bench: Bench, stage: Stage, seconds: float) -> Sample:
    """Median time of a call when the next is made after its answer."""
    got = await stage.caller.ask("sequential", size=TEXT_SIZE, seconds=seconds)
    return Sample(got["p50_us"], {"p99": got["p99_us"]})


async def echo(bench: Bench, stage: Stage, seconds: float) -> Sample:
    """Megabytes a second there, which is as many back."""
    got = await stage.caller.ask("concurrent", size=ECHO_SIZE, in_flight=ECHO_IN_FLIGHT, seconds=seconds)
    return Sample(got["calls"] * ECHO_SIZE / 1e6 / got["seconds"], {})


async def publish(bench: Bench, stage: Stage, seconds: float) -> Sample:
    """Events that arrived a second, over all processes. Raises BenchError if one was lost or came twice."""
    await stage.have_event_servers()
    few = await stage.deliver(FEW_EVENTS, IN_FLIGHT, EVENTS_TIMEOUT_S)
    count = max(FEW_EVENTS, int(few["rate"] / len(stage.servers) * seconds))
    got = await stage.deliver(count, IN_FLIGHT, EVENTS_TIMEOUT_S + seconds)
    for fault in ("lost", "repeated", "strange"):
        if got[fault] or few[fault]:
            raise BenchError(f"{stage.contender.name}: {got[fault] + few[fault]:.0f} events {fault}")
    return Sample(got["rate"], {"delivered": got["received"], "lost": got["lost"]})


async def publish_cost(bench: Bench, stage: Stage, seconds: float) -> Sample:
    """CPU time of one publish and its delivery in one process, with other subscriptions in the table."""
    if not stage.prepared:
        stage.prepared = True
        await stage.caller.ask("subscribe", others=stage.contender.options["others"])
    got = await stage.caller.ask("publish_cost", seconds=seconds)
    return Sample(got["publish_us"], {})


async def first_call(bench: Bench, contender: Contender) -> Sample:
    """Seconds from the start of processes, whose imports are done, to the first answer."""
    stage = Stage(bench.workers, contender, new_address(contender))
    try:
        await stage.launch()
        begun_s = time.monotonic()
        await (stage.begin_at_once() if contender.finds_by_itself else stage.begin())
        await stage.caller.ask("call_once", size=TEXT_SIZE)
        return Sample(time.monotonic() - begun_s, {})
    finally:
        await stage.close()


async def idle_cpu(bench: Bench, contender: Contender) -> Sample:
    """CPU of an idle process in percent of a core; its memory is noted for the row after this one."""
    got = await measure_idle(bench.workers, bench.settings.nodes, max(bench.settings.seconds, 1.0) * 2, bench.shown)
    return Sample(got.cpu_percent, {"USS MiB": got.uss_mib, "RSS MiB": got.rss_mib})


async def agent_memory(bench: Bench, contender: Contender) -> Sample:
    """KiB that each live agent takes, in a new process."""
    stage = await open_stage(bench.workers, contender)
    try:
        got = await stage.caller.ask("hold_agents", count=bench.settings.agents)
        return Sample(got["bytes"] / got["agents"] / 1024, {})
    finally:
        await stage.close()


_CALLED = (
    "zmqagents", "autogen-grpc", "pyzmq", "pyzmq-json", "grpc", "nats", "xoscar",
)  # fmt: skip
MORE, LESS = Better.MORE, Better.LESS
