"""``zmqagents peers``: joins the cluster for a moment, and tells who is there."""

from __future__ import annotations

import asyncio
from typing import Any

from zmqagents.cli.output import print_json, print_note, print_table
from zmqagents.cli.session import run
from zmqagents.cli.target import Target
from zmqagents.runtime.cluster import PeerInfo
from zmqagents.runtime.runtime import ZmqAgentRuntime

QUIET_S = 0.3  # who was shown is connected by then, on any network that a cluster is on
POLL_S = 0.02

_HEADINGS = ("PROCESS", "STATE", "PATH", "ADDRESS", "AGENTS", "LOAD", "SHOWN BY", "NODE")


def show_peers(target: Target, *, wait_s: float, as_json: bool, verbose: bool) -> None:
    """Print the peers. Raises typer.Exit if they could not be looked for."""

    async def work() -> None:
        async with ZmqAgentRuntime(**target.guest_settings()) as runtime:
            found = await settled_peers(runtime, wait_s)
            cluster = runtime.config.cluster
        if as_json:
            print_json({"cluster": cluster, "peers": [as_document(peer) for peer in found]})
        elif found:
            print_table(_HEADINGS, [_row(peer) for peer in found])
        else:
            print_note(f"nobody else is in cluster {cluster!r}; `zmqagents doctor` looks for reasons")

    run(work, as_json=as_json, verbose=verbose)


async def settled_peers(runtime: ZmqAgentRuntime, wait_s: float) -> list[PeerInfo]:
    """The peers, once nothing about them has changed for QUIET_S; after ``wait_s`` in any case."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    found, since_s = runtime.peers(), loop.time()
    while loop.time() < until_s and not (found and loop.time() - since_s >= QUIET_S):
        await asyncio.sleep(POLL_S)
        now = runtime.peers()
        if _looks(now) != _looks(found):
            since_s = loop.time()
        found = now
    return found


def as_document(peer: PeerInfo) -> dict[str, Any]:
    """The peer as JSON."""
    return {
        "instance_id": peer.instance_id,
        "node_id": peer.node_id,
        "state": peer.state,
        "path": peer.path,
        "forwarder": peer.forwarder or None,
        "source": peer.source,
        "endpoints": list(peer.endpoints),
        "gossip_endpoints": list(peer.gossip_endpoints),
        "agents": [{"type": one.type, "policy": one.policy, "weight": one.weight} for one in peer.hosted],
        "pinned": list(peer.pinned),
        "reads": {name: list(content_types) for name, content_types in sorted(peer.reads.items())},
        "protocol": {"lowest": peer.protocol[0], "highest": peer.protocol[1]},
        "load": peer.load,
        "max_message_bytes": peer.max_message_bytes or None,
        "started_ms": peer.started_ms or None,
    }


def _looks(peers: list[PeerInfo]) -> list[tuple[str, str, str]]:
    return [(peer.node_id, peer.state, peer.path) for peer in peers]


def _row(peer: PeerInfo) -> tuple[str, ...]:
    agents = [f"{one.type} ({one.policy} {one.weight})" for one in peer.hosted] + [*peer.pinned]
    return (
        peer.instance_id or "-",
        peer.state,
        f"{peer.path} {peer.forwarder}".rstrip(),
        peer.endpoint or "-",
        ", ".join(agents) or "-",
        str(peer.load),
        peer.source,
        peer.node_id[:8],
    )
