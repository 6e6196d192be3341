"""One trace through two processes."""

from __future__ import annotations

import pytest
from autogen_core import DefaultTopicId, TypeSubscription
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, eventually, node_of, within
from tests.integration.messages import Text
from zmqagents import ZmqAgentRuntime

pytestmark = pytest.mark.integration


class Spans:
    """The tracer of one process, and what it has recorded."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))

    def named(self, part: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if part in span.name]

    def trace_ids(self) -> set[int]:
        return {span.get_span_context().trace_id for span in self._exporter.get_finished_spans()}  # type: ignore[union-attr]


async def traced(cluster: Cluster, spans: Spans) -> ZmqAgentRuntime:
    """A process with an echo that is subscribed to news."""
    runtime = cluster.make(tracer_provider=spans.provider)
    await Echo.register(runtime, "echo", Echo)
    await runtime.add_subscription(TypeSubscription("news", "echo"))
    await within(runtime.start())
    return runtime


async def test_call_is_one_trace_in_both_processes(cluster: Cluster) -> None:
    here, there = Spans(), Spans()
    await traced(cluster, there)
    caller = await cluster.host(tracer_provider=here.provider)
    with here.provider.get_tracer("test").start_as_current_span("mine") as mine:
        await within(caller.send_message(Text("hi"), agent("echo")))
    assert here.named("create echo")
    assert there.named("process echo")
    assert here.trace_ids() == there.trace_ids() == {mine.get_span_context().trace_id}


async def test_event_is_one_trace_in_both_processes(cluster: Cluster) -> None:
    here, there = Spans(), Spans()
    host = await traced(cluster, there)
    publisher = await cluster.host(tracer_provider=here.provider)
    await eventually(lambda: node_of(publisher).directory.agent_types("news"))
    await within(publisher.publish_message(Text("hi"), DefaultTopicId("news")))
    await within(publisher.stop_when_idle())
    await within(host.stop_when_idle())
    assert there.named("process echo")
    assert here.trace_ids() == there.trace_ids()


async def test_calls_without_a_common_span_are_traces_of_their_own(cluster: Cluster) -> None:
    here, there = Spans(), Spans()
    await traced(cluster, there)
    caller = await cluster.host(tracer_provider=here.provider)
    for _ in range(3):
        await within(caller.send_message(Text("hi"), agent("echo")))
    processes = there.named("process echo")
    assert len({span.get_span_context().trace_id for span in processes}) == 3  # type: ignore[union-attr]


async def test_receiver_without_a_tracer_is_called_all_the_same(cluster: Cluster) -> None:
    here = Spans()
    _, caller = await cluster.host(Echo), await cluster.host(tracer_provider=here.provider)
    assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")
