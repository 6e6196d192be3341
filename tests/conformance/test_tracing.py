"""OpenTelemetry spans, as AutoGen's runtime names and links them."""

from __future__ import annotations

import json

import pytest
from autogen_core import AgentId, DefaultInterventionHandler, TopicId, type_subscription
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from .agents import Echo, Failing, Recorder
from .bench import Bench
from .conftest import NewBench
from .messages import Received, Text


@type_subscription("news")
class NewsRecorder(Recorder):
    """Subscribed to the topic type "news"."""


class Spans:
    """A tracer provider whose finished spans can be looked at."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def names(self) -> set[str]:
        return {span.name for span in self._exporter.get_finished_spans()}

    def named(self, name: str) -> ReadableSpan:
        [span] = [span for span in self._exporter.get_finished_spans() if span.name == name]
        return span


@pytest.fixture
def spans() -> Spans:
    return Spans()


@pytest.fixture
async def traced(new_bench: NewBench, spans: Spans, log: list[Received]) -> Bench:
    """A started bench with a tracer, an echo and a recorder of news."""
    bench = new_bench(tracer_provider=spans.provider)
    await Echo.register(bench.host, "echo", Echo)
    await NewsRecorder.register(bench.host, "rec", lambda: NewsRecorder(log))
    await bench.start("echo", "rec")
    return bench


def attribute(span: ReadableSpan, name: str) -> object:
    assert span.attributes is not None
    return span.attributes[name]


def links(span: ReadableSpan) -> set[int]:
    return {link.context.span_id for link in span.links}


def span_id(span: ReadableSpan) -> int:
    context = span.get_span_context()
    assert context is not None
    return context.span_id


async def test_call_has_spans_for_create_send_process_and_ack(traced: Bench, spans: Spans) -> None:
    await traced.call(Text("hi"), AgentId("echo", "k"))
    await traced.idle()
    assert spans.names() >= {
        "autogen create echo.(k)-A",
        "autogen send echo.(k)-A",
        "autogen process echo.(k)-A",
        "autogen ack",
    }


async def test_event_has_spans_for_create_publish_and_process(traced: Bench, spans: Spans) -> None:
    await traced.publish(Text("hi"), TopicId("news", "k"))
    await traced.idle()
    assert spans.names() >= {
        "autogen create news.(k)-T",
        "autogen publish news.(k)-T",
        "autogen process rec.(k)-A",
    }


async def test_spans_have_the_messaging_attributes(traced: Bench, spans: Spans) -> None:
    await traced.call(Text("hi"), AgentId("echo", "k"))
    await traced.idle()
    create = spans.named("autogen create echo.(k)-A")
    assert attribute(create, "messaging.operation") == "create"
    assert attribute(create, "messaging.destination") == "echo.(k)-A"
    assert attribute(create, "messaging.message.type") == "Text"
    assert create.kind is SpanKind.PRODUCER
    process = spans.named("autogen process echo.(k)-A")
    assert attribute(process, "messaging.operation") == "process"
    assert process.kind is SpanKind.CONSUMER


async def test_process_span_tells_the_recipient_the_message_and_its_context(traced: Bench, spans: Spans) -> None:
    await traced.call(Text("hi"), AgentId("echo", "k"), message_id="m1")
    await traced.idle()
    process = spans.named("autogen process echo.(k)-A")
    assert attribute(process, "recipient_agent_type") == "echo"
    assert attribute(process, "recipient_agent_class") == "Echo"
    assert json.loads(str(attribute(process, "message"))) == {"content": "hi"}
    context = json.loads(str(attribute(process, "message_context")))
    assert context == {"sender": "None", "topic_id": "None", "is_rpc": True, "message_id": "m1"}


@pytest.mark.parametrize("name", ["send", "process"])
async def test_spans_of_a_delivered_call_link_to_where_it_was_created(traced: Bench, spans: Spans, name: str) -> None:
    await traced.call(Text("hi"), AgentId("echo", "k"))
    await traced.idle()
    create = spans.named("autogen create echo.(k)-A")
    assert links(spans.named(f"autogen {name} echo.(k)-A")) == {span_id(create)}


async def test_spans_of_a_delivered_event_link_to_where_it_was_created(traced: Bench, spans: Spans) -> None:
    await traced.publish(Text("hi"), TopicId("news", "k"))
    await traced.idle()
    create = spans.named("autogen create news.(k)-T")
    assert links(spans.named("autogen process rec.(k)-A")) == {span_id(create)}


async def test_create_span_is_a_child_of_the_callers_own(traced: Bench, spans: Spans) -> None:
    with spans.provider.get_tracer("test").start_as_current_span("mine") as mine:
        await traced.call(Text("hi"), AgentId("echo", "k"))
    parent = spans.named("autogen create echo.(k)-A").parent
    assert parent is not None
    assert parent.span_id == mine.get_span_context().span_id


async def test_process_span_of_a_failed_handler_has_error_status(new_bench: NewBench, spans: Spans) -> None:
    bench = new_bench(tracer_provider=spans.provider)
    await Failing.register(bench.host, "failing", lambda: Failing(ValueError("as always")))
    await bench.start("failing")
    with pytest.raises(ValueError, match=r"^as always$"):
        await bench.call(Text("hi"), AgentId("failing", "k"))
    await bench.idle()
    process = spans.named("autogen process failing.(k)-A")
    assert process.status.status_code is StatusCode.ERROR
    assert [event.name for event in process.events] == ["exception"]


async def test_intervention_has_a_span_with_the_name_of_its_class(new_bench: NewBench, spans: Spans) -> None:
    bench = new_bench(tracer_provider=spans.provider, intervention_handlers=[DefaultInterventionHandler()])
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    await bench.call(Text("hi"), "echo")
    assert "autogen intercept DefaultInterventionHandler" in spans.names()


async def test_tracing_is_turned_off_by_the_environment(
    new_bench: NewBench, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AUTOGEN_DISABLE_RUNTIME_TRACING", "true")
    bench = new_bench(tracer_provider=spans.provider)
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    await bench.call(Text("hi"), "echo")
    assert spans.names() == set()
