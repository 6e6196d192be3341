"""Short ways to write what the tests of the protocol are about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.records import HostedType, Phase, Record, SubscriptionEntry, SubscriptionKind

EXACT, PREFIX, OPAQUE = SubscriptionKind


def node_id(name: int | str) -> NodeId:
    """A node id that shows its name: ``node_id(1) < node_id(2)``."""
    return b"n" + (name.to_bytes(15, "big") if isinstance(name, int) else name.encode().rjust(15, b"-"))


def make_record(
    name: int | str,
    version: int = 1,
    phase: Phase = Phase.ACTIVE,
    *,
    types: Iterable[str] | Mapping[str, int] = (),
    pinned: Iterable[str] = (),
    subscriptions: Iterable[tuple[SubscriptionKind, str, str]] = (),
    label: str = "",
    cluster: str = "default",
    endpoints: tuple[str, ...] = (),
    gossip_endpoints: tuple[str, ...] = (),
) -> Record:
    """A record; ``types`` are agent types, with weights if it is a mapping."""
    weights = types if isinstance(types, Mapping) else dict.fromkeys(types, 1)
    return Record(
        node_id=node_id(name),
        version=version,
        phase=phase,
        instance_id=label,
        cluster=cluster,
        endpoints=endpoints,
        gossip_endpoints=gossip_endpoints,
        protocol=(1, 1),
        types={agent_type: HostedType("by_key", weight) for agent_type, weight in weights.items()},
        pinned=frozenset(pinned),
        subscriptions={
            f"s{index}": SubscriptionEntry(kind, match, agent_type)
            for index, (kind, match, agent_type) in enumerate(subscriptions)
        },
        readable={},
        load=0,
    )


def request(call_id: int, agent: str = "worker/a", timeout_ms: int | None = None, text: str = "") -> f.Request:
    """A call."""
    return f.Request(call_id, agent, f"m{call_id}", None, "Text", "text", timeout_ms, 0, None, text.encode())


def reply(call_id: int, text: str = "") -> f.Reply:
    """Its answer."""
    return f.Reply(call_id, "Text", "text", text.encode())


def event(message_id: str, recipients: Iterable[str] = ("worker/a",), text: str = "") -> f.Event:
    """An event."""
    return f.Event("topic", "a", message_id, None, list(recipients), "Text", "text", 0, None, text.encode())
