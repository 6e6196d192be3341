"""Takes orders of both versions, until Ctrl-C."""

from __future__ import annotations

import asyncio

from autogen_core import MessageContext, RoutedAgent, message_handler

from examples.versioned_serializer.orders import Order, OrderSerializer, Receipt
from zmqagents import ZmqAgentRuntime


class Warehouse(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Takes orders")

    @message_handler
    async def on_order(self, message: Order, ctx: MessageContext) -> Receipt:
        print(f"warehouse: {message}")
        return Receipt(f"{message.pieces} x {message.item}, {message.pieces * message.cents} cents")


async def main() -> None:
    runtime = ZmqAgentRuntime()
    runtime.add_message_serializer(OrderSerializer())  # takes the place of AutoGen's own for this type
    await Warehouse.register(runtime, "warehouse", lambda: Warehouse())
    await runtime.start()
    print("warehouse: started")
    await runtime.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(main())
