"""Sends readings to the station and shows its answer."""

from __future__ import annotations

import asyncio

from autogen_core import AgentId

from examples.protobuf.weather_pb2 import Reading, Summary
from zmqagents import ZmqAgentRuntime


async def main() -> None:
    runtime = ZmqAgentRuntime(discovery_timeout_s=60)
    await runtime.start()
    reading = Reading(place="roof", celsius=[3.5, -1.5, 7.25])
    summary: Summary = await runtime.send_message(reading, AgentId("station", "default"))
    print(f"thermometer: {summary.place} from {summary.lowest} to {summary.highest} degrees")
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
