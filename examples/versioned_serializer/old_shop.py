"""A program of last year, still running: its orders are version 1, as AutoGen's own serializer writes them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from autogen_core import AgentId

from zmqagents import ZmqAgentRuntime


# What was in orders.py then. The class may differ; "Order" is the name that both versions travel under.
@dataclass
class Order:
    item: str
    euros: float


@dataclass
class Receipt:
    text: str


async def main() -> None:
    runtime = ZmqAgentRuntime(discovery_timeout_s=60)
    await runtime.start()
    receipt: Receipt = await runtime.send_message(Order("coffee", euros=3.10), AgentId("warehouse", "default"))
    print(f"old shop: {receipt.text}")
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
