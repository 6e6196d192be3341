"""The seeds of a node: endpoints at which anybody may be, dialled until somebody is (SPEC.md section 6.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from zmqagents.protocol.ids import NodeId

MAX_SEEDS = 1_024
RETRY_S = 2.0  # a seed whose node is gone is dialled again no faster than this


@dataclass(slots=True)
class _Seed:
    path: int | None
    node_id: NodeId | None = None
    """Who answered there last."""


class Seeds:
    """Which of them is dialled on which path, and when to dial again those whose node is gone."""

    def __init__(self) -> None:
        self._seeds: dict[str, _Seed] = {}
        self._retry_at_s = 0.0

    def __contains__(self, endpoint: str) -> bool:
        return endpoint in self._seeds

    @property
    def is_full(self) -> bool:
        """Whether no more are taken."""
        return len(self._seeds) >= MAX_SEEDS

    def dialled(self, endpoint: str, path: int) -> None:
        """The endpoint, which may be a new one, is dialled on this path."""
        self._seeds.setdefault(endpoint, _Seed(path)).path = path

    def answered(self, path: int, node_id: NodeId) -> None:
        """The node is at the seeds that are dialled on this path."""
        for seed in self._seeds.values():
            if seed.path == path:
                seed.node_id = node_id

    def path_switched(self, old: int, new: int | None) -> None:
        """What was dialled on the path ``old`` is so on ``new`` from now on; None if on no path."""
        for seed in self._seeds.values():
            if seed.path == old:
                seed.path = new

    def are_dialled_on(self, path: int) -> bool:
        """Whether the path is that of a seed."""
        return any(seed.path == path for seed in self._seeds.values())

    def is_one_due(self, now_s: float) -> bool:
        """Whether any may have to be dialled again; most of the time none has."""
        return now_s >= self._retry_at_s and any(seed.path is None for seed in self._seeds.values())

    def due(self, live: Mapping[NodeId, tuple[str, ...]], now_s: float) -> list[str]:
        """Those to dial again; ``live`` are the members and their endpoints."""
        self._retry_at_s = now_s + RETRY_S
        taken = {endpoint for endpoints in live.values() for endpoint in endpoints}
        return [
            endpoint
            for endpoint, seed in self._seeds.items()
            if seed.path is None and seed.node_id not in live and endpoint not in taken
        ]
