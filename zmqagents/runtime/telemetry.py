"""OpenTelemetry spans with the names and attributes of AutoGen's own runtime, carried across processes.

Spans: ``create`` and ``send`` or ``publish`` where a message is made, ``process`` around a handler, ``ack`` for a
response, ``intercept`` around an intervention handler. The receiving process continues the sender's trace (W3C Trace
Context in REQUEST and EVENT). Without a tracer provider nothing is made and nothing is carried.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, TypeAlias

from autogen_core import AgentId, TopicId
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Link, NoOpTracerProvider, ProxyTracerProvider, SpanKind, TracerProvider

Operation: TypeAlias = Literal["create", "send", "publish", "intercept", "process", "ack"]
Destination: TypeAlias = AgentId | TopicId | str | None

MAX_CARRIER_ITEMS = 16  # SPEC.md section 3.2
MAX_CARRIER_CHARS = 8_192  # W3C Baggage allows that much; more would swell every frame

_PRODUCERS = ("create", "send", "publish")
_MESSAGING_OPERATION = {"send": "publish", "publish": "publish", "create": "create", "process": "process"}
_NOTHING: AbstractContextManager[Any] = nullcontext()


class Telemetry:
    """Makes the spans of one runtime."""

    def __init__(self, provider: TracerProvider | None) -> None:
        self._provider = provider
        self._tracer: trace.Tracer = trace.NoOpTracer()
        self.enabled = False
        self.refresh()

    def refresh(self) -> None:
        """Look again whether a tracer provider has been set for the process, as at the start of the runtime."""
        if os.environ.get("AUTOGEN_DISABLE_RUNTIME_TRACING") == "true":
            return
        provider = self._provider or trace.get_tracer_provider()
        self.enabled = not isinstance(provider, (NoOpTracerProvider, ProxyTracerProvider))
        if self.enabled:
            self._tracer = provider.get_tracer("autogen ZmqAgentRuntime")

    def span(
        self,
        operation: Operation,
        destination: Destination,
        *,
        carrier: Mapping[str, str] | None = None,
        nested: bool = False,
        message: Any = None,
        attributes: Mapping[str, str] | None = None,
    ) -> AbstractContextManager[Any]:
        """A span around a ``with`` block; ``carrier`` is the context in which the message was made.

        The span links to it, as AutoGen's do, and continues its trace unless it is ``nested`` in another that does.
        Does nothing when tracing is off.
        """
        if not self.enabled:
            return _NOTHING
        place = _text_of(destination)
        found = {
            "messaging.operation": _MESSAGING_OPERATION.get(operation, "receive"),
            "messaging.destination": place,
            **(attributes or {}),
        }
        if message is not None:
            found["messaging.message.type"] = type(message).__name__
        origin: Context | None = extract(carrier) if carrier else None
        return self._tracer.start_as_current_span(
            f"autogen {operation} {place}".rstrip(),
            context=None if nested else origin,
            links=None if origin is None else [Link(trace.get_current_span(origin).get_span_context())],
            kind=SpanKind.PRODUCER if operation in _PRODUCERS else SpanKind.CONSUMER,
            attributes=found,
        )

    def carrier(self) -> dict[str, str] | None:
        """The current trace context for the wire; None when tracing is off."""
        if not self.enabled:
            return None
        carrier: dict[str, str] = {}
        inject(carrier)
        items = {key: value for key, value in carrier.items() if len(value) <= MAX_CARRIER_CHARS}
        return dict(list(items.items())[:MAX_CARRIER_ITEMS]) or None


def _text_of(destination: Destination) -> str:
    if isinstance(destination, AgentId):
        return f"{destination.type}.({destination.key})-A"
    if isinstance(destination, TopicId):
        return f"{destination.type}.({destination.source})-T"
    return destination or ""
