"""Intervention handlers: each may change a message, drop it, or raise (AutoGen's InterventionHandler)."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from autogen_core import AgentId, DropMessage, InterventionHandler, MessageContext

from zmqagents.runtime.telemetry import Telemetry

DROPPED = object()
"""What a chain gives for a message that one of its handlers dropped."""


class Interventions:
    """The chain of handlers, in the order in which they were given."""

    def __init__(self, handlers: Sequence[InterventionHandler] | None, telemetry: Telemetry) -> None:
        self._handlers = tuple(handlers or ())
        self._telemetry = telemetry

    def __bool__(self) -> bool:
        return bool(self._handlers)

    async def on_send(self, message: Any, context: MessageContext, recipient: AgentId) -> Any:
        """The message to send, or DROPPED; raises what a handler raises."""
        return await self._run(
            message, "on_send", lambda h, m: h.on_send(m, message_context=context, recipient=recipient)
        )

    async def on_publish(self, message: Any, context: MessageContext) -> Any:
        """The message to publish, or DROPPED; raises what a handler raises."""
        return await self._run(message, "on_publish", lambda h, m: h.on_publish(m, message_context=context))

    async def on_response(self, message: Any, sender: AgentId, recipient: AgentId | None) -> Any:
        """The response to give, or DROPPED; raises what a handler raises."""
        return await self._run(
            message, "on_response", lambda h, m: h.on_response(m, sender=sender, recipient=recipient)
        )

    async def _run(self, message: Any, name: str, call: Callable[[InterventionHandler, Any], Awaitable[Any]]) -> Any:
        original = message  # each handler sees it, and the last one wins, as in AutoGen's own runtime
        for handler in self._handlers:
            with self._telemetry.span("intercept", type(handler).__name__):
                result = await call(handler, original)
            if result is DropMessage or isinstance(result, DropMessage):
                return DROPPED
            if result is None and original is not None:
                warnings.warn(
                    f"Intervention handler {name} returned None. This might be unintentional. "
                    "Consider returning the original message or DropMessage explicitly.",
                    RuntimeWarning,
                    stacklevel=2,
                )
                continue
            message = result
        return message
