"""The worker of AutoGen's documentation on distributed runtimes, with ours in the place of the gRPC one."""

# ruff: noqa: E402 - the time is taken before anything is imported

from __future__ import annotations

import time

FIRST_LINE_S = time.monotonic()

import asyncio

from autogen_core import MessageContext, RoutedAgent, message_handler

from tests.integration.messages import Text
from tests.integration.programs.reporting import SETTINGS, Commands, report
from zmqagents import ZmqAgentRuntime


class Worker(RoutedAgent):
    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        return Text(message.content.upper())


async def main() -> None:
    commands = Commands()
    runtime = ZmqAgentRuntime(**SETTINGS)
    await Worker.register(runtime, "worker", lambda: Worker("a worker"))
    await runtime.start()
    report("started", first_line_s=FIRST_LINE_S)
    await runtime.wait_until_stopped()
    report("stopped")
    del commands


asyncio.run(main())
