"""Agents that come and go between processes, with their state.

Only what overrides ``save_state`` has a state to take along; anything else is made anew where it goes.
"""

from __future__ import annotations

import json
import logging

from autogen_core import Agent, BaseAgent

from zmqagents.protocol.ids import AgentKey
from zmqagents.runtime.activation import Agents

logger = logging.getLogger("zmqagents")


def keeps_state(agent: Agent) -> bool:
    """Whether the agent's class says what its state is."""
    return getattr(type(agent), "save_state", None) not in (None, BaseAgent.save_state)


class States:
    """Packs, adopts and ends the agents of one process."""

    def __init__(self, agents: Agents, max_bytes: int) -> None:
        self._agents = agents
        self._max_bytes = max_bytes

    async def pack(self, key: AgentKey) -> bytes | None:
        """The agent's state as JSON; None if it has none, or none that can be sent, which is logged."""
        agent = self._agents.instances.get(key)
        if agent is None or not keeps_state(agent):
            return None
        try:
            state = json.dumps(dict(await agent.save_state())).encode()
        except Exception:
            logger.exception("the state of %s is lost on its way to another process: save_state() failed", key)
            return None
        if len(state) > self._max_bytes:
            logger.error(
                "the state of %s is lost on its way to another process: it has %s bytes, over max_message_bytes=%s",
                key,
                f"{len(state):,}",
                f"{self._max_bytes:,}",
            )
            return None
        return state

    async def adopt(self, key: AgentKey, state: bytes) -> None:
        """Make the agent with the state that came with it; raises what its factory or ``load_state`` raises."""
        await self.drop(key)  # an instance of an earlier stay
        agent = await self._agents.get(key)
        try:
            await agent.load_state(json.loads(state))
        except BaseException:
            await self.drop(key)
            raise

    async def drop(self, key: AgentKey) -> None:
        """End the agent's instance, if there is one."""
        agent = self._agents.instances.pop(key, None)
        if agent is None:
            return
        try:
            await agent.close()
        except Exception:
            logger.exception("%s raised in close()", key)
