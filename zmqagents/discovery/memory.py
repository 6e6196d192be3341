"""The in-process twin of mDNS discovery: nodes on one MemoryNetwork see each other, in one event loop."""

from __future__ import annotations

import asyncio

from zmqagents.discovery.advert import write_txt
from zmqagents.discovery.base import Advertisement, Found, Sighting


class MemoryNetwork:
    """What the nodes on it can see of each other, as one multicast link would carry it."""

    def __init__(self) -> None:
        self._members: dict[MemoryDiscovery, Advertisement] = {}

    def put(self, member: MemoryDiscovery, own: Advertisement) -> None:
        """Announce ``own`` to the others, and the others to a member that is new here."""
        if member not in self._members:
            for advertisement in self._members.values():
                member.hear(advertisement)
        self._members[member] = own
        for other in self._members:
            other.hear(own)

    def remove(self, member: MemoryDiscovery) -> None:
        """Withdraw what the member announced."""
        self._members.pop(member, None)


class MemoryDiscovery:
    """Discovery without a network."""

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._own: Advertisement | None = None
        self._found: Found | None = None
        self._known: dict[bytes, Sighting] = {}
        self._stopped = False

    async def start(self, own: Advertisement, found: Found) -> None:
        """Put ``own`` on the network and show who is there."""
        if self._own is not None or self._stopped:
            raise RuntimeError("a discovery is started once: make a new one")
        write_txt(own)  # refuses what mDNS would refuse
        self._own, self._found = own, found
        self._network.put(self, own)

    async def settled(self) -> None:
        """Returns after the callbacks that ``start`` has queued."""
        await asyncio.sleep(0)

    async def update(self, own: Advertisement) -> None:
        """Replace what is on the network."""
        write_txt(own)
        if self._own is not None and not self._stopped:
            self._own = own
            self._network.put(self, own)

    async def stop(self) -> None:
        """Leave the network."""
        self._stopped = True
        self._network.remove(self)

    def hear(self, advertisement: Advertisement) -> None:
        """Take in what somebody on the network announces; ``found`` follows in the next turn of the event loop."""
        own = self._own
        if own is None or advertisement.cluster != own.cluster or advertisement.node_id == own.node_id:
            return
        if not advertisement.endpoints:
            return
        sighting = Sighting(advertisement.endpoints, advertisement.node_id, "memory")
        if self._known.get(advertisement.node_id) != sighting:
            self._known[advertisement.node_id] = sighting
            asyncio.get_running_loop().call_soon(self._show, sighting)

    def _show(self, sighting: Sighting) -> None:
        if self._found is not None and not self._stopped:
            self._found(sighting)
