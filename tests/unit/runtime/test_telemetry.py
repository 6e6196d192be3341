"""The trace context that travels with messages."""

from __future__ import annotations

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import NoOpTracerProvider

from zmqagents.runtime.telemetry import MAX_CARRIER_CHARS, MAX_CARRIER_ITEMS, Telemetry


def test_nothing_is_carried_without_a_tracer() -> None:
    telemetry = Telemetry(None)
    assert not telemetry.enabled
    with telemetry.span("create", "worker"):
        assert telemetry.carrier() is None


def test_nothing_is_carried_with_a_tracer_that_does_nothing() -> None:
    assert not Telemetry(NoOpTracerProvider()).enabled


def test_nothing_is_carried_where_autogen_is_told_not_to_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOGEN_DISABLE_RUNTIME_TRACING", "true")
    assert not Telemetry(TracerProvider()).enabled


def test_span_in_force_is_carried() -> None:
    telemetry = Telemetry(TracerProvider())
    with telemetry.span("create", "worker") as span:
        carrier = telemetry.carrier()
    assert carrier is not None
    assert f"{span.get_span_context().trace_id:032x}" in carrier["traceparent"]


def test_span_with_a_carrier_belongs_to_the_senders_trace() -> None:
    telemetry = Telemetry(TracerProvider())
    with telemetry.span("create", "worker") as sender:
        carrier = telemetry.carrier()
    with telemetry.span("process", "worker", carrier=carrier) as span:
        assert span.get_span_context().trace_id == sender.get_span_context().trace_id


@pytest.mark.parametrize("carrier", [{"traceparent": "nonsense"}, {"traceparent": ""}, {"x": "y"}])
def test_carrier_of_a_stranger_that_makes_no_sense_is_ignored(carrier: dict[str, str]) -> None:
    with Telemetry(TracerProvider()).span("process", "worker", carrier=carrier) as span:
        assert span.get_span_context().is_valid


def test_carrier_is_bounded() -> None:
    telemetry = Telemetry(TracerProvider())
    token = context.attach(baggage.set_baggage("much", "x" * (2 * MAX_CARRIER_CHARS)))
    try:
        with telemetry.span("create", "worker"):
            carrier = telemetry.carrier()
    finally:
        context.detach(token)
    assert carrier is not None
    assert len(carrier) <= MAX_CARRIER_ITEMS
    assert all(len(value) <= MAX_CARRIER_CHARS for value in carrier.values())
