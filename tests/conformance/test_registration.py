"""Registering a type with a factory."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest
from autogen_core import AgentId, AgentInstantiationContext, AgentType, RoutedAgent

from .agents import Counter, Echo, Failing
from .bench import Bench
from .messages import Number, Text


class Introspective(RoutedAgent):
    """Notes in its constructor what the instantiation context says."""

    def __init__(self, seen: list[tuple[object, AgentId]]) -> None:
        super().__init__("looks at itself being made")
        seen.append((AgentInstantiationContext.current_runtime(), AgentInstantiationContext.current_agent_id()))


async def test_register_returns_the_agent_type(bench: Bench) -> None:
    assert await Echo.register(bench.host, "echo", Echo) == AgentType("echo")


async def test_register_factory_accepts_a_string_or_an_agent_type(bench: Bench) -> None:
    assert await bench.host.register_factory("one", Echo) == AgentType("one")
    assert await bench.host.register_factory(AgentType("two"), Echo) == AgentType("two")
    await bench.start("one", "two")
    assert await bench.call(Text("hi"), "one") == Text("one/default: hi")
    assert await bench.call(Text("hi"), "two") == Text("two/default: hi")


async def test_async_factory_makes_the_agent(bench: Bench) -> None:
    async def make() -> Echo:
        return Echo()

    await Echo.register(bench.host, "echo", make)
    await bench.start("echo")
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi")


async def test_factory_is_called_once_for_each_key_when_first_needed(bench: Bench) -> None:
    made: list[AgentId] = []

    def make() -> Counter:
        made.append(AgentInstantiationContext.current_agent_id())
        return Counter()

    await Counter.register(bench.host, "counter", make)
    await bench.start("counter")
    assert made == []
    one, two = AgentId("counter", "one"), AgentId("counter", "two")
    assert [await bench.call(Number(1), to) for to in (one, one, two)] == [Number(1), Number(2), Number(1)]
    assert made == [one, two]


async def test_factory_and_constructor_see_runtime_and_id_in_the_instantiation_context(bench: Bench) -> None:
    seen: list[tuple[object, AgentId]] = []

    def make() -> Introspective:
        seen.append((AgentInstantiationContext.current_runtime(), AgentInstantiationContext.current_agent_id()))
        return Introspective(seen)

    await Introspective.register(bench.host, "agent", make)
    await bench.host.get("agent", "key", lazy=False)
    assert seen == [(bench.host, AgentId("agent", "key"))] * 2


async def test_made_agent_knows_its_id_type_and_runtime(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    agent = await bench.host.try_get_underlying_agent_instance(AgentId("echo", "key"), Echo)
    assert (agent.id, agent.type, agent.runtime) == (AgentId("echo", "key"), "echo", bench.host)


async def test_instantiation_context_raises_outside_a_factory(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.host.get("echo", lazy=False)
    assert not AgentInstantiationContext.is_in_factory_call()
    with pytest.raises(RuntimeError, match="must be called within an instantiation context"):
        AgentInstantiationContext.current_agent_id()


async def test_duplicate_type_is_a_value_error_that_names_it(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    text = "Agent with type AgentType(type='echo') already exists."
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        await Echo.register(bench.host, "echo", Echo)
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        await bench.host.register_factory("echo", Counter)


async def test_factory_of_another_class_fails_the_call_with_both_names(bench: Bench) -> None:
    wrong: Any = Echo
    await Counter.register(bench.host, "counter", wrong)
    await bench.start("counter")
    text = "^Factory registered using the wrong type: expected Counter, got Echo$"
    with pytest.raises(ValueError, match=text):
        await bench.call(Text("hi"), "counter")


async def test_factory_may_make_a_subclass_of_the_expected_class(bench: Bench) -> None:
    class LoudEcho(Echo):
        pass

    await Echo.register(bench.host, "echo", LoudEcho)
    await bench.start("echo")
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi")


async def test_factory_error_reaches_the_caller_and_the_next_call_tries_again(bench: Bench) -> None:
    attempts: list[int] = []

    def make() -> Echo:
        attempts.append(len(attempts))
        if len(attempts) == 1:
            raise LookupError("no model yet")
        return Echo()

    await Echo.register(bench.host, "echo", make)
    await bench.start("echo")
    with pytest.raises(LookupError, match=r"^no model yet$"):
        await bench.call(Text("hi"), "echo")
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi")
    assert attempts == [0, 1]


async def test_factory_of_two_arguments_gets_runtime_and_id_where_it_is_supported(bench: Bench) -> None:
    """AutoGen documents it as deprecated, but its wrapper calls every factory without arguments."""
    seen: list[tuple[object, AgentId]] = []

    def make(runtime: object, agent_id: AgentId) -> Echo:
        seen.append((runtime, agent_id))
        return Echo()

    two_arguments: Any = make
    await bench.host.register_factory("echo", two_arguments)
    if bench.kind == "autogen":
        with pytest.raises(TypeError, match="missing 2 required positional arguments"):
            await bench.host.get("echo", lazy=False)
        return
    with pytest.warns(UserWarning, match="^Agent factories that take two arguments are deprecated"):
        await bench.host.get("echo", lazy=False)
    assert seen == [(bench.host, AgentId("echo", "default"))]


@pytest.mark.parametrize("factory", [lambda one: one, lambda one, two, three: (one, two, three)])
async def test_factory_of_another_arity_is_refused_at_the_latest_when_needed(bench: Bench, factory: Any) -> None:
    """Ours says "Agent factory must take 0 or 2 arguments."; the oracle, meaning to, raises Python's TypeError."""
    expected: type[Exception] = TypeError if bench.kind == "autogen" else ValueError
    with pytest.raises(expected, match="argument"):
        await bench.host.register_factory("agent", factory)
        await bench.host.get("agent", lazy=False)


async def test_async_factory_makes_one_agent_when_calls_arrive_together(bench: Bench) -> None:
    """The oracle makes one for each call that arrives while the factory runs, and keeps the last."""
    made: list[AgentId] = []

    async def make() -> Counter:
        made.append(AgentInstantiationContext.current_agent_id())
        await AgentInstantiationContext.current_runtime().send_message(Text("a while"), AgentId("echo", "default"))
        return Counter()

    await Echo.register(bench.host, "echo", Echo)
    await Counter.register(bench.host, "counter", make)
    await bench.start("echo", "counter")
    sums = await asyncio.gather(bench.call(Number(1), "counter"), bench.call(Number(1), "counter"))
    expected = (2, [1, 1]) if bench.kind == "autogen" else (1, [1, 2])
    assert (len(made), [reply.value for reply in sums]) == expected


async def test_failing_agent_of_one_type_leaves_another_type_alone(bench: Bench) -> None:
    await Failing.register(bench.host, "failing", lambda: Failing(ValueError("no")))
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("failing", "echo")
    with pytest.raises(ValueError, match=r"^no$"):
        await bench.call(Text("hi"), "failing")
    assert await bench.call(Text("hi"), "echo") == Text("echo/default: hi")
