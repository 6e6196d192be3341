"""Which host an agent lives on: weighted rendezvous hashing (SPEC.md section 8.1).

Every node that knows the same hosts computes the same home, without a word exchanged; when a host comes or goes, only
the agents that it wins or held move (Thaler and Ravishankar 1998, "Using name-based mappings to increase hit rates").
Weights enter as Schindelhauer and Schomaker (2005) show: score = weight / -ln(u). Rejected: a hash ring, whose shares
are uneven without hundreds of virtual nodes a host.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

from zmqagents.protocol.ids import AgentKey, NodeId


def rendezvous_score(node_id: NodeId, agent: AgentKey, weight: int) -> float:
    """The claim of a host of ``weight`` on an agent; the highest has it. A weight of 0 wins against another 0 only."""
    digest = hashlib.blake2b(node_id + agent.encode(), digest_size=8).digest()
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / (1 << 52)  # 52 bits: a double holds it, and it is below 1
    return weight / -math.log(uniform)


def rendezvous_home(agent: AgentKey, hosts: Iterable[tuple[NodeId, int]]) -> NodeId | None:
    """The host, of (node id, weight) pairs, where the agent lives; None if there is none."""
    best: tuple[float, bytes] | None = None
    home: NodeId | None = None
    for node_id, weight in hosts:
        # The lower id wins a tie, so its complement is compared.
        claim = (rendezvous_score(node_id, agent, weight), bytes(255 - byte for byte in node_id))
        if best is None or claim > best:
            best, home = claim, node_id
    return home
