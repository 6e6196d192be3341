"""Calls 30 agents of one type and shows in which processes they live."""

from __future__ import annotations

import asyncio
from collections import Counter

from autogen_core import AgentId

from examples.three_workers.messages import Count, Counted
from zmqagents import ZmqAgentRuntime

KEYS = [f"customer-{number}" for number in range(30)]


async def main() -> None:
    runtime = ZmqAgentRuntime()
    await runtime.start()
    await runtime.wait_for_agents("worker", 3, 60)

    # The key of an AgentId decides on the process: all processes of the cluster compute the same home for it.
    homes: dict[str, str] = {}
    for key in KEYS:
        first: Counted = await runtime.send_message(Count(), AgentId("worker", key))
        again: Counted = await runtime.send_message(Count(), AgentId("worker", key))
        if again != Counted(2, first.process):
            raise RuntimeError(f"{key} was answered by two agents: {first}, {again}")
        homes[key] = first.process
    print(f"client: each of {len(KEYS)} keys was answered twice by the same process")
    for process, count in sorted(Counter(homes.values()).items()):
        print(f"client: {process} is the home of {count} of them")
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
