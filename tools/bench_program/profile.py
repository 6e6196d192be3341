"""``tools/bench profile``: where a call's microseconds go, in the process that calls and in the one that answers."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from . import machine
from .arguments import names_in, positive
from .contenders import CONTENDERS
from .measures import IN_FLIGHT, TEXT_SIZE
from .processes import Workers
from .progress import Progress
from .stages import open_stage
from .wire import BenchError, Json

# Not on uvloop: there a signal that comes while the loop waits is handled in the first function that runs next.
PROFILED = ("zmqagents", "zmqagents-msgpack", "pyzmq", "pyzmq-json", "autogen-grpc")

LOOP = "event loop: epoll"
OTHER_THREADS = "other threads (libzmq's I/O thread)"

# Where a file belongs: the first of these that is part of its path.
GROUPS = (
    ("zmqagents/protocol/codec.py", "codec: frames and bytes"),
    ("zmqagents/protocol/frames.py", "codec: frames and bytes"),
    ("zmqagents/protocol/link.py", "link: order, acks, dedup, window"),
    ("zmqagents/protocol/windows.py", "link: order, acks, dedup, window"),
    ("zmqagents/protocol/", "core: node, calls, directory, membership"),
    ("zmqagents/transport/driver.py", "driver"),
    ("zmqagents/transport/", "transport: sockets"),
    ("/zmq/", "transport: sockets"),
    ("zmqagents/runtime/serialization.py", "payloads"),
    ("zmqagents/runtime/codecs", "payloads"),
    ("/msgspec/", "payloads"),
    ("zmqagents/runtime/", "runtime"),
    ("/autogen_", "AutoGen"),
    ("/grpc/", "gRPC"),
    ("/opentelemetry/", "OpenTelemetry"),
    ("/asyncio/", "asyncio"),
    ("/selectors.py", "asyncio"),
    ("tools/bench_program/", "the bench itself"),
)
OTHER = "the rest of Python"
SHOWN_FUNCTIONS = 12


@dataclass(frozen=True)
class SideProfile:
    """One process, microseconds of CPU time for each call."""

    groups: Mapping[str, float]
    functions: Mapping[str, float]
    waiting: float
    """Share of the main thread's time in which it waited for something to do."""

    @property
    def total_us(self) -> float:
        """CPU time of the process for each call."""
        return sum(self.groups.values())


def group_of(file: str) -> str:
    """The part of the design that a file belongs to."""
    return next((group for part, group in GROUPS if part in file), OTHER)


def in_loop(file: str, name: str) -> bool:
    """Whether a sample was taken in the event loop itself: while it waits, or asks the kernel what there is."""
    return name == "select" and file.endswith("selectors.py")


def side_profile(samples: Json, calls: int) -> SideProfile:
    """The main thread's CPU time for a call, split like its samples. BenchError without calls.

    Of the samples in the event loop, those are of waiting which the thread's CPU time doesn't account for.
    """
    if calls <= 0:
        raise BenchError("no call was made")
    busy: Counter[str] = Counter()
    functions: Counter[str] = Counter()
    looping = 0
    for file, name, count in samples["functions"]:
        if in_loop(file, name):
            looping += count
        else:
            busy[group_of(file)] += count
            functions["/".join(file.rsplit("/", 2)[-2:]) + f" {name}"] += count
    taken = looping + sum(busy.values())
    idle_share = max(0.0, 1 - samples["main_thread_s"] / samples["seconds"])
    waited = min(looping, round(taken * idle_share))
    busy[LOOP] += looping - waited
    functions[LOOP] += looping - waited
    per_sample_us = samples["main_thread_s"] * 1e6 / calls / max(1, taken - waited)
    groups = {group: count * per_sample_us for group, count in busy.most_common()}
    groups[OTHER_THREADS] = samples["other_threads_s"] * 1e6 / calls
    return SideProfile(
        groups,
        {name: count * per_sample_us for name, count in functions.most_common(SHOWN_FUNCTIONS)},
        waited / max(1, taken),
    )


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``profile``."""
    parser = argparse.ArgumentParser(
        prog="tools/bench profile",
        description=f"Shows where a call's CPU time goes, with {IN_FLIGHT} calls in flight, in caller and server; by\n"
        "samples, one each millisecond. Time within a C function counts for the Python function that called it.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--peers", type=names_in(PROFILED), default=["zmqagents"], metavar="LIST", help=f"of {', '.join(PROFILED)}"
    )
    parser.add_argument("--seconds", type=positive(float), default=5.0, metavar="S", help="default: 5")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.set_defaults(chart=None)
    return parser


async def profile(workers: Workers, name: str, seconds: float) -> tuple[float, dict[str, SideProfile]]:
    """Calls a second while sampled, and both sides."""
    stage = await open_stage(workers, CONTENDERS[name])
    try:
        sides = {"caller": stage.caller, "server": stage.servers[0]}
        work = {"size": TEXT_SIZE, "in_flight": IN_FLIGHT}
        await stage.caller.ask("concurrent", seconds=min(1.0, seconds), **work)
        for side in sides.values():
            await side.ask("sample")
        got = await stage.caller.ask("concurrent", seconds=seconds, **work)
        samples = await asyncio.gather(*(side.ask("samples") for side in sides.values()))
    finally:
        await stage.close()
    profiles = {side: side_profile(taken, got["calls"]) for side, taken in zip(sides, samples, strict=True)}
    return got["calls"] / got["seconds"], profiles


def make_table(title: str, sides: Mapping[str, SideProfile], *, functions: bool) -> Table:
    """Microseconds by part of the design, or by function."""
    table = Table(title=title, title_justify="left")
    table.add_column("where")
    for side in sides:
        table.add_column(f"{side}, µs", justify="right")
    parts = {side: each.functions if functions else each.groups for side, each in sides.items()}
    names = {name for each in parts.values() for name in each}
    for name in sorted(names, key=lambda name: -sum(each.get(name, 0.0) for each in parts.values())):
        table.add_row(name, *(f"{each[name]:.2f}" if name in each else "" for each in parts.values()))
    if not functions:
        table.add_section()
        table.add_row("CPU time for a call", *(f"{each.total_us:.1f}" for each in sides.values()))
        table.add_row("main thread waited", *(f"{each.waiting:.0%}" for each in sides.values()))
    return table


async def run(options: argparse.Namespace, console: Console, command: str, workers: Workers) -> None:
    """Profile each contender and show both tables."""
    about = machine.describe(command)
    progress = Progress(len(options.peers))
    found = {}
    for name in options.peers:
        if CONTENDERS[name].absent():
            raise BenchError(f"{name} is {CONTENDERS[name].absent()}")
        progress.step(name, "calls")
        rate, sides = await profile(workers, name, options.seconds)
        progress.detail("done")
        found[name] = {"calls_per_s": rate, **{side: asdict(each) for side, each in sides.items()}}
        title = f"{CONTENDERS[name].title}: {rate:,.0f} calls/s while sampled"
        console.print(make_table(title, sides, functions=False))
        console.print(make_table("the same by function", sides, functions=True))
    progress.end()
    console.print(machine.one_line(about), soft_wrap=True, highlight=False)
    if options.json is not None:
        text = json.dumps({"machine": about, "profiles": found}, indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
