"""Asks many agents of the workers, tells which worker answered how often, and ends."""

from __future__ import annotations

import asyncio
from collections import Counter

from autogen_core import AgentId

from examples.deploy.messages import Answer, Ask
from zmqagents import ZmqAgentRuntime

QUESTIONS = 40


async def main() -> None:
    answered: Counter[str] = Counter()
    async with ZmqAgentRuntime() as runtime:
        await runtime.wait_for_agents("worker", 2, 60)  # two, so that one sees how agents are shared
        for number in range(QUESTIONS):
            agent = AgentId("worker", f"customer-{number}")
            answer: Answer = await runtime.send_message(Ask(f"hello {number}"), agent)
            if answer.text != f"HELLO {number}":
                raise RuntimeError(f"{answer} is no answer to question {number}")
            answered[answer.process] += 1
    for process, count in sorted(answered.items()):
        print(f"caller: {process} has answered {count} of {QUESTIONS} questions", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
