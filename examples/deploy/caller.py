"""Asks a few agents of the workers, prints their answers, and ends."""

from __future__ import annotations

import asyncio

from autogen_core import AgentId

from examples.deploy.messages import Answer, Ask
from zmqagents import ZmqAgentRuntime

QUESTIONS = 8


async def main() -> None:
    async with ZmqAgentRuntime() as runtime:
        await runtime.wait_for_agents("worker", 1, 60)
        for number in range(QUESTIONS):
            agent = AgentId("worker", f"customer-{number}")
            answer: Answer = await runtime.send_message(Ask(f"hello {number}"), agent)
            print(f"caller: {answer.text} from {answer.process}", flush=True)
    print(f"caller: {QUESTIONS} answers", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
