"""The cluster as a process sees it that has just joined: who is there, who is kept out, and who differs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass

from zmqagents.cli.checks.findings import Finding, fail, ok, warn
from zmqagents.cli.target import Target
from zmqagents.config import RuntimeConfig
from zmqagents.protocol.greeting import VERSIONS
from zmqagents.runtime.cluster import PeerInfo
from zmqagents.runtime.runtime import ZmqAgentRuntime

CLUSTER, STRANGERS, VERSION, SIZES, CLOCKS, POLICIES = (
    "cluster", "kept out", "versions", "message sizes", "others' clocks", "policies",
)  # fmt: skip

TURNED_AWAY = "no connection with "
CANT_TALK = "and this process can't talk: "

AHEAD_MS = 1_000  # a process that began "later than now" by this much has another clock than ours
MAX_LINES = 100  # of the log: a finding is for reading
MAX_NAMES = 10


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen from inside the cluster."""

    peers: tuple[PeerInfo, ...]
    log: tuple[str, ...]
    """The warnings and errors of the runtime meanwhile."""


class _Keeper(logging.Handler):
    """Keeps the log's first lines."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if len(self.lines) < MAX_LINES:
            self.lines.append(record.getMessage())


async def look_around(target: Target, wait_s: float) -> Look:
    """Join the cluster for ``wait_s``. Raises what ``start`` raises."""
    logger = logging.getLogger("zmqagents")
    keeper = _Keeper()
    propagated, logger.propagate = logger.propagate, False  # what it says becomes findings
    logger.addHandler(keeper)
    try:
        async with ZmqAgentRuntime(**target.guest_settings()) as runtime:
            await asyncio.sleep(wait_s)
            peers = tuple(runtime.peers())
        return Look(peers, tuple(keeper.lines))
    finally:
        logger.removeHandler(keeper)
        logger.propagate = propagated


def check_cluster(config: RuntimeConfig, look: Look) -> Finding:
    """Who is there."""
    other = [line for line in look.log if not line.startswith(TURNED_AWAY) and CANT_TALK not in line]
    said = f". The log says: {'; '.join(other[:MAX_NAMES])}" if other else ""
    if not look.peers:
        return warn(
            CLUSTER,
            f"nobody else is in cluster {config.cluster!r}{said}",
            "start a process with the same cluster name, or see the other findings for why it is not found",
        )
    beyond = [_label(peer) for peer in look.peers if peer.state in ("unreachable", "suspected")]
    count = f"{len(look.peers)} other{'s' if len(look.peers) > 1 else ''} in cluster {config.cluster!r}"
    if beyond:
        return fail(
            CLUSTER,
            f"{count}, of which this host can't reach {_names(beyond)}{said}",
            "let TCP between the hosts through, and check the addresses that `zmqagents peers` shows",
        )
    seen = f"{count}: {_names(_label(peer) for peer in look.peers)}{said}"
    return warn(CLUSTER, seen, "see the log's lines") if other else ok(CLUSTER, seen)


def check_strangers(look: Look) -> Finding:
    """Who was turned away, or turned us away."""
    lines = [line for line in look.log if line.startswith(TURNED_AWAY)]
    if not lines:
        return ok(STRANGERS, "nobody was seen who has another key, or none")
    return fail(
        STRANGERS,
        "; ".join(lines[:MAX_NAMES]),
        "give all processes of the cluster the same key, or run the others under another cluster name",
    )


def check_versions(look: Look) -> Finding:
    """Whether all speak the same versions of the protocol."""
    refused = [line for line in look.log if CANT_TALK in line]
    here = f"{VERSIONS[0]} to {VERSIONS[1]}"
    if refused:
        return fail(VERSION, "; ".join(refused[:MAX_NAMES]), "upgrade the older side")
    differing = [
        f"{_label(peer)} {peer.protocol[0]} to {peer.protocol[1]}" for peer in look.peers if peer.protocol != VERSIONS
    ]
    if not differing:
        return ok(VERSION, f"protocol versions {here} here and everywhere")
    seen = f"protocol versions {here} here, and elsewhere: {_names(differing)}"
    apart = [
        _label(peer) for peer in look.peers if max(peer.protocol[0], VERSIONS[0]) > min(peer.protocol[1], VERSIONS[1])
    ]
    if apart:
        return fail(VERSION, f"{seen}. No common version with {_names(apart)}", "upgrade the older side")
    return warn(VERSION, seen, "fine while processes are upgraded one after the other; else upgrade the rest")


def check_sizes(config: RuntimeConfig, look: Look) -> Finding:
    """Whether all read messages of the same size."""
    sizes = {_label(peer): peer.max_message_bytes for peer in look.peers if peer.max_message_bytes}
    differing = [f"{name} {size:,}" for name, size in sizes.items() if size != config.max_message_bytes]
    here = f"max_message_bytes is {config.max_message_bytes:,} here"
    if not differing:
        return ok(SIZES, f"{here} and everywhere")
    if len(set(sizes.values())) == 1:
        return ok(SIZES, f"{here} (no setting of this command), and {next(iter(sizes.values())):,} at all others")
    return warn(SIZES, f"{here}, and elsewhere: {_names(differing)}", "set max_message_bytes alike on all processes")


def check_others_clocks(look: Look, now_ms: int | None = None) -> Finding:
    """Whether a process says that it started in the future: all that the protocol tells of others' clocks."""
    now_ms = int(time.time() * 1_000) if now_ms is None else now_ms
    ahead = [
        f"{_label(peer)} by at least {(peer.started_ms - now_ms) / 1_000:,.0f} s"
        for peer in look.peers
        if peer.started_ms > now_ms + AHEAD_MS
    ]
    if not ahead:
        return ok(CLOCKS, "nobody's clock is seen to be ahead of this host's")
    return warn(CLOCKS, f"ahead of this host's: {_names(ahead)}", "synchronise the clocks of both hosts")


def check_policies(look: Look) -> Finding:
    """Whether all processes that host a type give it the same policy."""
    policies: dict[str, dict[str, str]] = {}
    for peer in look.peers:
        for one in peer.hosted:
            policies.setdefault(one.type, {}).setdefault(one.policy, _label(peer))
    conflicts = [
        f"{name}: " + ", ".join(f"{policy} at {label}" for policy, label in by_policy.items())
        for name, by_policy in sorted(policies.items())
        if len(by_policy) > 1
    ]
    if not conflicts:
        return ok(POLICIES, f"the same for each of {len(policies)} agent types wherever it is hosted")
    return fail(POLICIES, "; ".join(conflicts[:MAX_NAMES]), "give the type the same policy in all processes")


def _label(peer: PeerInfo) -> str:
    return peer.instance_id or peer.node_id[:8]


def _names(names: Iterable[str]) -> str:
    listed = list(names)
    more = f" and {len(listed) - MAX_NAMES} more" if len(listed) > MAX_NAMES else ""
    return ", ".join(listed[:MAX_NAMES]) + more
