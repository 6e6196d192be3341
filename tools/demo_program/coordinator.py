"""The coordinator process: one agent that calls the workers and then publishes an event."""

from __future__ import annotations

import asyncio
import time

from autogen_core import AgentId, MessageContext, RoutedAgent, TopicId, message_handler

from zmqagents import ZmqAgentRuntime

from . import child, reports
from .messages import NUMBERS, RESULTS_TOPIC, Answer, Finished, Round, Task


class Coordinator(RoutedAgent):
    """Gives each number to a worker agent of its own; where that agent lives is the runtime's affair."""

    def __init__(self) -> None:
        super().__init__("Coordinates the workers")

    @message_handler
    async def on_round(self, message: Round, ctx: MessageContext) -> None:
        """Call for every number at once, then tell all who subscribe to the results."""
        await asyncio.gather(*(self._ask(number) for number in message.numbers))
        reports.send(reports.Published(answers=len(message.numbers)))
        await self.publish_message(Finished(answers=len(message.numbers)), TopicId(RESULTS_TOPIC, "demo"))

    async def _ask(self, number: int) -> None:
        started = time.monotonic()
        answer: Answer = await self.send_message(Task(number), AgentId("worker", str(number)))
        took_ms = (time.monotonic() - started) * 1000
        reports.send(reports.Answered(number=number, factors=answer.factors, process=answer.process, took_ms=took_ms))


async def register(runtime: ZmqAgentRuntime) -> None:
    """Host the coordinator agent."""
    await Coordinator.register(runtime, "coordinator", Coordinator)


async def play(runtime: ZmqAgentRuntime) -> None:
    """Wait for both workers and both listeners, then have one round done."""
    await child.meet(runtime, worker=2, archive=1, audit=1)
    await runtime.send_message(Round(NUMBERS), AgentId("coordinator", "default"))


if __name__ == "__main__":
    child.run(register, play)
