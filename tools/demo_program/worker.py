"""A worker process: one agent type that answers calls, one that listens to events."""

from __future__ import annotations

import sys

from autogen_core import MessageContext, RoutedAgent, message_handler, type_subscription

from zmqagents import ZmqAgentRuntime

from . import child, reports
from .messages import RESULTS_TOPIC, Answer, Finished, Task

# The agent type that listens in each worker process. Two types, because an event goes once to each agent that
# subscribes: one type in two processes would be one agent, which lives in one of them.
LISTENER_TYPES = {"worker-1": "archive", "worker-2": "audit"}


class Worker(RoutedAgent):
    """Factorises numbers, and says in which process."""

    def __init__(self, process: str) -> None:
        super().__init__("Factorises numbers")
        self._process = process

    @message_handler
    async def on_task(self, message: Task, ctx: MessageContext) -> Answer:
        """Answer one call."""
        return Answer(factors=prime_factors(message.number), process=self._process)


@type_subscription(topic_type=RESULTS_TOPIC)
class Listener(RoutedAgent):
    """Reports the event that it hears."""

    def __init__(self) -> None:
        super().__init__("Listens to results")

    @message_handler
    async def on_finished(self, message: Finished, ctx: MessageContext) -> None:
        """Take one event."""
        reports.send(reports.Received(agent=str(self.id), answers=message.answers))


def prime_factors(number: int) -> list[int]:
    """The prime factors of ``number``, smallest first."""
    factors = []
    divisor = 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            factors.append(divisor)
            number //= divisor
        divisor += 1
    return [*factors, number] if number > 1 else factors


async def register(runtime: ZmqAgentRuntime) -> None:
    """Host both agents, before or after the others have started."""
    name = sys.argv[2]
    await Worker.register(runtime, "worker", lambda: Worker(name))
    await Listener.register(runtime, LISTENER_TYPES[name], Listener)


async def play(runtime: ZmqAgentRuntime) -> None:
    """Find the other two; the rest is done by the agents."""
    await child.meet(runtime, worker=2, coordinator=1)


if __name__ == "__main__":
    child.run(register, play)
