"""What convergence and gossip cost as a cluster grows: ``run_scale`` for a thousand real ``Node`` cores.

Records and gossip are decoded once for all nodes, which is the one thing here that a real cluster doesn't do.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from unittest.mock import patch

from tests.simulation.crowd import Cell, World
from zmqagents.protocol.codec import decode_gossip
from zmqagents.protocol.membership import read_entry
from zmqagents.protocol.records import decode_record

SEEDS = 3
BURST_S = 1.0  # within which all nodes start
CALM_S = 3.0  # from the end of one measurement to the next: pulls that were under way end
REST_S = 4.0


@dataclass(frozen=True)
class ScaleReport:
    """What a cluster of ``nodes`` cost; times are virtual seconds, bytes are those that one node receives."""

    nodes: int
    seed: int
    start_s: float
    """From the start of the last node until all know all."""
    change_s: float
    """From the change of one record until all know it."""
    crash_s: float
    """From the crash of one node until all know of it."""
    start_bytes_per_s: float
    """From the first node's start until all know all."""
    start_bytes_mean: float
    """In all, not in a second."""
    start_bytes_most: int
    """Of the node that received most, which is a seed."""
    rest_bytes_per_s: float
    rest_bytes_per_s_most: float
    listened_to_mean: float
    listened_to_most: int
    listeners_most: int
    links_mean: float
    wall_s: float = field(compare=False)


@contextmanager
def decoding_once() -> Iterator[None]:
    """Records and gossip that many nodes read are decoded once; and no garbage is sought, for there is little."""
    record, entry = lru_cache(maxsize=65_536)(decode_record), lru_cache(maxsize=65_536)(read_entry)
    parts_read = lru_cache(maxsize=8_192)(decode_gossip)
    collecting = gc.isenabled()
    gc.disable()
    try:
        with (
            patch("zmqagents.protocol.membership.read_entry", entry),
            patch("zmqagents.protocol.sync.decode_record", record),
            patch("zmqagents.protocol.node.decode_gossip", lambda parts: parts_read(tuple(parts))),
        ):
            yield
    finally:
        if collecting:
            gc.enable()


def run_scale(
    nodes: int, seed: int, *, everybody_sighted: bool = False, progress: Callable[[str], None] | None = None
) -> ScaleReport:
    """Start a cluster, change a record, kill a node; measure. AssertionError if the nodes don't come to agree.

    With ``everybody_sighted`` discovery shows everybody to everybody, as mDNS does; without it there are SEEDS seeds.
    """
    if nodes <= SEEDS:
        raise ValueError(f"more than {SEEDS} nodes are needed, got {nodes}")
    with decoding_once():
        return _run(World(seed), nodes, seed, everybody_sighted, progress or (lambda _: None))


def _run(world: World, nodes: int, seed: int, everybody_sighted: bool, progress: Callable[[str], None]) -> ScaleReport:
    wall_s = time.perf_counter()
    begun_s = world.now_s
    last_s = start_all(world, [f"node{number}" for number in range(nodes)], everybody_sighted=everybody_sighted)
    world.run(last_s - world.now_s)
    progress(f"{nodes:,} nodes have started")
    start_s = world.run_until(lambda: len(world.cells) == nodes and world.converged(), "the start")
    start_bytes, started_s = world.received(), world.now_s - begun_s
    progress(f"all know all after {start_s:.2f} s")
    world.run(CALM_S)
    before = world.received()
    world.run(REST_S)
    rest = [(now - then) / REST_S for now, then in zip(world.received(), before, strict=True)]
    cells = list(world.cells.values())
    listened = [cell.listens_to for cell in cells]
    listeners = max(len(cell.listeners) for cell in cells)
    links = sum(len(cell.node.state.peers) for cell in cells) / nodes
    progress(f"at rest a node receives {sum(rest) / nodes:,.0f} bytes/s")
    change_s = _change_one(world)
    progress(f"all know of a change after {change_s:.2f} s")
    world.run(CALM_S)
    crash_s = _crash_one(world)
    progress(f"all know of a crash after {crash_s:.2f} s")
    return ScaleReport(
        nodes,
        seed,
        start_s,
        change_s,
        crash_s,
        sum(start_bytes) / nodes / started_s,
        sum(start_bytes) / nodes,
        max(start_bytes),
        sum(rest) / nodes,
        max(rest),
        sum(listened) / nodes,
        max(listened),
        listeners,
        links,
        time.perf_counter() - wall_s,
    )


def start_all(world: World, names: list[str], *, everybody_sighted: bool = False) -> float:
    """Starts them in the course of BURST_S; returns when the last one will. The first SEEDS are the others' seeds."""
    seeds = names[:SEEDS]

    def start(name: str) -> None:
        others = list(world.cells.values())
        cell = Cell(world, name)
        cell.join([] if everybody_sighted else [seed for seed in seeds if seed != name])
        if everybody_sighted:
            for other in others:
                world.after(world.delay_s(), cell.sight, other)
                world.after(world.delay_s(), other.sight, cell)

    starts_s = [0.0] * SEEDS + sorted(world.random.uniform(0.01, BURST_S) for _ in names[SEEDS:])
    for name, at_s in zip(names, starts_s, strict=True):
        world.after(at_s, start, name)
    return world.now_s + starts_s[-1]


def _change_one(world: World) -> float:
    """One node publishes a change of its record."""
    cell = world.random.choice(list(world.cells.values()))
    node = cell.node
    cell.do(lambda: node.publish_record(replace(node.record, load=1)))
    return world.run_until(world.converged, "a change")


def _crash_one(world: World) -> float:
    """One node that is no seed is killed."""
    world.random.choice(list(world.cells.values())[SEEDS:]).kill()
    return world.run_until(world.converged, "a crash")


def print_report(report: ScaleReport, write: Callable[[str], None] = print) -> None:
    """Show it to a person."""
    write(f"{report.nodes:,} nodes, seed {report.seed}: {report.wall_s:.1f} s of this machine's time")
    write(f"  start         all know all {report.start_s:.2f} s after the last one started (all within {BURST_S:g} s)")
    write(f"  change        of one record is known to all after {report.change_s:.2f} s")
    write(f"  crash         of one node is known to all after {report.crash_s:.2f} s")
    write(
        f"  overlay       a node listens to {report.listened_to_mean:.1f} others (at most {report.listened_to_most}; "
        f"at most {report.listeners_most} listen to it) and has {report.links_mean:.1f} links"
    )
    write(
        f"  gossip, sync  at rest {report.rest_bytes_per_s:,.0f} bytes/s a node (at most "
        f"{report.rest_bytes_per_s_most:,.0f}); during the start {report.start_bytes_per_s:,.0f} bytes/s a node: "
        f"{report.start_bytes_mean:,.0f} bytes in all, at most {report.start_bytes_most:,}"
    )


def show_scale(nodes: int, seed: int) -> int:
    """Run and print, with a line of progress after each part; the exit status of a program that does just that."""
    print_report(run_scale(nodes, seed, progress=lambda line: print(line, flush=True)))  # noqa: T201  # for a person
    return 0
