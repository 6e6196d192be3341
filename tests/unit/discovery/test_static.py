from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Sequence

import pytest

from tests.unit.discovery.seen import DEADLINE_S, Seen, advertisement
from zmqagents.discovery import Sighting, StaticDiscovery
from zmqagents.discovery.static import MAX_ADDRESSES_PER_NAME, resolve
from zmqagents.errors import ConfigError

SOON_S = 0.001


class Names:
    """A name server: answers, and how often it was asked."""

    def __init__(self, **answers: Sequence[str] | OSError) -> None:
        self.answers = answers
        self.asked = 0
        self._asked = asyncio.Event()

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked += 1
        self._asked.set()
        answer = self.answers[host]
        if isinstance(answer, OSError):
            raise answer
        return answer

    async def again(self, times: int = 2) -> None:
        """Wait until further look-ups were made; all but the last are over."""
        target = self.asked + times
        while self.asked < target:
            self._asked.clear()
            await asyncio.wait_for(self._asked.wait(), DEADLINE_S)


@pytest.fixture
async def seen() -> Seen:
    return Seen()


@pytest.fixture
async def running() -> AsyncIterator[list[StaticDiscovery]]:
    discoveries: list[StaticDiscovery] = []
    yield discoveries
    for one in discoveries:
        await one.stop()


async def begin(running: list[StaticDiscovery], seen: Seen, names: Names, *seeds: str) -> StaticDiscovery:
    discovery = StaticDiscovery(seeds, resolve_every_s=SOON_S, resolver=names)
    running.append(discovery)
    await discovery.start(advertisement("c", "tcp://10.0.0.1:7000"), seen)
    await discovery.settled()
    return discovery


async def test_seed_address_is_shown_without_a_look_up(running: list[StaticDiscovery], seen: Seen) -> None:
    names = Names()
    await begin(running, seen, names, "tcp://127.0.0.1:7000", "tcp://[::1]:7000", "tcp://127.0.0.1:7000")
    assert seen.sightings == [
        Sighting(("tcp://127.0.0.1:7000",), None, "seed"),
        Sighting(("tcp://[::1]:7000",), None, "seed"),
    ]
    assert names.asked == 0


async def test_seed_name_means_all_its_addresses(running: list[StaticDiscovery], seen: Seen) -> None:
    names = Names(workers=["10.0.0.2", "10.0.0.3", "fd00::2", "10.0.0.2"])
    await begin(running, seen, names, "tcp://workers:7000")
    assert seen.endpoints == ["tcp://10.0.0.2:7000", "tcp://10.0.0.3:7000", "tcp://[fd00::2]:7000"]


async def test_seed_that_is_ourselves_is_not_shown(running: list[StaticDiscovery], seen: Seen) -> None:
    names = Names(workers=["10.0.0.1", "10.0.0.2"])
    await begin(running, seen, names, "tcp://workers:7000", "tcp://10.0.0.1:7000", "tcp://10.0.0.1:7001")
    assert sorted(seen.endpoints) == ["tcp://10.0.0.1:7001", "tcp://10.0.0.2:7000"]


async def test_seed_name_shows_the_addresses_that_come_later(running: list[StaticDiscovery], seen: Seen) -> None:
    names = Names(workers=["10.0.0.2"])
    await begin(running, seen, names, "tcp://workers:7000")
    names.answers["workers"] = ["10.0.0.3", "10.0.0.2"]
    await seen.until(lambda: len(seen.sightings) > 1)
    await names.again()
    assert seen.endpoints == ["tcp://10.0.0.2:7000", "tcp://10.0.0.3:7000"]


async def test_seed_address_is_shown_again_when_it_went_and_came_back(
    running: list[StaticDiscovery], seen: Seen
) -> None:
    names = Names(workers=["10.0.0.2"])
    await begin(running, seen, names, "tcp://workers:7000")
    names.answers["workers"] = []
    await names.again()
    names.answers["workers"] = ["10.0.0.2"]
    await seen.until(lambda: len(seen.sightings) > 1)
    assert seen.endpoints == ["tcp://10.0.0.2:7000"] * 2


async def test_name_that_does_not_resolve_is_logged_once_and_retried(
    running: list[StaticDiscovery], seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    names = Names(workers=socket.gaierror(socket.EAI_NONAME, "Name or service not known"))
    await begin(running, seen, names, "tcp://workers:7000")
    await names.again(3)
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "workers does not resolve" in warning.getMessage()
    names.answers["workers"] = ["10.0.0.2"]
    await seen.until(lambda: seen.endpoints == ["tcp://10.0.0.2:7000"])


async def test_settled_does_not_wait_for_a_name_server_that_hangs(
    running: list[StaticDiscovery], seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmqagents.discovery.static.SETTLE_S", SOON_S)

    async def hang(host: str, port: int) -> Sequence[str]:
        await asyncio.Event().wait()
        return ()

    discovery = StaticDiscovery(["tcp://workers:7000"], resolver=hang)
    running.append(discovery)
    await discovery.start(advertisement("c"), seen)
    await asyncio.wait_for(discovery.settled(), DEADLINE_S)


async def test_name_with_too_many_addresses_is_cut_with_one_warning(
    running: list[StaticDiscovery], seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    names = Names(workers=[f"10.1.{n // 256}.{n % 256}" for n in range(MAX_ADDRESSES_PER_NAME + 1)])
    await begin(running, seen, names, "tcp://workers:7000")
    await names.again(3)
    assert len(seen.sightings) == MAX_ADDRESSES_PER_NAME
    assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
        "The seed name workers has 1025 addresses; the first 1024 are used"
    ]


async def test_stop_ends_the_look_ups_and_shows_nothing_more(seen: Seen) -> None:
    before = asyncio.all_tasks()
    names = Names(workers=["10.0.0.2"])
    discovery = StaticDiscovery(["tcp://workers:7000", "tcp://10.0.0.9:1"], resolve_every_s=SOON_S, resolver=names)
    await discovery.start(advertisement("c"), seen)
    await discovery.stop()
    await discovery.stop()
    await discovery.settled()
    assert asyncio.all_tasks() == before
    assert seen.sightings == []


async def test_resolve_finds_the_addresses_of_localhost() -> None:
    assert set(await resolve("localhost", 80)) & {"127.0.0.1", "::1"}


@pytest.mark.parametrize("seed", ["workers:7000", "tcp://workers", "tcp://0.0.0.0:7000", "tcp://[::]:7000"])
def test_wrong_seed_is_a_config_error_when_it_is_given(seed: str) -> None:
    with pytest.raises(ConfigError, match="write"):
        StaticDiscovery([seed])


def test_seeds_given_as_one_text_are_a_config_error_that_shows_the_list() -> None:
    with pytest.raises(ConfigError, match=r"seeds=\['tcp://workers:7000'\]"):
        StaticDiscovery("tcp://workers:7000")


def test_resolve_interval_that_is_not_positive_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="above 0"):
        StaticDiscovery([], resolve_every_s=0)
