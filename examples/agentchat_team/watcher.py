"""Watches what the teams of other processes say, until Ctrl-C. The teams don't know of it."""

from __future__ import annotations

import asyncio

# AgentChat has these classes for its own use and exports them nowhere else; they are those of its release 0.7.5.
from autogen_agentchat.teams._group_chat._events import GroupChatMessage, GroupChatStart, GroupChatTermination
from autogen_core import MessageContext, RoutedAgent, TypePrefixSubscription, event

from zmqagents import ZmqAgentRuntime


class Watcher(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Watches teams")

    @event
    async def on_task(self, message: GroupChatStart, ctx: MessageContext) -> None:
        for task in message.messages or []:
            print(f"watcher: the task is: {task.to_text()}")

    @event
    async def on_said(self, message: GroupChatMessage, ctx: MessageContext) -> None:
        print(f"watcher: {message.message.source} says: {message.message.to_text()}")

    @event
    async def on_end(self, message: GroupChatTermination, ctx: MessageContext) -> None:
        print("watcher: the team has ended")


async def main() -> None:
    runtime = ZmqAgentRuntime()
    await Watcher.register(runtime, "watcher", lambda: Watcher())
    # A team publishes its conversation on a topic of the type "output_topic_" and the team's id.
    await runtime.add_subscription(TypePrefixSubscription("output_topic_", "watcher"))
    await runtime.start()
    print("watcher: started")
    await runtime.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(main())
