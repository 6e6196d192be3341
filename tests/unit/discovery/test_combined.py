from __future__ import annotations

import pytest

from tests.unit.discovery.seen import Seen, advertisement
from zmqagents.discovery import Advertisement, CombinedDiscovery, Found, MemoryDiscovery, MemoryNetwork, StaticDiscovery


class Broken:
    """A discovery that can't start, or can't stop."""

    def __init__(self, *, starts: bool) -> None:
        self._starts = starts
        self.stopped = 0

    async def start(self, own: Advertisement, found: Found) -> None:
        if not self._starts:
            raise OSError("no network")

    async def settled(self) -> None: ...

    async def update(self, own: Advertisement) -> None: ...

    async def stop(self) -> None:
        self.stopped += 1
        if self._starts:
            raise OSError("no end")


async def test_combined_shows_what_each_part_sees() -> None:
    network, seen = MemoryNetwork(), Seen()
    peer, own = advertisement("c"), advertisement("c", "tcp://127.0.0.1:1")
    other = MemoryDiscovery(network)
    await other.start(peer, Seen())
    combined = CombinedDiscovery([MemoryDiscovery(network), StaticDiscovery(["tcp://10.0.0.2:7000"])])
    await combined.start(own, seen)
    await combined.settled()
    assert sorted(one.source for one in seen.sightings) == ["memory", "seed"]
    await combined.stop()
    await other.stop()


async def test_combined_updates_each_part() -> None:
    network, seen = MemoryNetwork(), Seen()
    other, combined = MemoryDiscovery(network), CombinedDiscovery([MemoryDiscovery(network)])
    own = advertisement("c")
    await other.start(advertisement("c"), seen)
    await combined.start(own, Seen())
    await combined.update(Advertisement("c", own.node_id, "a test", ("tcp://127.0.0.1:2",)))
    await seen.until(lambda: "tcp://127.0.0.1:2" in seen.endpoints)
    await combined.stop()
    await other.stop()


async def test_combined_stops_all_parts_when_one_cannot_start() -> None:
    network, broken, seen = MemoryNetwork(), Broken(starts=False), Seen()
    combined = CombinedDiscovery([MemoryDiscovery(network), broken])
    with pytest.raises(OSError, match="no network"):
        await combined.start(advertisement("c"), Seen())
    late = MemoryDiscovery(network)
    await late.start(advertisement("c"), seen)
    await late.settled()
    assert broken.stopped == 1
    assert seen.sightings == []
    await late.stop()


async def test_combined_stops_every_part_when_one_cannot_stop() -> None:
    first, second = Broken(starts=True), Broken(starts=True)
    with pytest.raises(OSError, match="no end"):
        await CombinedDiscovery([first, second]).stop()
    assert (first.stopped, second.stopped) == (1, 1)
