"""What every Discovery promises: the in-memory twin and mDNS pass the same tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from tests.unit.discovery.seen import Seen, advertisement, random_cluster
from zmqagents.discovery import Advertisement, Discovery, MdnsDiscovery, MemoryDiscovery, MemoryNetwork
from zmqagents.errors import ConfigError


class Neighbourhood:
    """Discoveries that can see each other; all are stopped at the end."""

    def __init__(self, make: Callable[[], Discovery]) -> None:
        self.cluster = random_cluster()
        self._make = make
        self._made: list[Discovery] = []

    def make(self) -> Discovery:
        self._made.append(self._make())
        return self._made[-1]

    async def join(self, own: Advertisement) -> tuple[Discovery, Seen]:
        discovery, seen = self.make(), Seen()
        await discovery.start(own, seen)
        return discovery, seen

    def advertisement(self, *endpoints: str) -> Advertisement:
        return advertisement(self.cluster, *endpoints)

    async def stop(self) -> None:
        await asyncio.gather(*(discovery.stop() for discovery in self._made))


@pytest.fixture(params=["memory", pytest.param("mdns", marks=pytest.mark.integration)])
async def hood(request: pytest.FixtureRequest) -> AsyncIterator[Neighbourhood]:
    network = MemoryNetwork()
    neighbourhood = Neighbourhood((lambda: MemoryDiscovery(network)) if request.param == "memory" else MdnsDiscovery)
    yield neighbourhood
    await neighbourhood.stop()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_who_was_there_has_been_shown_once_settled(hood: Neighbourhood) -> None:
    peers = [hood.advertisement(f"tcp://127.0.0.1:{port}") for port in (1, 2, 3)]
    for peer in peers:
        await hood.join(peer)
    discovery, seen = await hood.join(hood.advertisement())
    await discovery.settled()
    assert sorted(seen.endpoints) == ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2", "tcp://127.0.0.1:3"]
    assert {peer.node_id for peer in peers} == set(seen.node_ids)


async def test_who_comes_later_is_shown(hood: Neighbourhood) -> None:
    _discovery, seen = await hood.join(hood.advertisement())
    late = hood.advertisement("tcp://127.0.0.1:7", "tcp://[::1]:8")
    await hood.join(late)
    assert (await seen.node(late)).endpoints == late.endpoints


async def test_neither_ourselves_nor_another_cluster_is_shown(hood: Neighbourhood) -> None:
    own, peer = hood.advertisement(), hood.advertisement()
    await hood.join(advertisement(random_cluster()))
    _discovery, seen = await hood.join(own)
    await hood.join(advertisement(random_cluster()))
    await hood.join(peer)
    await seen.node(peer)
    assert seen.node_ids == [peer.node_id]


async def test_changed_address_is_shown_again(hood: Neighbourhood) -> None:
    peer = hood.advertisement("tcp://127.0.0.1:1")
    discovery, _seen = await hood.join(peer)
    _other, seen = await hood.join(hood.advertisement())
    await seen.node(peer)
    await discovery.update(Advertisement(peer.cluster, peer.node_id, "moved", ("tcp://127.0.0.1:2",)))
    await seen.until(lambda: seen.endpoints == ["tcp://127.0.0.1:1", "tcp://127.0.0.1:2"])


async def test_who_joins_after_an_update_is_shown_the_new_address(hood: Neighbourhood) -> None:
    peer = hood.advertisement("tcp://127.0.0.1:1")
    discovery, _seen = await hood.join(peer)
    await discovery.update(Advertisement(peer.cluster, peer.node_id, "moved", ("tcp://127.0.0.1:2",)))
    _other, seen = await hood.join(hood.advertisement())
    assert (await seen.node(peer)).endpoints == ("tcp://127.0.0.1:2",)


async def test_node_without_endpoints_sees_and_is_not_seen(hood: Neighbourhood) -> None:
    shy = Advertisement(hood.cluster, advertisement("x").node_id, "shy", ())
    peer = hood.advertisement()
    _discovery, seen = await hood.join(peer)
    shy_discovery, shy_seen = await hood.join(shy)
    await shy_seen.node(peer)
    await shy_discovery.update(Advertisement(hood.cluster, shy.node_id, "bold", ("tcp://127.0.0.1:9",)))
    assert (await seen.node(shy)).endpoints == ("tcp://127.0.0.1:9",)
    assert seen.node_ids == [shy.node_id]


async def test_two_nodes_with_one_name_both_go_on(hood: Neighbourhood) -> None:
    twin = hood.advertisement("tcp://127.0.0.1:1")
    _first, first_seen = await hood.join(twin)
    _second, second_seen = await hood.join(Advertisement(hood.cluster, twin.node_id, "twin", ("tcp://127.0.0.1:2",)))
    peer = hood.advertisement()
    _third, third_seen = await hood.join(peer)
    await first_seen.node(peer)
    await second_seen.node(peer)
    await third_seen.node(twin)


async def test_who_has_stopped_is_not_shown_to_newcomers_and_sees_none(hood: Neighbourhood) -> None:
    gone, stays, newcomer = hood.advertisement(), hood.advertisement(), hood.advertisement()
    discovery, gone_seen = await hood.join(gone)
    _other, stays_seen = await hood.join(stays)
    await stays_seen.node(gone)
    await discovery.stop()
    shown = len(gone_seen.sightings)
    third, newcomer_seen = await hood.join(newcomer)
    await third.settled()
    await stays_seen.node(newcomer)
    assert newcomer_seen.node_ids == [stays.node_id]
    assert len(gone_seen.sightings) == shown


async def test_stop_is_idempotent_and_legal_before_start(hood: Neighbourhood) -> None:
    discovery = hood.make()
    await discovery.stop()
    await discovery.stop()
    started, _seen = await hood.join(hood.advertisement())
    await asyncio.gather(started.stop(), started.stop())
    await started.settled()
    await started.update(hood.advertisement())


async def test_discovery_is_started_once(hood: Neighbourhood) -> None:
    discovery, _seen = await hood.join(hood.advertisement())
    with pytest.raises(RuntimeError, match="make a new one"):
        await discovery.start(hood.advertisement(), Seen())
    await discovery.stop()
    with pytest.raises(RuntimeError, match="make a new one"):
        await discovery.start(hood.advertisement(), Seen())


async def test_start_that_is_cancelled_at_any_step_leaves_nothing_behind(hood: Neighbourhood) -> None:
    for steps in range(12):
        own = hood.advertisement()
        start = asyncio.create_task(hood.make().start(own, Seen()))
        for _turn in range(steps):
            await asyncio.sleep(0)
        start.cancel()
        await asyncio.gather(start, return_exceptions=True)
        if start.cancelled():
            last, newcomer_seen = await hood.join(hood.advertisement())
            await last.settled()
            assert own.node_id not in newcomer_seen.node_ids
            await last.stop()


async def test_advertisement_that_cannot_be_dialled_is_refused_at_start(hood: Neighbourhood) -> None:
    discovery = hood.make()
    with pytest.raises(ConfigError, match="endpoint"):
        await discovery.start(hood.advertisement("127.0.0.1:5555"), Seen())
