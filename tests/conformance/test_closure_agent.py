"""Agents made of a function, and proxies for agents."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from autogen_core import (
    AgentId,
    AgentProxy,
    AgentType,
    ClosureAgent,
    ClosureContext,
    DefaultSubscription,
    DefaultTopicId,
    MessageContext,
    TopicId,
    TypeSubscription,
)
from autogen_core.exceptions import CantHandleException

from .agents import Counter, Echo
from .bench import Bench
from .messages import Number, Text


async def answer(agent: ClosureContext, message: Text, ctx: MessageContext) -> Text:
    return Text(f"{agent.id}: {message.content}")


async def ask_echo(agent: ClosureContext, message: Text, ctx: MessageContext) -> Text:
    reply: Text = await agent.send_message(message, AgentId("echo", agent.id.key))
    return Text(f"{agent.id} < {reply.content}")


async def test_closure_answers_calls(bench: Bench) -> None:
    assert await ClosureAgent.register_closure(bench.host, "closure", answer) == AgentType("closure")
    await bench.start("closure")
    assert await bench.call(Text("hi"), AgentId("closure", "k")) == Text("closure/k: hi")


async def test_closure_gets_the_topics_of_its_subscriptions(bench: Bench) -> None:
    got: list[tuple[str, object]] = []

    async def take(agent: ClosureContext, message: Text, ctx: MessageContext) -> None:
        got.append((str(ctx.topic_id), message))

    await ClosureAgent.register_closure(
        bench.host, "taker", take, subscriptions=lambda: [DefaultSubscription(), TypeSubscription("news", "taker")]
    )
    await bench.start("taker")
    await bench.publish(Text("one"), DefaultTopicId())
    await bench.publish(Text("two"), TopicId("news", "k"))
    await bench.publish(Text("three"), TopicId("other", "k"))
    await bench.publish(Text("four"), TopicId("taker:direct", "k"))
    await bench.idle()
    assert got == [("default/default", Text("one")), ("news/k", Text("two")), ("taker:direct/k", Text("four"))]


async def test_closure_takes_out_what_agents_of_another_process_publish(bench: Bench) -> None:
    got: list[object] = []

    async def relay(agent: ClosureContext, message: Text, ctx: MessageContext) -> None:
        await agent.publish_message(Number(len(message.content)), DefaultTopicId("results"))

    async def take(agent: ClosureContext, message: Number, ctx: MessageContext) -> None:
        got.append(message)

    await ClosureAgent.register_closure(bench.host, "worker", relay, subscriptions=lambda: [DefaultSubscription()])
    await ClosureAgent.register_closure(
        bench.host, "results", take, subscriptions=lambda: [DefaultSubscription("results")]
    )
    await bench.start("worker", "results")
    await bench.publish(Text("four"), DefaultTopicId())
    await bench.idle()
    assert got == [Number(4)]


async def test_closure_calls_other_agents(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await ClosureAgent.register_closure(bench.host, "asker", ask_echo)
    await bench.start("echo", "asker")
    assert await bench.call(Text("hi"), AgentId("asker", "k")) == Text("asker/k < echo/k: hi")


async def test_closure_that_takes_a_union_gets_each_of_its_types(bench: Bench) -> None:
    async def size(agent: ClosureContext, message: Text | Number, ctx: MessageContext) -> Number:
        return Number(len(message.content)) if isinstance(message, Text) else message

    await ClosureAgent.register_closure(bench.host, "size", size)
    await bench.start("size")
    assert await bench.call(Text("four"), "size") == Number(4)
    assert await bench.call(Number(7), "size") == Number(7)


async def test_closure_of_unknown_types_warns_by_default_and_answers_none(bench: Bench) -> None:
    await ClosureAgent.register_closure(bench.host, "closure", answer)
    await bench.start("closure")
    with pytest.warns(UserWarning, match=r"^Message type .*Number.* not in target types .* of closure/default"):
        assert await bench.call(Number(1), "closure") is None


async def test_closure_of_unknown_types_raises_when_that_is_its_policy(bench: Bench) -> None:
    await ClosureAgent.register_closure(bench.host, "closure", answer, unknown_type_policy="error")
    await bench.start("closure")
    with pytest.raises(CantHandleException, match=r"^Message type .*Number.* not in target types"):
        await bench.call(Number(1), "closure")


async def test_closure_that_ignores_types_is_called_with_any(bench: Bench) -> None:
    async def name(agent: ClosureContext, message: Text, ctx: MessageContext) -> Text:
        anything: Any = message
        return Text(type(anything).__name__)

    await ClosureAgent.register_closure(bench.host, "name", name, unknown_type_policy="ignore")
    await bench.start("name")
    assert await bench.call(Number(1), "name") == Text("Number")


@pytest.mark.parametrize("policy", ["error", "warn", "ignore"])
async def test_closure_has_a_description_and_no_state(bench: Bench, policy: Literal["error", "warn", "ignore"]) -> None:
    await ClosureAgent.register_closure(
        bench.host, "closure", answer, description="a function", unknown_type_policy=policy
    )
    await bench.start("closure")
    agent = AgentId("closure", "k")
    assert await bench.caller.agent_metadata(agent) == {"type": "closure", "key": "k", "description": "a function"}
    assert await bench.caller.agent_save_state(agent) == {}


async def test_closure_agent_can_only_be_made_by_a_runtime() -> None:
    with pytest.raises(RuntimeError, match="must be instantiated within the context of an AgentRuntime"):
        ClosureAgent("by hand", answer)


async def test_proxy_calls_its_agent(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    proxy = AgentProxy(AgentId("echo", "k"), bench.caller)
    assert proxy.id == AgentId("echo", "k")
    assert await proxy.send_message(Text("hi"), sender=AgentId("echo", "other")) == Text("echo/k: hi")


async def test_proxy_reads_metadata_and_moves_state(bench: Bench) -> None:
    await Counter.register(bench.host, "counter", Counter)
    await bench.start("counter")
    proxy = AgentProxy(AgentId("counter", "k"), bench.caller)
    assert await proxy.metadata == {"type": "counter", "key": "k", "description": "a counter"}
    await proxy.load_state({"total": 41})
    assert await bench.call(Number(1), proxy.id) == Number(42)
    assert await proxy.save_state() == {"total": 42}
