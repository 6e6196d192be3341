"""A program of today: its orders are version 2."""

from __future__ import annotations

import asyncio

from autogen_core import AgentId

from examples.versioned_serializer.orders import Order, OrderSerializer
from zmqagents import ZmqAgentRuntime


async def main() -> None:
    runtime = ZmqAgentRuntime(discovery_timeout_s=60)
    runtime.add_message_serializer(OrderSerializer())
    await runtime.start()
    receipt = await runtime.send_message(Order("tea", cents=250, pieces=4), AgentId("warehouse", "default"))
    print(f"new shop: {receipt.text}")
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
