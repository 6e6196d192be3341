"""AutoGen's ids to the texts of the wire and back, without paying for AutoGen's check of each one every time."""

from __future__ import annotations

from autogen_core import AgentId

from zmqagents.protocol.ids import AgentKey

MAX_CACHED = 100_000  # about 30 MiB; beyond it the cache starts anew

_ids: dict[AgentKey, AgentId] = {}


def agent_key(agent_id: AgentId) -> AgentKey:
    """``type/key``."""
    return f"{agent_id.type}/{agent_id.key}"


def agent_id(key: AgentKey) -> AgentId:
    """The AgentId of ``type/key``. ValueError if AutoGen allows no such type."""
    known = _ids.get(key)
    if known is None:
        if len(_ids) >= MAX_CACHED:
            _ids.clear()
        known = _ids[key] = AgentId.from_str(key)
    return known
