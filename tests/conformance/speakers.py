"""Participants of AgentChat teams that say what they were told to say."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import Any

from autogen_agentchat.agents import BaseChatAgent
from autogen_agentchat.base import Response, TaskResult
from autogen_agentchat.messages import (
    BaseAgentEvent,
    BaseChatMessage,
    HandoffMessage,
    ModelClientStreamingChunkEvent,
    StructuredMessage,
    TextMessage,
    ThoughtEvent,
)
from autogen_core import CancellationToken
from pydantic import BaseModel


class Verdict(BaseModel):
    """The content of a structured message."""

    passed: bool
    reasons: list[str]


Say = Callable[["Speaker"], BaseChatMessage]


class Speaker(BaseChatAgent):
    """Says ``name`` and how often it has spoken, or what ``say`` makes; remembers what it has heard."""

    def __init__(self, name: str, say: Say | None = None) -> None:
        super().__init__(name, f"the one called {name}")
        self.spoken = 0
        self.heard: list[str] = []
        self.calls: list[str] = []
        self._say = say or (lambda speaker: speaker.text(f"{name} {speaker.spoken}"))

    def text(self, content: str) -> TextMessage:
        return TextMessage(content=content, source=self.name)

    def handoff(self, target: str) -> HandoffMessage:
        return HandoffMessage(content=f"over to {target}", target=target, source=self.name)

    @property
    def produced_message_types(self) -> Sequence[type[BaseChatMessage]]:
        return (TextMessage, HandoffMessage, StructuredMessage[Verdict])

    async def on_messages(self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken) -> Response:
        self.heard.extend(message.to_text() for message in messages)
        self.spoken += 1
        return Response(chat_message=self._say(self))

    async def on_reset(self, cancellation_token: CancellationToken) -> None:
        self.calls.append("reset")
        self.spoken = 0
        self.heard.clear()

    async def on_pause(self, cancellation_token: CancellationToken) -> None:
        self.calls.append("pause")

    async def on_resume(self, cancellation_token: CancellationToken) -> None:
        self.calls.append("resume")

    async def save_state(self) -> Mapping[str, Any]:
        return {"spoken": self.spoken}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.spoken = state["spoken"]


class Thinker(Speaker):
    """Streams a thought and two chunks before it speaks."""

    async def on_messages_stream(
        self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken
    ) -> AsyncGenerator[BaseAgentEvent | BaseChatMessage | Response, None]:
        thought = ThoughtEvent(content="hm", source=self.name)
        yield thought
        for chunk in ("a", "b"):
            yield ModelClientStreamingChunkEvent(content=chunk, source=self.name)
        response = await self.on_messages(messages, cancellation_token)
        yield Response(chat_message=response.chat_message, inner_messages=[thought])


def said(result: TaskResult) -> list[tuple[str, str]]:
    """Who said what in a run, in order."""
    return [(message.source, message.to_text()) for message in result.messages]


def fails(speaker: Speaker) -> BaseChatMessage:
    """Raise instead of speaking."""
    raise ValueError(f"{speaker.name} has lost its voice")
