"""Four ways to stop waiting for an answer. The agent in the other process is told to stop in each of them."""

from __future__ import annotations

import asyncio

from autogen_core import AgentId, CancellationToken

from examples.timeout_and_cancellation.messages import Done, Work
from zmqagents import CallTimeoutError, ZmqAgentRuntime, call_timeout

WORKER = AgentId("slow_worker", "default")


async def timeout_argument(runtime: ZmqAgentRuntime) -> None:
    """A deadline for one call."""
    try:
        await runtime.send_message(Work("report", seconds=60), WORKER, timeout_s=1)
    except CallTimeoutError:  # a TimeoutError, too
        print("client: timeout_s ended the report")


async def timeout_block(runtime: ZmqAgentRuntime) -> None:
    """A deadline for all calls in a block; for agents, whose ``self.send_message`` has no timeout_s."""
    try:
        with call_timeout(1):
            await runtime.send_message(Work("survey", seconds=60), WORKER)
    except CallTimeoutError:
        print("client: call_timeout ended the survey")


async def cancelled_task(runtime: ZmqAgentRuntime) -> None:
    """Python's own way. Cancelling the task that makes the call does the same."""
    try:
        await asyncio.wait_for(runtime.send_message(Work("review", seconds=60), WORKER), timeout=1)
    except asyncio.TimeoutError:
        print("client: wait_for ended the review")


async def cancellation_token(runtime: ZmqAgentRuntime) -> None:
    """AutoGen's way. A user's Stop button would call ``token.cancel()``; here a timer does."""
    token = CancellationToken()
    asyncio.get_running_loop().call_later(1, token.cancel)
    try:
        await runtime.send_message(Work("letter", seconds=60), WORKER, cancellation_token=token)
    except asyncio.CancelledError:
        print("client: the token ended the letter")


async def main() -> None:
    runtime = ZmqAgentRuntime(discovery_timeout_s=60)
    await runtime.start()
    answer: Done = await runtime.send_message(Work("note", seconds=0), WORKER)
    print(f"client: the {answer.name} is done")
    await timeout_argument(runtime)
    await timeout_block(runtime)
    await cancelled_task(runtime)
    await cancellation_token(runtime)
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
