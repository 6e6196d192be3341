"""Hosts an agent that takes its time, and stops when its caller no longer waits."""

from __future__ import annotations

import asyncio

from autogen_core import MessageContext, RoutedAgent, message_handler

from examples.timeout_and_cancellation.messages import Done, Work
from zmqagents import ZmqAgentRuntime


class SlowWorker(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Takes its time")

    @message_handler
    async def on_work(self, message: Work, ctx: MessageContext) -> Done:
        work = asyncio.ensure_future(asyncio.sleep(message.seconds))
        # When the caller gives up, its runtime tells this one, which cancels the token of this call, and with it
        # whatever is linked to it. A handler that ignores its token is cancelled itself, half a second later.
        ctx.cancellation_token.link_future(work)
        try:
            await work
        except asyncio.CancelledError:
            print(f"worker: told to stop {message.name}")
            raise
        print(f"worker: finished {message.name}")
        return Done(message.name)


async def main() -> None:
    runtime = ZmqAgentRuntime()
    await SlowWorker.register(runtime, "slow_worker", lambda: SlowWorker())
    await runtime.start()
    print("worker: started")
    await runtime.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(main())
