"""Hears the prices that other processes publish, until Ctrl-C."""

from __future__ import annotations

import asyncio

from autogen_core import MessageContext, RoutedAgent, message_handler, type_subscription

from examples.publisher_and_subscriber.messages import Price
from zmqagents import ZmqAgentRuntime


# A topic has a type and a source. Each source gets an agent of its own, whose key is the source: an event on
# TopicId("prices", "tea") goes to AgentId("subscriber", "tea"), which is made when its first event comes.
@type_subscription(topic_type="prices")
class Subscriber(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Remembers the last price")
        self._last: int | None = None

    @message_handler
    async def on_price(self, message: Price, ctx: MessageContext) -> None:
        print(f"subscriber: {self.id.key} was {self._last}, now {message.cents}")
        self._last = message.cents


async def main() -> None:
    runtime = ZmqAgentRuntime()
    await Subscriber.register(runtime, "subscriber", lambda: Subscriber())
    await runtime.start()
    print("subscriber: started")
    await runtime.wait_until_stopped()
    print("subscriber: stopped")


if __name__ == "__main__":
    asyncio.run(main())
