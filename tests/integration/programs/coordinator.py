"""The coordinator of AutoGen's documentation: calls the worker once, and ends."""

# ruff: noqa: E402 - the time is taken before anything is imported

from __future__ import annotations

import time

FIRST_LINE_S = time.monotonic()

import asyncio

from autogen_core import AgentId

from tests.integration.messages import Text
from tests.integration.programs.reporting import SETTINGS, Commands, report
from zmqagents import ZmqAgentRuntime


async def main() -> None:
    commands = Commands()
    runtime = ZmqAgentRuntime(**SETTINGS)
    await runtime.start()
    report("started", first_line_s=FIRST_LINE_S)
    answer = await runtime.send_message(Text("hello"), AgentId("worker", "default"))
    report("answered", text=answer.content, at_s=time.monotonic())
    await runtime.stop_when_idle()
    del commands


asyncio.run(main())
