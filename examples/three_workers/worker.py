"""One of several processes that host the same agent type. Start as many as you like, each with its own INSTANCE_ID."""

from __future__ import annotations

import asyncio

from autogen_core import MessageContext, RoutedAgent, message_handler

from examples.three_workers.messages import Count, Counted
from zmqagents import ZmqAgentRuntime


class Worker(RoutedAgent):
    """Has a state, its count. That is safe, because each AgentId lives in one process at a time."""

    def __init__(self, process: str) -> None:
        super().__init__("Counts its calls")
        self._process = process
        self._calls = 0

    @message_handler
    async def on_count(self, message: Count, ctx: MessageContext) -> Counted:
        self._calls += 1
        return Counted(self._calls, self._process)


async def main() -> None:
    runtime = ZmqAgentRuntime()
    name = runtime.config.instance_id  # taken from the environment variable INSTANCE_ID
    await Worker.register(runtime, "worker", lambda: Worker(name))
    await runtime.start()
    print(f"{name}: started")
    await runtime.wait_until_stopped()
    print(f"{name}: stopped")


if __name__ == "__main__":
    asyncio.run(main())
