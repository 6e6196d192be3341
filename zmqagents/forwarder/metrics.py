"""What a forwarder counts, in Prometheus's text format 0.0.4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from zmqagents._version import __version__

if TYPE_CHECKING:
    from zmqagents.forwarder.service import Forwarder

_PREFIX = "zmqagents_forwarder_"


def exposition(forwarder: Forwarder) -> str:
    """The page. Labels are words of our own, never what a peer sent, so their number is bounded."""
    relay = forwarder.relay
    if relay is None:
        return ""
    counters = relay.counters
    messages, size_bytes = forwarder.waiting
    lines = [
        *_metric("info", "gauge", "Version of the program.", {f'version="{__version__}"': 1}),
        *_metric("uptime_seconds", "gauge", "Time since the start.", round(forwarder.uptime_s, 3)),
        *_metric("attached_nodes", "gauge", "Nodes attached now.", len(relay.attached)),
        *_metric("max_nodes", "gauge", "Nodes that may be attached.", relay.limits.max_nodes),
        *_metric("listened", "gauge", "Pairs of a node and one whose gossip it wants.", relay.listened),
        *_metric("draining", "gauge", "1 while it is ending.", int(relay.draining)),
        *_metric("attached_total", "counter", "Nodes attached since the start.", counters.attached),
        *_metric("relayed_envelopes_total", "counter", "Envelopes relayed.", counters.envelopes),
        *_metric("relayed_gossip_total", "counter", "Gossip messages relayed, by receiver.", counters.gossip),
        *_metric("relayed_bytes_total", "counter", "Bytes relayed.", counters.relayed_bytes),
        *_metric("strays_total", "counter", "Messages that broke a rule.", counters.strays),
        *_metric("dropped_total", "counter", "Messages that did not go on.", _labelled("reason", counters.dropped)),
        *_metric("refused_total", "counter", "Nodes that were not let in.", _labelled("reason", counters.refused)),
        *_metric("queued_messages", "gauge", "Messages that wait for slow readers.", messages),
        *_metric("queued_bytes", "gauge", "Bytes of those, and of large ones on their way.", size_bytes),
    ]
    return "\n".join(lines) + "\n"


def _labelled(label: str, counts: Mapping[str, int]) -> dict[str, float]:
    return {f'{label}="{name.lower().replace(" ", "_")}"': count for name, count in sorted(counts.items())}


def _metric(name: str, kind: str, text: str, value: float | Mapping[str, float]) -> list[str]:
    values = value if isinstance(value, Mapping) else {"": value}
    lines = [f"# HELP {_PREFIX}{name} {text}", f"# TYPE {_PREFIX}{name} {kind}"]
    return lines + [f"{_PREFIX}{name}{f'{{{label}}}' if label else ''} {number}" for label, number in values.items()]
