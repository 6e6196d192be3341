"""A process that hosts one agent type, until Ctrl-C."""

from __future__ import annotations

import asyncio

from autogen_core import MessageContext, RoutedAgent, message_handler

from examples.worker_and_coordinator.messages import Result, Task
from zmqagents import ZmqAgentRuntime


class Worker(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Writes words in capitals")

    @message_handler
    async def on_task(self, message: Task, ctx: MessageContext) -> Result:
        print(f"worker: {message.word!r} from {ctx.sender}")
        return Result(message.word.upper())


async def main() -> None:
    # No address, no broker: processes on this machine find each other by mDNS and then talk directly over ZeroMQ.
    runtime = ZmqAgentRuntime()
    await Worker.register(runtime, "worker", lambda: Worker())
    await runtime.start()
    print("worker: started")
    await runtime.wait_until_stopped()  # Ctrl-C or SIGTERM: finish the work at hand, say goodbye to the others
    print("worker: stopped")


if __name__ == "__main__":
    asyncio.run(main())
