"""The life of a process that the conductor started: join, play a part, leave when the conductor is gone.

A child ends when its standard input does. That covers every way in which a conductor can end, SIGKILL included: the
pipe closes with it. Nothing is ever sent through the pipe.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from zmqagents import ZmqAgentRuntime

from . import reports

# Leaving says goodbye to two peers on this machine, which takes milliseconds; a child that can't do it goes anyway.
LEAVE_TIMEOUT_S = 5.0

# Three processes start together and import for about a second each; a slow machine may need several.
MEET_TIMEOUT_S = 20.0

Step = Callable[[ZmqAgentRuntime], Awaitable[None]]


def run(register: Step, play: Step) -> None:
    """Run ``python -m tools.demo_program.PART CLUSTER NAME``: ``register`` before joining, ``play`` once joined."""
    _, cluster, name = sys.argv
    asyncio.run(_live(ZmqAgentRuntime(cluster=cluster, instance_id=name), register, play))


async def meet(runtime: ZmqAgentRuntime, **processes: int) -> None:
    """Return once every agent type named is hosted by that many processes, and report who they are."""
    for agent_type, count in processes.items():
        await runtime.wait_for_agents(agent_type, count, MEET_TIMEOUT_S)
    peers = [
        reports.Peer(
            name=peer.instance_id, endpoint=peer.endpoint, agent_types=list(peer.agent_types), source=peer.source
        )
        for peer in runtime.peers()
    ]
    reports.send(reports.Found(peers=peers))


async def _live(runtime: ZmqAgentRuntime, register: Step, play: Step) -> None:
    conductor_gone = asyncio.create_task(_end_of_input())
    part = asyncio.create_task(_part(runtime, register, play))
    try:
        await asyncio.wait({part, conductor_gone}, return_when=asyncio.FIRST_COMPLETED)
        if part.done():
            part.result()
        await conductor_gone  # agents go on serving until then
    finally:
        await _end(part)
        await asyncio.wait_for(runtime.stop(), LEAVE_TIMEOUT_S)


async def _part(runtime: ZmqAgentRuntime, register: Step, play: Step) -> None:
    await register(runtime)
    await runtime.start()
    reports.send(reports.Up(pid=os.getpid()))
    await play(runtime)


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel ``task`` until it has ended: before Python 3.12, asyncio.wait_for could lose a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=0.1)


async def _end_of_input() -> None:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    try:
        await reader.read()
    finally:
        transport.close()
