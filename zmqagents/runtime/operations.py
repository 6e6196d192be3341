"""Operations on an agent of this process (SPEC.md section 8.4)."""

from __future__ import annotations

from typing import Any

from zmqagents.protocol.frames import Operation
from zmqagents.protocol.ids import AgentKey
from zmqagents.runtime.activation import Agents


async def operate_here(agents: Agents, operation: Operation, key: AgentKey, argument: Any = None) -> Any:
    """Do ``operation`` on the agent, which is made if need be."""
    agent = await agents.get(key)
    if operation is Operation.METADATA:
        return agent.metadata
    if operation is Operation.SAVE_STATE:
        return await agent.save_state()
    if operation is Operation.LOAD_STATE:
        await agent.load_state(argument)
    return None
