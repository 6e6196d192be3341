"""What the tests of discovery share."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from zmqagents.discovery import Advertisement, Sighting
from zmqagents.protocol.ids import make_node_id

DEADLINE_S = 10.0


class Seen:
    """A ``found`` callback that remembers, and that can be waited for."""

    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self._changed = asyncio.Event()

    def __call__(self, sighting: Sighting) -> None:
        self.sightings.append(sighting)
        self._changed.set()

    @property
    def node_ids(self) -> list[bytes | None]:
        return [sighting.node_id for sighting in self.sightings]

    @property
    def endpoints(self) -> list[str]:
        return [endpoint for sighting in self.sightings for endpoint in sighting.endpoints]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds, looking whenever something was found."""
        while not condition():
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), DEADLINE_S)

    async def node(self, own: Advertisement) -> Sighting:
        """Wait until that node was found; its latest sighting."""
        await self.until(lambda: own.node_id in self.node_ids)
        return next(one for one in reversed(self.sightings) if one.node_id == own.node_id)


def random_cluster() -> str:
    return f"test-{os.urandom(6).hex()}"


def advertisement(cluster: str, *endpoints: str) -> Advertisement:
    return Advertisement(cluster, make_node_id(os.urandom(16)), "a test", endpoints or ("tcp://127.0.0.1:5555",))
