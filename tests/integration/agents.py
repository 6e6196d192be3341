"""Agents that several tests of this suite share."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from autogen_core import AgentId, MessageContext, RoutedAgent, message_handler

from tests.integration.messages import Number, Text


class Echo(RoutedAgent):
    """Answers with what it was sent."""

    def __init__(self) -> None:
        super().__init__("an echo")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        return message


class Patient(RoutedAgent):
    """Answers once it is let go, or never; shows its token, and how its handler ended."""

    def __init__(self) -> None:
        super().__init__("waits")
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.token_cancelled = asyncio.Event()
        self.ended_s: float | None = None

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        ctx.cancellation_token.add_callback(self.token_cancelled.set)
        self.begun.set()
        try:
            await self.go_on.wait()
        finally:
            self.ended_s = asyncio.get_running_loop().time()
        return message


class Counter(RoutedAgent):
    """Adds up Numbers, answers with the sum, and can be saved."""

    def __init__(self) -> None:
        super().__init__("a counter")
        self.total = 0

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Number:
        self.total += message.value
        return Number(self.total)

    async def save_state(self) -> Mapping[str, Any]:
        return {"total": self.total}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.total = state["total"]


def agent(agent_type: str, key: str = "default") -> AgentId:
    """``AgentId`` for short."""
    return AgentId(agent_type, key)
