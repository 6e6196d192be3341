"""Registering agents that already exist, and finding agents."""

from __future__ import annotations

import re

import pytest
from autogen_core import Agent, AgentId, AgentType, DefaultTopicId, RoutedAgent, TopicId, default_subscription
from autogen_core.exceptions import NotAccessibleError

from .agents import Counter, Echo, Recorder
from .bench import LOCAL, REMOTE, Bench
from .messages import Number, Received, Text


@default_subscription
class Subscribed(Recorder):
    """A recorder whose class subscribes to the default topic."""


async def test_instance_answers_under_the_id_it_was_registered_with(bench: Bench) -> None:
    agent_id = AgentId("echo", "mine")
    assert await bench.host.register_agent_instance(Echo(), agent_id) == agent_id
    await bench.start("echo")
    assert await bench.call(Text("hi"), agent_id) == Text("echo/mine: hi")


async def test_instance_is_bound_to_its_id_and_runtime(bench: Bench) -> None:
    agent = Echo()
    await bench.host.register_agent_instance(agent, AgentId("echo", "mine"))
    assert (agent.id, agent.runtime) == (AgentId("echo", "mine"), bench.host)
    with pytest.raises(RuntimeError, match=r"^Agent is already bound to a different ID$"):
        await bench.host.register_agent_instance(agent, AgentId("echo", "other"))


async def test_instances_of_one_type_are_told_apart_by_key(bench: Bench) -> None:
    one, two = AgentId("counter", "one"), AgentId("counter", "two")
    await bench.host.register_agent_instance(Counter(), one)
    await bench.host.register_agent_instance(Counter(), two)
    await bench.start("counter")
    assert [await bench.call(Number(1), to) for to in (one, one, two)] == [Number(1), Number(2), Number(1)]


async def test_same_id_twice_is_a_value_error(bench: Bench) -> None:
    await bench.host.register_agent_instance(Echo(), AgentId("echo", "mine"))
    with pytest.raises(ValueError, match=r"^Agent with id echo/mine already exists\.$"):
        await bench.host.register_agent_instance(Echo(), AgentId("echo", "mine"))


async def test_instances_of_two_classes_under_one_type_are_a_value_error(bench: Bench) -> None:
    await bench.host.register_agent_instance(Echo(), AgentId("agent", "one"))
    with pytest.raises(ValueError, match=r"^Agent instances must be the same object type\.$"):
        await bench.host.register_agent_instance(Counter(), AgentId("agent", "two"))


async def test_instance_under_a_type_that_has_a_factory_is_a_value_error(bench: Bench) -> None:
    await bench.host.register_factory("echo", Echo)
    text = r"^Agent factories and agent instances cannot be registered to the same type\.$"
    with pytest.raises(ValueError, match=text):
        await bench.host.register_agent_instance(Echo(), AgentId("echo", "mine"))


async def test_factory_under_a_type_that_has_an_instance_is_a_value_error(bench: Bench) -> None:
    await bench.host.register_agent_instance(Echo(), AgentId("echo", "mine"))
    with pytest.raises(ValueError, match=re.escape("Agent with type AgentType(type='echo') already exists.")):
        await bench.host.register_factory("echo", Echo)


async def test_another_key_of_an_instance_type_fails_with_what_to_look_for(bench: Bench) -> None:
    await bench.host.register_agent_instance(Echo(), AgentId("echo", "mine"))
    await bench.start("echo")
    text = "^Agent factory was invoked for an agent instance that was not registered"
    with pytest.raises(RuntimeError, match=text):
        await bench.call(Text("hi"), AgentId("echo", "other"))


async def test_register_instance_subscribes_its_key_as_a_topic_and_its_direct_topic(
    bench: Bench, log: list[Received]
) -> None:
    assert await Recorder(log).register_instance(bench.host, AgentId("rec", "mine")) == AgentId("rec", "mine")
    await bench.start("rec")
    await bench.publish(Text("key"), TopicId("mine", "mine"))
    await bench.publish(Text("direct"), TopicId("rec:any", "mine"))
    await bench.idle()
    assert [(seen.agent, seen.message) for seen in log] == [
        (AgentId("rec", "mine"), Text("key")),
        (AgentId("rec", "mine"), Text("direct")),
    ]


async def test_class_subscription_reaches_an_instance(bench: Bench, log: list[Received]) -> None:
    await Subscribed(log).register_instance(bench.host, AgentId("rec", "mine"), skip_class_subscriptions=False)
    await bench.start("rec")
    await bench.publish(Text("hi"), DefaultTopicId(source="mine"))
    await bench.idle()
    assert [seen.agent for seen in log] == [AgentId("rec", "mine")]


async def test_class_subscription_is_skipped_for_an_instance_by_default(bench: Bench, log: list[Received]) -> None:
    await Subscribed(log).register_instance(bench.host, AgentId("rec", "mine"))
    await bench.start("rec")
    await bench.publish(Text("hi"), DefaultTopicId(source="mine"))
    await bench.idle()
    assert log == []


async def test_underlying_instance_is_the_object_itself_where_it_lives(bench: Bench) -> None:
    agent = Echo()
    await bench.host.register_agent_instance(agent, AgentId("echo", "mine"))
    assert await bench.host.try_get_underlying_agent_instance(AgentId("echo", "mine"), Echo) is agent


async def test_underlying_instance_is_made_by_the_factory_when_missing(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    agent: Agent = await bench.host.try_get_underlying_agent_instance(AgentId("echo", "key"))
    assert isinstance(agent, Echo)
    assert await bench.host.try_get_underlying_agent_instance(AgentId("echo", "key")) is agent


async def test_underlying_instance_of_another_class_is_a_type_error(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    text = r"^Agent with name echo is not of type Counter\. It is of type Echo$"
    with pytest.raises(TypeError, match=text):
        await bench.host.try_get_underlying_agent_instance(AgentId("echo", "key"), Counter)


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_underlying_instance_of_an_unknown_type_is_a_lookup_error(bench: Bench) -> None:
    with pytest.raises(LookupError, match=r"^Agent with name nobody not found\.$"):
        await bench.host.try_get_underlying_agent_instance(AgentId("nobody", "key"))


@pytest.mark.integration
@pytest.mark.parametrize("kind", REMOTE, indirect=True)
async def test_underlying_instance_in_another_process_is_not_accessible(bench: Bench) -> None:
    await Echo.register(bench.host, "echo", Echo)
    await bench.start("echo")
    with pytest.raises(NotAccessibleError):
        await bench.caller.try_get_underlying_agent_instance(AgentId("echo", "key"))


async def test_get_names_the_agent_without_making_it(bench: Bench) -> None:
    await RoutedAgent.register(bench.host, "unmade", _not_to_be_called)
    await bench.start("unmade")
    assert await bench.caller.get("unmade") == AgentId("unmade", "default")
    assert await bench.caller.get("unmade", "key") == AgentId("unmade", "key")
    assert await bench.caller.get(AgentType("unmade"), key="key") == AgentId("unmade", "key")
    assert await bench.caller.get(AgentId("unmade", "key")) == AgentId("unmade", "key")


async def test_get_makes_the_agent_when_it_may_not_be_lazy(bench: Bench) -> None:
    made: list[str] = []

    def make() -> Echo:
        made.append("one")
        return Echo()

    await Echo.register(bench.host, "echo", make)
    await bench.start("echo")
    assert await bench.caller.get("echo", "key", lazy=False) == AgentId("echo", "key")
    assert await bench.caller.get(AgentId("echo", "key"), lazy=False) == AgentId("echo", "key")
    assert made == ["one"]


@pytest.mark.parametrize("kind", LOCAL, indirect=True)
async def test_get_of_an_unknown_type_fails_only_when_it_may_not_be_lazy(bench: Bench) -> None:
    assert await bench.caller.get("nobody") == AgentId("nobody", "default")
    with pytest.raises(LookupError, match="nobody"):
        await bench.caller.get("nobody", lazy=False)


def _not_to_be_called() -> RoutedAgent:
    raise AssertionError("get made an agent that nobody needed")
