"""A process of a cluster: hosts the agents that the test names, and does what it commands until it is told to end."""

from __future__ import annotations

import asyncio
import os
import time
from functools import partial
from typing import Any

from autogen_core import (
    AgentId,
    BaseAgent,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    default_subscription,
    message_handler,
)
from autogen_core._serialization import UnknownPayload

from tests.integration.messages import Number, Text
from tests.integration.programs.reporting import SETTINGS, Commands, report
from zmqagents import ZmqAgentRuntime


class Where(RoutedAgent):
    """Answers with the process in which it is."""

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Number:
        return Number(os.getpid())


class Slow(RoutedAgent):
    """Answers after as many milliseconds as it is told, asleep; reports when it begins and how it ends."""

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Text:
        report("handling")
        try:
            await asyncio.sleep(message.value / 1_000)
        except asyncio.CancelledError:
            report("cancelled")
            raise
        report("handled")
        return Text("done")


class Busy(RoutedAgent):
    """Answers after as many milliseconds as it is told, in which the event loop stands still."""

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Text:
        time.sleep(message.value / 1_000)  # noqa: ASYNC251 - what is tested
        return Text("done")


class Delegating(RoutedAgent):
    """Takes its time, as ``Slow`` does, and then asks another agent of its process for the answer."""

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Text:
        report("handling")
        await asyncio.sleep(message.value / 1_000)
        where: Number = await self.send_message(Text("?"), AgentId("where", "default"))
        return Text(str(where.value))


class Exiting(RoutedAgent):
    """Raises what ends a program."""

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        raise {"exit": SystemExit(3), "interrupt": KeyboardInterrupt()}[message.content]


@default_subscription
class Listener(RoutedAgent):
    """Reports the events that reach it."""

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        report("event", agent=str(self.id), text=message.content)


class Anything(BaseAgent):
    """Reports what it gets and cannot read."""

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        if isinstance(message, UnknownPayload):
            report("unknown", type_name=message.type_name, payload=message.payload.decode())


KINDS: dict[str, type[BaseAgent]] = {
    cls.__name__.lower(): cls for cls in (Where, Slow, Busy, Delegating, Exiting, Listener, Anything)
}


async def obey(runtime: ZmqAgentRuntime, commands: Commands) -> None:
    """Do what the test commands, for ever."""
    while True:
        command = await commands.next()
        if command["do"] == "where":
            calls = (runtime.send_message(Text("?"), AgentId("where", str(key))) for key in range(command["keys"]))
            report("where", value=[answer.value for answer in await asyncio.gather(*calls)])
        elif command["do"] == "publish":
            await runtime.publish_message(Text(command["text"]), TopicId("default", "default"))
            report("publish", value=None)
        elif command["do"] == "wait":
            await runtime.wait_for_agents(command["type"], command["count"], 10)
            report("wait", value=None)


async def main() -> None:
    commands = Commands()
    agents = SETTINGS.pop("agents", [])
    names = SETTINGS.pop("rename", {})
    subscriptions = SETTINGS.pop("subscribe", {})
    runtime = ZmqAgentRuntime(**SETTINGS)
    for name in agents:
        await KINDS[name].register(runtime, names.get(name, name), partial(KINDS[name], name))
    for topic_type, agent_type in subscriptions.items():
        await runtime.add_subscription(TypeSubscription(topic_type, agent_type))
    await runtime.start()
    report("started", pid=os.getpid(), node_id=runtime._lifecycle.running.node.node_id.hex())  # type: ignore[union-attr]
    obeying = asyncio.create_task(obey(runtime, commands))
    await runtime.wait_until_stopped()
    report("stopped")
    obeying.cancel()


asyncio.run(main())
