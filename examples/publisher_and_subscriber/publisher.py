"""Publishes prices. It needs to know the topic, not who listens to it."""

from __future__ import annotations

import asyncio

from autogen_core import TopicId

from examples.publisher_and_subscriber.messages import Price
from zmqagents import ZmqAgentRuntime


async def main() -> None:
    runtime = ZmqAgentRuntime()
    await runtime.start()
    # An event goes to those who are subscribed when it is published, and nobody keeps it for later. So wait for the
    # subscriber: until one process hosts its agent type, for 60 seconds at most.
    await runtime.wait_for_agents("subscriber", 1, 60)
    for source, cents in [("tea", 250), ("coffee", 310), ("tea", 240), ("coffee", 330), ("tea", 260)]:
        await runtime.publish_message(Price(cents), TopicId("prices", source))
    # Publishing doesn't wait for the handlers. This does: every event has been handled, or its failure is reported.
    await runtime.stop_when_idle()
    print("publisher: 5 events handled")


if __name__ == "__main__":
    asyncio.run(main())
