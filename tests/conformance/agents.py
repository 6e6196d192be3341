"""Agents that several tests share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autogen_core import AgentId, MessageContext, RoutedAgent, message_handler

from .messages import Number, Received, Text


class Echo(RoutedAgent):
    """Answers with its own id before the text."""

    def __init__(self) -> None:
        super().__init__("an echo")

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        return Text(f"{self.id}: {message.content}")


class Recorder(RoutedAgent):
    """Writes down every Text and Number that reaches it."""

    def __init__(self, log: list[Received]) -> None:
        super().__init__("a recorder")
        self._log = log

    @message_handler
    async def on_received(self, message: Text | Number, ctx: MessageContext) -> None:
        self._log.append(Received(self.id, message, ctx))


class Failing(RoutedAgent):
    """Raises what it was made with."""

    def __init__(self, error: BaseException) -> None:
        super().__init__("always fails")
        self._error = error

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        raise self._error


class Relay(RoutedAgent):
    """Passes a Text on to another agent and its answer back."""

    def __init__(self, target: AgentId) -> None:
        super().__init__("a relay")
        self._target = target

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        reply: Text = await self.send_message(message, self._target, cancellation_token=ctx.cancellation_token)
        return Text(f"{self.id} < {reply.content}")


class Counter(RoutedAgent):
    """Adds up Numbers, answers with the sum, and can be saved."""

    def __init__(self) -> None:
        super().__init__("a counter")
        self.total = 0
        self.closed = False

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Number:
        self.total += message.value
        return Number(self.total)

    async def save_state(self) -> Mapping[str, Any]:
        return {"total": self.total}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.total = state["total"]

    async def close(self) -> None:
        self.closed = True
