"""The kinds of work: who does each, and what has to be reached."""

from __future__ import annotations

from dataclasses import dataclass

from . import measures
from .measures import ECHO_IN_FLIGHT, IN_FLIGHT, TEXT_SIZE, Measure, MeasureAlone, Prepare
from .results import Better, Goal

MORE, LESS = Better.MORE, Better.LESS
OWN, CEILING, AUTOGEN = "zmqagents", "pyzmq", "autogen-grpc"
_CALLED = (OWN, AUTOGEN, CEILING, "pyzmq-json", "grpc", "nats", "xoscar")


@dataclass(frozen=True)
class Row:
    """One kind of work."""

    name: str
    title: str
    """May name ``{nodes}`` and ``{agents}`` of the settings."""
    unit: str
    better: Better
    contenders: tuple[str, ...]
    how: Measure | None = None
    """Measures on a stage that stays from round to round, and from row to row."""
    prepare: Prepare | None = None
    how_alone: MeasureAlone | None = None
    """Measures with processes of its own."""
    goals: tuple[Goal, ...] = ()
    most_rounds: int = 1_000
    """For what takes long and varies little."""


_ALL = (
    Row(
        "calls",
        f"calls, {IN_FLIGHT} in flight, {TEXT_SIZE} characters",
        "calls/s",
        MORE,
        _CALLED,
        measures.calls,
        goals=(Goal(OWN, AUTOGEN, 8, 15), Goal(OWN, CEILING, 0.7, 1.0)),
    ),
    Row(
        "sequential",
        f"one call after the other, {TEXT_SIZE} characters, p50",
        "µs",
        LESS,
        _CALLED,
        measures.one_by_one,
        goals=(Goal(OWN, CEILING, 1.5, 1.2),),
    ),
    Row(
        "echo",
        f"echo of 1 MiB, {ECHO_IN_FLIGHT} in flight, one way counted",
        "MB/s",
        MORE,
        (OWN, "zmqagents-msgpack", AUTOGEN, CEILING, "pyzmq-copying", "pyzmq-json", "grpc", "nats", "xoscar"),
        measures.echo,
        # Against the one that copies, since who is given a message as an object has its bytes copied once at least.
        goals=(Goal(OWN, "pyzmq-copying", 0.6, 0.9), Goal("zmqagents-msgpack", "pyzmq-copying", 0.6, 0.9)),
    ),
    Row(
        "curve",
        f"calls, {IN_FLIGHT} in flight, CURVE on and off",
        "calls/s",
        MORE,
        (OWN, "zmqagents-curve", CEILING, "pyzmq-curve"),
        measures.calls,
        goals=(Goal("zmqagents-curve", OWN, 0.6, 0.8),),
    ),
    Row(
        "uvloop",
        f"calls, {IN_FLIGHT} in flight, asyncio's loop and uvloop",
        "calls/s",
        MORE,
        (OWN, "zmqagents-uvloop", CEILING, "pyzmq-uvloop"),
        measures.calls,
    ),
    Row(
        "relayed",
        f"calls, {IN_FLIGHT} in flight, direct and by a forwarder",
        "calls/s",
        MORE,
        (OWN, "zmqagents-relayed"),
        measures.calls,
        goals=(Goal("zmqagents-relayed", OWN, 0.4, 0.6),),
    ),
    Row(
        "publish",
        "events to 4 processes, none lost",
        "delivered/s",
        MORE,
        (OWN, AUTOGEN, CEILING, "nats"),
        measures.publish,
        measures.prepare_publish,
        goals=(Goal(OWN, AUTOGEN, 8, 15),),
    ),
    Row(
        "local",
        f"calls within a process, {IN_FLIGHT} in flight",
        "calls/s",
        MORE,
        ("zmqagents-local", "autogen-local"),
        measures.calls,
        goals=(Goal("zmqagents-local", "autogen-local", 4, 8),),
    ),
    Row(
        "local-sequential",
        "one call after the other within a process, p50",
        "µs",
        LESS,
        ("zmqagents-local", "autogen-local"),
        measures.one_by_one,
    ),
    Row(
        "subscriptions",
        "one publish and its delivery, by other subscriptions in the table, CPU",
        "µs",
        LESS,
        ("zmqagents-10k-subscriptions", "zmqagents-10-subscriptions"),
        measures.publish_cost,
        measures.prepare_publish_cost,
        goals=(Goal("zmqagents-10k-subscriptions", "zmqagents-10-subscriptions", 1.1, 1.0),),
    ),
    Row(
        "start",
        "from start to the first answer, both processes new, without imports",
        "s",
        LESS,
        (OWN, AUTOGEN),
        how_alone=measures.first_call,
        goals=(Goal(OWN, "", 0.5, 0.2),),
    ),
    Row(
        "idle-cpu",
        "idle process in a cluster of {nodes}: CPU",
        "% of a core",
        LESS,
        (OWN,),
        how_alone=measures.idle_cpu,
        goals=(Goal(OWN, "", 1.0, 0.3),),
        most_rounds=1,
    ),
    Row(
        "idle-memory",
        "idle process in a cluster of {nodes}: memory above import autogen_core, USS",
        "MiB",
        LESS,
        (OWN,),
        how_alone=measures.idle_memory,
        goals=(Goal(OWN, "", 20, 10),),
        most_rounds=1,
    ),
    Row(
        "agent-memory",
        "{agents} live agents: memory for each beyond the agent itself",
        "KiB",
        LESS,
        ("zmqagents-agents",),
        how_alone=measures.agent_memory,
        goals=(Goal("zmqagents-agents", "", 1.0, 0.5),),
        most_rounds=1,
    ),
)

ROWS: dict[str, Row] = {row.name: row for row in _ALL}
