"""Starts the program ``actor`` several times in one cluster, and asks its processes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.integration.processes import DEADLINE_S, Launch, Program


async def start(launch: Launch, cluster: str, *names: str, count: bool = True, **settings: Any) -> list[Program]:
    """Processes with those labels and the same settings; each knows all the others, unless ``count`` is false."""
    actors = await asyncio.gather(*(launch("actor", cluster=cluster, instance_id=name, **settings) for name in names))
    await asyncio.gather(*(actor.report("started") for actor in actors))
    if count:
        await asyncio.gather(
            *(ask(actor, "wait_for_peers", names=[*names[:n], *names[n + 1 :]]) for n, actor in enumerate(actors))
        )
    return list(actors)


async def ask(actor: Program, command: str, *, deadline_s: float = DEADLINE_S, **arguments: Any) -> Any:
    """What the command returns. AssertionError with what it raised."""
    await actor.tell(command, **arguments)
    return await told(actor, arguments.get("label", command), deadline_s)


async def told(actor: Program, label: str, deadline_s: float = DEADLINE_S) -> Any:
    """What a command returns that was sent before. AssertionError with what it raised."""
    report = await actor.report(label, deadline_s)
    assert "error" not in report, f"{actor}: {label}: {report['error']}"
    return report["value"]


async def ask_all(actors: Sequence[Program], command: str, **arguments: Any) -> list[Any]:
    """The same command to each of them at once."""
    return list(await asyncio.gather(*(ask(actor, command, **arguments) for actor in actors)))
