"""Keeps many calls to one agent in flight, and tells which of them had an answer that was not theirs."""

from __future__ import annotations

import asyncio

from autogen_core import AgentId

from tests.integration.messages import Text
from tests.integration.programs.reporting import SETTINGS, Commands, report
from zmqagents import ZmqAgentRuntime

IN_FLIGHT = 64


async def main() -> None:
    commands = Commands()
    name, count = SETTINGS["instance_id"], SETTINGS.pop("count")
    runtime = ZmqAgentRuntime(**SETTINGS)
    await runtime.start()
    await runtime.wait_for_agents("worker", 1, 10)
    report("ready")
    await commands.next()
    numbers = iter(range(count))
    answered = 0
    wrong: list[str] = []

    async def keep_calling() -> None:
        nonlocal answered
        for number in numbers:
            text = f"{name} {number}"
            reply = await runtime.send_message(Text(text), AgentId("worker", "one"))
            answered += 1
            if reply.content != text.upper():
                wrong.append(f"{text}: {reply.content}")

    await asyncio.gather(*(keep_calling() for _ in range(IN_FLIGHT)))
    report("called", answered=answered, wrong=wrong)
    await runtime.stop()


asyncio.run(main())
