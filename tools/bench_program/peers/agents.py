"""The agents that are called and told of events; AutoGen's own, the same for the three runtimes that run them."""

from __future__ import annotations

from dataclasses import dataclass

from autogen_core import (
    AgentId,
    AgentRuntime,
    MessageContext,
    RoutedAgent,
    TopicId,
    TypeSubscription,
    message_handler,
    try_get_known_serializers_for_type,
)

from tools.bench_program.load import Inbox, payload

ECHO = AgentId("echo", "default")
NEWS = TopicId("news", "default")
EVENT_SIZE = 64


@dataclass
class Ask:
    """A call."""

    text: str


@dataclass
class Answer:
    """Its answer."""

    text: str


@dataclass
class News:
    """An event."""

    text: str


EVENT = News(payload(EVENT_SIZE))


class Echo(RoutedAgent):
    """Answers with what it was asked."""

    def __init__(self) -> None:
        super().__init__("Echoes")

    @message_handler
    async def on_ask(self, message: Ask, ctx: MessageContext) -> Answer:
        """Answer one call."""
        return Answer(message.text)


class Listener(RoutedAgent):
    """Notes the id of each event."""

    def __init__(self, inbox: Inbox) -> None:
        super().__init__("Listens")
        self._inbox = inbox

    @message_handler
    async def on_news(self, message: News, ctx: MessageContext) -> None:
        """Take one event."""
        self._inbox.add(ctx.message_id)


def listener_type(index: int) -> str:
    """The agent type that listens in a server: one type each, because one agent lives in one process."""
    return f"listener-{index}"


async def register_server(runtime: AgentRuntime, inbox: Inbox, index: int) -> None:
    """What each server hosts: a listener, and in the first one the agent that answers calls."""
    if index == 0:
        await Echo.register(runtime, ECHO.type, Echo)
    listener = listener_type(index)
    await Listener.register(runtime, listener, lambda: Listener(inbox))
    await runtime.add_subscription(TypeSubscription(NEWS.type, listener))


def add_serializers(runtime: AgentRuntime) -> None:
    """For AutoGen's gRPC runtime, which registers no reply types by itself, and nothing where no agent is hosted."""
    for message_type in (Ask, Answer, News):
        runtime.add_message_serializer(try_get_known_serializers_for_type(message_type))
