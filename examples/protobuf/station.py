"""Hosts an agent whose messages are Protobuf, until Ctrl-C."""

from __future__ import annotations

import asyncio

from autogen_core import MessageContext, RoutedAgent, message_handler

from examples.protobuf.weather_pb2 import Reading, Summary
from zmqagents import ZmqAgentRuntime


class Station(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Sums up readings")

    # Generated classes are used as dataclasses are; the runtime sees what they are and writes them as Protobuf.
    @message_handler
    async def on_reading(self, message: Reading, ctx: MessageContext) -> Summary:
        print(f"station: {len(message.celsius)} readings of {message.place}")
        return Summary(place=message.place, lowest=min(message.celsius), highest=max(message.celsius))


async def main() -> None:
    runtime = ZmqAgentRuntime()
    await Station.register(runtime, "station", lambda: Station())
    await runtime.start()
    print("station: started")
    await runtime.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(main())
