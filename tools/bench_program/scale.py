"""``tools/bench scale``: what one process costs as its cluster grows, with real processes on this machine.

What gossip should cost follows from SPEC.md, sections 6.3 and 7: each process sends HEARTBEAT once an interval, and
reads those of the processes that it listens to: all others, up to the size at which the overlay begins.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import mean

from rich.console import Console
from rich.table import Table

from zmqagents import RuntimeConfig
from zmqagents.protocol.codec import Heartbeat, encode_gossip
from zmqagents.protocol.overlay import neighbours

from . import chart, machine
from .arguments import add_outputs, positive
from .idle import CALM_S, cluster, cpu_percent, join
from .processes import Worker, Workers
from .progress import Progress
from .table import number

DEFAULT_SIZES = (2, 5, 10, 20, 40)
MOST_PROCESSES = 500


@dataclass(frozen=True)
class Scale:
    """What a cluster of ``processes`` did."""

    processes: int
    start_s: float
    """From the start of all, imports done, until the last one knows everybody."""
    change_s: float
    """From a new agent type in one process until the last one knows of it."""
    gossip_bytes_per_s: float
    """Read by one process at rest, mean over all: the parts of messages, without ZMTP and TCP."""
    expected_bytes_per_s: float
    """What the heartbeats that SPEC.md tells are."""
    link_bytes_per_s: float
    """Read by one process at rest on links."""
    cpu_percent: float
    """Of one core, of one process at rest, mean over all."""


def sizes_in(text: str) -> list[int]:
    """A type for argparse: ``2,5,10``."""
    try:
        sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write numbers separated by commas") from None
    if min(sizes) < 2 or max(sizes) > MOST_PROCESSES:
        raise argparse.ArgumentTypeError(f"{text!r}: write numbers from 2 to {MOST_PROCESSES}")
    return sizes


def make_parser() -> argparse.ArgumentParser:
    """The command line of ``scale``."""
    parser = argparse.ArgumentParser(
        prog="tools/bench scale", description="Shows what one process of a cluster costs as the cluster grows."
    )
    parser.add_argument(
        "--sizes", type=sizes_in, default=list(DEFAULT_SIZES), metavar="LIST", help="default: 2,5,10,20,40"
    )
    parser.add_argument("--seconds", type=positive(float), default=5.0, metavar="S", help="at rest (default: 5)")
    add_outputs(parser)
    return parser


def expected_bytes_per_s(processes: int, heartbeat_s: float) -> float:
    """What a process reads at rest: a heartbeat, an interval, of each that it listens to (mean over all)."""
    size_bytes = sum(len(part) for part in encode_gossip(Heartbeat(bytes(16), 5, processes, bytes(8), 0)))
    ids = [number.to_bytes(16, "big") for number in range(processes)]
    listened_to = mean(len(neighbours(own, ids)) for own in ids)
    return listened_to * size_bytes / heartbeat_s


async def measure(workers: Workers, size: int, seconds: float, shown: Callable[[str], None]) -> Scale:
    """One cluster, from its start to its end."""
    async with cluster(workers, size, shown) as nodes:
        shown(f"{size} processes meet")
        begun_s = time.monotonic()
        start_s = max(await join(nodes)) - begun_s
        shown("a change spreads")
        change_s = await _change(nodes)
        await asyncio.sleep(CALM_S)
        shown(f"{size} processes at rest")
        before = await _heard(nodes)
        used = await cpu_percent(nodes, seconds)
        after = await _heard(nodes)
    return Scale(
        size,
        start_s,
        change_s,
        _rate("gossip_bytes", before, after),
        expected_bytes_per_s(size, RuntimeConfig().heartbeat_s),
        _rate("link_bytes", before, after),
        mean(used),
    )


async def _change(nodes: Sequence[Worker]) -> float:
    hearing = [asyncio.create_task(node.ask("hear_of_change")) for node in nodes[1:]]
    try:
        begun_s = await nodes[0].ask("change")
        return float(max(await asyncio.gather(*hearing)) - begun_s)
    finally:
        for task in hearing:
            task.cancel()


async def _heard(nodes: Sequence[Worker]) -> list[dict[str, float]]:
    heard: list[dict[str, float]] = await asyncio.gather(*(node.ask("heard") for node in nodes))
    return heard


def _rate(name: str, before: Sequence[dict[str, float]], after: Sequence[dict[str, float]]) -> float:
    return mean(
        (now[name] - then[name]) / (now["at_s"] - then["at_s"]) for now, then in zip(after, before, strict=True)
    )


def make_table(scales: Sequence[Scale]) -> Table:
    """A line for each size."""
    table = Table(title="A process of a cluster; bytes without ZMTP and TCP", title_justify="left")
    for heading in (
        "processes",
        "all know all after",
        "a change is known after",
        "gossip read",
        "expected (SPEC 6.3)",
        "measured / expected",
        "links, read",
        "CPU",
    ):
        table.add_column(heading, justify="right")
    for scale in scales:
        table.add_row(
            str(scale.processes),
            f"{scale.start_s:.2f} s",
            f"{scale.change_s * 1000:.0f} ms",
            f"{number(scale.gossip_bytes_per_s)} B/s",
            f"{number(scale.expected_bytes_per_s)} B/s",
            f"{scale.gossip_bytes_per_s / scale.expected_bytes_per_s:.2f}",
            f"{number(scale.link_bytes_per_s)} B/s",
            f"{scale.cpu_percent:.2f} %",
        )
    return table


async def run(options: argparse.Namespace, console: Console, command: str, workers: Workers) -> None:
    """Measure each size and show them."""
    about = machine.describe(command)
    progress = Progress(len(options.sizes))
    scales = []
    for size in options.sizes:
        progress.step(f"{size} processes", "starting")
        scales.append(await measure(workers, size, options.seconds, progress.detail))
    progress.end()
    console.print(machine.one_line(about), soft_wrap=True, highlight=False)
    console.print(make_table(scales))
    if options.json is not None:
        found = {"machine": about, "scale": [asdict(scale) for scale in scales]}
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    if options.chart is not None:
        curves: dict[str, dict[str, Sequence[float]]] = {
            "s until all know all": {"start": [scale.start_s for scale in scales]},
            "gossip read by a process, B/s": {
                "measured": [scale.gossip_bytes_per_s for scale in scales],
                "expected": [scale.expected_bytes_per_s for scale in scales],
            },
            "CPU of a process, % of a core": {"at rest": [scale.cpu_percent for scale in scales]},
        }
        chart.draw_curves(machine.one_line(about), [scale.processes for scale in scales], curves, options.chart)
