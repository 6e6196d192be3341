"""The agents of this process: their factories, and the instances made so far.

An instance is made by the first message for it. Messages that come while an asynchronous factory runs wait for that one
instance, in order; if the factory raises, each of them gets the exception, and the next message tries again.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import warnings
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias, cast

from autogen_core import Agent, AgentId, AgentInstantiationContext, AgentRuntime, AgentType

from zmqagents.protocol.ids import AgentKey
from zmqagents.runtime.event_log import EventLog
from zmqagents.runtime.identities import agent_id as parse_agent_id
from zmqagents.runtime.identities import agent_key

logger = logging.getLogger("autogen_core")

Factory: TypeAlias = (
    Callable[[], Agent | Awaitable[Agent]] | Callable[[AgentRuntime, AgentId], Agent | Awaitable[Agent]]
)


class _Gate:
    """Where messages wait, in order, while the agent they are for is being made by one of them."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[Agent | None]] = deque()

    async def enter(self) -> Agent | None:
        """The agent, or the exception of its factory; None if whoever was making it has been cancelled: make it."""
        waiter: asyncio.Future[Agent | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None and waiter.result() is None:
                self.hand_over()
            raise

    def hand_over(self) -> bool:
        """Let the first that waits make the agent; False if nobody waits."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return True
        return False

    def let_out(self, agent: Agent | None, error: BaseException | None) -> bool:
        """Give those who wait the outcome; whether there were any."""
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            if waiter.done():
                continue
            if error is None:
                waiter.set_result(agent)
            else:
                # SystemExit and the like are the maker's own; for the others it is an error.
                mine = error if isinstance(error, Exception) else RuntimeError(f"making the agent failed: {error!r}")
                waiter.set_exception(mine)
        return bool(waiting)


class Agents:
    """Factories and instances; ``runtime`` is what agents are told they belong to."""

    def __init__(self, runtime: AgentRuntime, log: EventLog) -> None:
        self._runtime = runtime
        self._log = log
        self._factories: dict[str, Factory] = {}
        self._expected: dict[str, type[Agent] | None] = {}
        self._pinned_types: dict[str, type[Agent]] = {}
        self._pinned: dict[AgentKey, AgentId] = {}
        self.instances: dict[AgentKey, Agent] = {}
        self._gates: dict[AgentKey, _Gate] = {}

    # -- registration ------------------------------------------------------------------------------------------

    def add_factory(self, agent_type: str, factory: Factory, expected_class: type[Agent] | None) -> None:
        """Host the type. ValueError, as AutoGen's, if it is known already."""
        if agent_type in self._factories or agent_type in self._pinned_types:
            raise ValueError(f"Agent with type {AgentType(agent_type)} already exists.")
        self._factories[agent_type] = factory
        self._expected[agent_type] = expected_class

    async def add_instance(self, agent: Agent, identity: AgentId) -> None:
        """Pin an instance to this process. ValueError, as AutoGen's, if that can't be."""
        key = agent_key(identity)
        if key in self.instances:
            raise ValueError(f"Agent with id {identity} already exists.")
        if identity.type in self._factories:
            raise ValueError("Agent factories and agent instances cannot be registered to the same type.")
        if self._pinned_types.setdefault(identity.type, type(agent)) is not type(agent):
            raise ValueError("Agent instances must be the same object type.")
        await agent.bind_id_and_runtime(id=identity, runtime=self._runtime)
        self.instances[key] = agent
        self._pinned[key] = identity

    @property
    def factory_classes(self) -> Mapping[str, type[Agent] | None]:
        """The types hosted by a factory, with the class of their agents where it was given."""
        return self._expected

    @property
    def pinned(self) -> Mapping[AgentKey, AgentId]:
        """The instances pinned to this process."""
        return self._pinned

    def knows_type(self, agent_type: str) -> bool:
        """Whether agents of the type can be here."""
        return agent_type in self._factories or agent_type in self._pinned_types

    # -- activation --------------------------------------------------------------------------------------------

    def ready(self, key: AgentKey) -> Agent | None:
        """The instance, if it is there and no message waits for it."""
        return self.instances.get(key) if key not in self._gates else None

    async def get(self, key: AgentKey) -> Agent:
        """The instance, made if need be.

        LookupError if its type is not hosted here; else whatever the factory raises.
        """
        gate = self._gates.get(key)
        if gate is not None:
            made = await gate.enter()
            if made is not None:
                return made
        else:
            agent = self.instances.get(key)
            if agent is not None:
                return agent
            gate = self._gates[key] = _Gate()
        identity = parse_agent_id(key)
        try:
            agent = self.instances[key] = await self._make(self._factory_of(identity), identity)
        except asyncio.CancelledError:  # of the message that makes it; the next one does
            if not gate.hand_over():
                del self._gates[key]
            raise
        except BaseException as error:
            self._open(key, gate, None, error)
            raise
        self._open(key, gate, agent, None)
        return agent

    def _open(self, key: AgentKey, gate: _Gate, agent: Agent | None, error: BaseException | None) -> None:
        """Let out who waits, and keep the gate until all of them have gone on, lest a later message overtakes them."""
        if gate.let_out(agent, error):
            asyncio.get_running_loop().call_soon(self._open, key, gate, agent, error)
        else:
            del self._gates[key]

    def _factory_of(self, identity: AgentId) -> Factory:
        factory = self._factories.get(identity.type)
        if factory is not None:
            return factory
        if identity.type in self._pinned_types:
            error: Exception = RuntimeError(
                "Agent factory was invoked for an agent instance that was not registered. This is likely due to the"
                " agent type being incorrectly subscribed to a topic. If this exception occurs when publishing a"
                " message to the DefaultTopicId, then it is likely that `skip_class_subscriptions` needs to be turned"
                " off when registering the agent."
            )
            self._log.construction_exception(identity, error)
            raise error
        raise LookupError(f"Agent with name {identity.type} not found.")

    async def _make(self, factory: Factory, identity: AgentId) -> Agent:
        with AgentInstantiationContext.populate_context((self._runtime, identity)):
            try:
                agent = await self._call_factory(factory, identity)
                expected = self._expected.get(identity.type)
                if expected is not None and not isinstance(agent, expected):
                    raise ValueError(
                        f"Factory registered using the wrong type: expected {expected.__name__},"
                        f" got {type(agent).__name__}"
                    )
            except BaseException as error:
                self._log.construction_exception(identity, error)
                logger.exception("Error constructing agent %s", identity)
                raise
            return agent

    async def _call_factory(self, factory: Factory, identity: AgentId) -> Agent:
        parameters = len(inspect.signature(factory).parameters)
        if parameters == 0:
            made = cast("Callable[[], Agent | Awaitable[Agent]]", factory)()
        elif parameters == 2:
            warnings.warn(
                "Agent factories that take two arguments are deprecated. Use AgentInstantiationContext instead."
                " Two arg factories will be removed in a future version.",
                stacklevel=2,
            )
            two = cast("Callable[[AgentRuntime, AgentId], Agent | Awaitable[Agent]]", factory)
            made = two(self._runtime, identity)
        else:
            raise ValueError("Agent factory must take 0 or 2 arguments.")
        return await made if inspect.isawaitable(made) else made

    # -- the whole ---------------------------------------------------------------------------------------------

    async def save_state(self) -> dict[str, Any]:
        """The state of every instance, by ``type/key``."""
        return {key: dict(await agent.save_state()) for key, agent in list(self.instances.items())}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Give the saved states to the agents of this process, which are made if need be."""
        for key, agent_state in state.items():
            if self.knows_type(parse_agent_id(key).type):
                await (await self.get(key)).load_state(agent_state)

    async def close(self) -> None:
        """Close every instance."""
        for agent in list(self.instances.values()):
            await agent.close()
