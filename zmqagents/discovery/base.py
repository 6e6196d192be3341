"""How a node learns which peers may be there.

A discovery tells who it is (:class:`Advertisement`) and shows what it sees (:class:`Sighting`). A sighting is a hint
and no more: nothing in it is authenticated, the peer may be gone, and the same peer may be shown twice. Whoever is
shown has to be dialled and greeted; liveness and membership are gossip's business, which is why there is no "lost".

:class:`~zmqagents.discovery.memory.MemoryDiscovery` is the in-process twin of the mDNS one; both pass
``tests/contract/test_discovery.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Advertisement:
    """What this node tells about itself."""

    cluster: str
    node_id: bytes
    """16 bytes, new in each life of a process."""
    instance_id: str
    """A label for people; not unique."""
    endpoints: tuple[str, ...]
    """``tcp://host:port``: the data endpoints that others dial. None at all means: look, but don't advertise."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """A peer that may be there."""

    endpoints: tuple[str, ...]
    """``tcp://host:port`` of one and the same peer, to be tried in any order."""
    node_id: bytes | None
    """None where only the address is known: a seed."""
    source: str
    """Which discovery saw it ("mdns", "seed"), for logs."""


Found = Callable[[Sighting], None]


class Discovery(Protocol):
    """One way of finding peers. Used once: ``start``, then ``stop``; make a new one to start again."""

    async def start(self, own: Advertisement, found: Found) -> None:
        """Advertise and browse; ``found`` is called in the event loop, again whenever an address changes.

        Never for ourselves or for another cluster. Raises ConfigError for a setting that cannot work on this host.
        If it raises or is cancelled, everything it opened is closed again.
        """

    async def settled(self) -> None:
        """Returns once the first round of browsing is over (in bounded time): who was there has been shown."""

    async def update(self, own: Advertisement) -> None:
        """Advertise this from now on."""

    async def stop(self) -> None:
        """Withdraw the advertisement and end every task, thread and socket; idempotent, and legal before ``start``."""


class CombinedDiscovery:
    """Several discoveries at once, as one."""

    def __init__(self, parts: Sequence[Discovery]) -> None:
        self._parts = tuple(parts)

    async def start(self, own: Advertisement, found: Found) -> None:
        """Start all parts. If one of them raises, all are stopped and the first error is raised."""
        try:
            await _all([part.start(own, found) for part in self._parts])
        except BaseException:
            await self.stop()
            raise

    async def settled(self) -> None:
        """Returns once each part has settled."""
        await _all([part.settled() for part in self._parts])

    async def update(self, own: Advertisement) -> None:
        """Update each part."""
        await _all([part.update(own) for part in self._parts])

    async def stop(self) -> None:
        """Stop every part, even if one of them raises."""
        await _all([part.stop() for part in self._parts])


async def _all(calls: Sequence[Awaitable[None]]) -> None:
    """Run the calls side by side to their end, then raise the first error, if there was one."""
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
