"""A worker for a container: all that differs from place to place comes from the environment, see README.md."""

from __future__ import annotations

import argparse
import asyncio
import logging

from autogen_core import MessageContext, RoutedAgent, message_handler

from examples.deploy.messages import Answer, Ask
from examples.deploy.probes import Probes
from zmqagents import ZmqAgentRuntime


class Worker(RoutedAgent):
    def __init__(self, process: str) -> None:
        super().__init__("Shouts")
        self._process = process

    @message_handler
    async def on_ask(self, message: Ask, ctx: MessageContext) -> Answer:
        return Answer(message.text.upper(), self._process)


async def main() -> None:
    parser = argparse.ArgumentParser(description="Hosts agents of type 'worker' until SIGTERM.")
    parser.add_argument("--probes", metavar="HOST:PORT", default="127.0.0.1:8080", help="answers probes there")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")

    runtime = ZmqAgentRuntime()  # INSTANCE_ID, BROKER_URL, ZMQAGENTS_...
    name = runtime.config.instance_id
    await Worker.register(runtime, "worker", lambda: Worker(name))
    async with Probes(options.probes) as probes:
        await runtime.start()
        # Joined: the others know of this worker, or hear of it as soon as they can be reached. Nobody is waited for
        # here, so that the first worker of a new cluster becomes ready, too.
        probes.ready = True
        print(f"{name}: started", flush=True)
        await runtime.wait_until_stopped()  # SIGTERM: hands its agents over, and ends when their work is done
        print(f"{name}: stopped", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
