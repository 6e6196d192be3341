"""How each kind of work is measured."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from .contenders import CONTENDERS, Contender
from .idle import MIB, Idleness, measure_idle
from .processes import Workers
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
    idle: list[Idleness]
    """What was measured of processes that idle, once it was."""


Prepare: TypeAlias = Callable[[Stage], Awaitable[None]]
"""Before the first round, on all stages of a row at once."""

Measure: TypeAlias = Callable[[Stage, float], Awaitable[Sample]]
"""On a stage that is ready, for about that many seconds."""

MeasureAlone: TypeAlias = Callable[[Bench, Contender], Awaitable[Sample]]
"""With processes of its own, which have ended afterwards."""


async def calls(stage: Stage, seconds: float) -> Sample:
    """Calls a second with IN_FLIGHT of them on their way."""
    got = await stage.caller.ask("concurrent", size=TEXT_SIZE, in_flight=IN_FLIGHT, seconds=seconds)
    return Sample(got["calls"] / got["seconds"], {})


async def one_by_one(stage: Stage, seconds: float) -> Sample:
    """Median time of a call when the next is made after its answer."""
    got = await stage.caller.ask("sequential", size=TEXT_SIZE, seconds=seconds)
    return Sample(got["p50_us"], {"p99": got["p99_us"]})


async def echo(stage: Stage, seconds: float) -> Sample:
    """Megabytes a second there, which is as many back."""
    got = await stage.caller.ask("concurrent", size=ECHO_SIZE, in_flight=ECHO_IN_FLIGHT, seconds=seconds)
    return Sample(got["calls"] * ECHO_SIZE / 1e6 / got["seconds"], {})


async def prepare_publish(stage: Stage) -> None:
    """An event goes to more processes than a call does."""
    await stage.have_event_servers()


async def publish(stage: Stage, seconds: float) -> Sample:
    """Events that arrived a second, over all processes. Raises BenchError if one was lost or came twice."""
    few = await stage.deliver(FEW_EVENTS, IN_FLIGHT, EVENTS_TIMEOUT_S)
    count = max(FEW_EVENTS, int(few["rate"] / len(stage.servers) * seconds))
    got = await stage.deliver(count, IN_FLIGHT, EVENTS_TIMEOUT_S + seconds)
    for fault in ("lost", "repeated", "strange"):
        if got[fault] or few[fault]:
            raise BenchError(f"{stage.contender.name}: {got[fault] + few[fault]:.0f} events {fault}")
    return Sample(got["rate"], {"delivered": got["received"], "lost": got["lost"]})


async def prepare_publish_cost(stage: Stage) -> None:
    """Fill the table."""
    await stage.caller.ask("subscribe", others=stage.contender.options["others"])


async def publish_cost(stage: Stage, seconds: float) -> Sample:
    """CPU time of one publish and its delivery in one process, with other subscriptions in the table."""
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


async def idle_cpu(bench: Bench, _contender: Contender) -> Sample:
    """CPU of an idle process, in percent of a core."""
    return Sample((await _idleness(bench)).cpu_percent, {})


async def idle_memory(bench: Bench, _contender: Contender) -> Sample:
    """Memory of an idle process above that of a bare one: its own, and with what it shares."""
    idleness = await _idleness(bench)
    return Sample(idleness.uss_mib, {"RSS": idleness.rss_mib})


async def _idleness(bench: Bench) -> Idleness:
    """One cluster tells both, so it is started once."""
    if not bench.idle:
        seconds = max(bench.settings.seconds * 2, 1.0)
        bench.idle.append(await measure_idle(bench.workers, bench.settings.nodes, seconds, bench.shown))
    return bench.idle[-1]


async def agent_memory(bench: Bench, contender: Contender) -> Sample:
    """KiB for each live agent beyond the agent itself, as a dict of the same agents takes it."""
    held, plain = await _agent_kib(bench, contender), await _agent_kib(bench, CONTENDERS["plain-agents"])
    return Sample(held - plain, {"held": held, "in a dict": plain})


async def _agent_kib(bench: Bench, contender: Contender) -> float:
    stage = await open_stage(bench.workers, contender)
    try:
        got = await stage.caller.ask("hold_agents", count=bench.settings.agents)
        return float(got["bytes"]) / float(got["agents"]) / 1024
    finally:
        await stage.close()
