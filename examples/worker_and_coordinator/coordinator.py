"""A process whose agent lets the workers of other processes do the job."""

from __future__ import annotations

import asyncio

from autogen_core import AgentId, MessageContext, RoutedAgent, message_handler

from examples.worker_and_coordinator.messages import Job, Result, Task
from zmqagents import ZmqAgentRuntime


class Coordinator(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Splits a job into tasks")

    @message_handler
    async def on_job(self, message: Job, ctx: MessageContext) -> Result:
        # As in one process: an AgentId says which agent is meant, not where it lives. The runtime knows where.
        calls = (self.send_message(Task(word), AgentId("worker", "default")) for word in message.text.split())
        results: list[Result] = await asyncio.gather(*calls)
        return Result(" ".join(result.text for result in results))


async def main() -> None:
    # A call to a type that no process hosts yet waits this long, so you can take your time to start the worker.
    runtime = ZmqAgentRuntime(discovery_timeout_s=60)
    await Coordinator.register(runtime, "coordinator", lambda: Coordinator())
    await runtime.start()
    print("coordinator: started")
    result = await runtime.send_message(Job("hello from another process"), AgentId("coordinator", "default"))
    print(f"coordinator: {result.text}")
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
