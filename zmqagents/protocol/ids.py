"""Identifiers of the wire protocol (SPEC.md section 2)."""

from __future__ import annotations

from typing import TypeAlias

NodeId: TypeAlias = bytes
"""16 bytes; the first is not zero, because ZeroMQ keeps such routing ids for itself."""

CallId: TypeAlias = int
"""Unique among the calls of one node."""

AgentKey: TypeAlias = str
"""An agent id as text, ``type/key``."""

PathId: TypeAlias = int | bytes
"""A way to reach a peer: the number of a DEALER we dialled, or the routing id of a connection to our ROUTER."""

NODE_ID_BYTES = 16

ANYONE: NodeId = bytes(NODE_ID_BYTES)
"""The destination "whoever reads this", legal for PING alone."""

MAX_AGENT_ID_CHARS = 1_024  # SPEC.md section 2


def make_node_id(random_bytes: bytes) -> NodeId:
    """A node id from 16 random bytes, its first byte made non-zero. ValueError on another length."""
    if len(random_bytes) != NODE_ID_BYTES:
        raise ValueError(f"a node id is made of {NODE_ID_BYTES} random bytes, got {len(random_bytes)}")
    return bytes([random_bytes[0] | 1]) + random_bytes[1:]


def is_node_id(value: object) -> bool:
    """Whether ``value`` can be the id of a node."""
    return isinstance(value, bytes) and len(value) == NODE_ID_BYTES and value[0] != 0


def short(node_id: NodeId) -> str:
    """The first 8 hexadecimal digits, for people."""
    return node_id[:4].hex()


def agent_type_of(agent: AgentKey) -> str:
    """The type in ``type/key``."""
    return agent.partition("/")[0]
