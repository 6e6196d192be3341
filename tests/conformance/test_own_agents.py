"""Agents that are no RoutedAgent: a BaseAgent with one method, and a class that only follows the Agent protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from autogen_core import (
    Agent,
    AgentId,
    AgentInstantiationContext,
    AgentMetadata,
    AgentRuntime,
    BaseAgent,
    MessageContext,
    MessageHandlerContext,
    TopicId,
    TypeSubscription,
)
from autogen_core.exceptions import CantHandleException

from .bench import Bench
from .messages import Number, Text


class Direct(BaseAgent):
    """Takes every message by itself."""

    async def on_message_impl(self, message: Any, ctx: MessageContext) -> Any:
        if isinstance(message, Number):
            raise CantHandleException("no numbers")
        return Text(f"{MessageHandlerContext.agent_id()}: {message.content}")


class Foreign:
    """Follows the Agent protocol and inherits from nothing."""

    def __init__(self, agent_id: AgentId | None = None) -> None:
        self._id = agent_id
        self.texts: list[str] = []

    @property
    def metadata(self) -> AgentMetadata:
        return AgentMetadata(type=self.id.type, key=self.id.key, description="from elsewhere")

    @property
    def id(self) -> AgentId:
        if self._id is None:
            raise RuntimeError("not bound")
        return self._id

    async def bind_id_and_runtime(self, id: AgentId, runtime: AgentRuntime) -> None:  # noqa: A002
        self._id = id

    async def on_message(self, message: Any, ctx: MessageContext) -> Any:
        self.texts.append(message.content)
        return Text(f"{self.id} heard {message.content}")

    async def save_state(self) -> Mapping[str, Any]:
        return {"texts": self.texts}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.texts = list(state["texts"])

    async def close(self) -> None:
        return None


async def test_base_agent_takes_messages_by_itself(bench: Bench) -> None:
    await Direct.register(bench.host, "direct", lambda: Direct("takes all"))
    await bench.start("direct")
    assert await bench.call(Text("hi"), AgentId("direct", "k")) == Text("direct/k: hi")
    with pytest.raises(CantHandleException, match=r"^no numbers$"):
        await bench.call(Number(1), "direct")


async def test_foreign_instance_is_bound_and_works(bench: Bench) -> None:
    agent = Foreign()
    await bench.host.register_agent_instance(agent, AgentId("foreign", "k"))
    await bench.host.add_subscription(TypeSubscription("news", "foreign"))
    await bench.start("foreign")
    assert await bench.call(Text("a call"), agent.id) == Text("foreign/k heard a call")
    await bench.publish(Text("an event"), TopicId("news", "k"))
    await bench.idle()
    assert agent.texts == ["a call", "an event"]


async def test_foreign_agent_of_a_factory_takes_its_id_from_the_instantiation_context(bench: Bench) -> None:
    def make() -> Foreign:
        return Foreign(AgentInstantiationContext.current_agent_id())

    await bench.host.register_factory("foreign", make)
    await bench.start("foreign")
    agent = AgentId("foreign", "k")
    assert await bench.call(Text("hi"), agent) == Text("foreign/k heard hi")
    assert (await bench.caller.agent_metadata(agent))["description"] == "from elsewhere"
    assert await bench.caller.agent_save_state(agent) == {"texts": ["hi"]}
    found: Agent = await bench.host.try_get_underlying_agent_instance(agent)
    assert isinstance(found, Foreign)
