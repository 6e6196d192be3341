"""Peers as ``peers()`` tells of them."""

from __future__ import annotations

from typing import Any

from zmqagents.protocol.greeting import VERSIONS
from zmqagents.runtime.cluster import PeerInfo

USUAL: dict[str, Any] = {
    "instance_id": "worker-1",
    "node_id": "ab" * 16,
    "endpoint": "tcp://127.0.0.1:5000",
    "agent_types": (),
    "source": "mdns",
    "connected": True,
    "state": "up",
    "path": "direct",
    "forwarder": "",
    "endpoints": ("tcp://127.0.0.1:5000",),
    "gossip_endpoints": (),
    "hosted": (),
    "pinned": (),
    "reads": {},
    "protocol": VERSIONS,
    "load": 0,
    "max_message_bytes": 128 << 20,
    "started_ms": 1,
}


def a_peer(**told: Any) -> PeerInfo:
    """A peer about which nothing is unusual but this."""
    return PeerInfo(**{**USUAL, **told})
