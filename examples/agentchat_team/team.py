"""An AgentChat team whose participants run on the cluster's runtime. They are scripted: no model is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response
from autogen_agentchat.messages import BaseChatMessage, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken

from zmqagents import ZmqAgentRuntime


class Scripted(BaseChatAgent):
    """Says its lines in turn. An AssistantAgent with a model takes its place in a team just so."""

    def __init__(self, name: str, *lines: str) -> None:
        super().__init__(name, f"{name}, who knows what to say")
        self._lines = lines
        self._next = 0

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage,)

    async def on_messages(self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken) -> Response:
        line = self._lines[self._next % len(self._lines)]
        self._next += 1
        return Response(chat_message=TextMessage(content=line, source=self.name))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        self._next = 0


async def main() -> None:
    runtime = ZmqAgentRuntime()
    await runtime.start()
    await runtime.wait_for_agents("watcher", 1, 60)  # only so that watcher.py misses nothing: the team doesn't need it
    writer = Scripted("writer", "Roses are red.", "Violets are blue.")
    critic = Scripted("critic", "Not new. Go on.", "It will do.")
    # "runtime=" is all it takes: the team registers its participants there, and they talk by publishing events.
    team = RoundRobinGroupChat([writer, critic], max_turns=4, runtime=runtime)
    result = await team.run(task="Write a poem.")
    print(f"team: {len(result.messages)} messages, ended because: {result.stop_reason}")
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
