"""Hosts that reach each other by forwarders, or directly, or now so and now so, with calls going on all the while."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.integration.actors import ask, start, told
from tests.integration.forwarders import MODULE, ForwarderProgram, Lab, new_lab
from tests.integration.processes import Launch, Program
from tests.network.namespaces import Lab as Network
from tests.network.namespaces import lan

pytestmark = pytest.mark.network

KEYS = [f"key-{number}" for number in range(8)]
CALLS_EVERY_S = 0.005
PORT = 50_051
CHANGES_WITHIN_S = 12.0


class Site:
    """A worker on one host, a caller on another, and forwarders on others."""

    def __init__(self, net: Network, launch: Launch, lab: Lab) -> None:
        self._net, self._launch, self._lab = net, launch, lab
        self.worker: Program
        self.caller: Program

    async def forwarder(self, host: str) -> ForwarderProgram:
        return await self._lab.program(
            "--insecure-lan",
            command=(*self._net.inside(host), *MODULE),
            bind=f"tcp://{self._net.address(host)}:{PORT}",
        )

    async def start(self, *forwarders: ForwarderProgram) -> None:
        self.worker = await self._actor("a", "worker", forwarders, kinds={"tally": "tally"})
        self.caller = await self._actor("b", "caller", forwarders)
        await ask(self.caller, "wait_for_peers", names=["worker"])

    async def _actor(self, host: str, name: str, forwarders: tuple[ForwarderProgram, ...], **settings: Any) -> Program:
        [actor] = await start(
            self._launch,
            self._lab.name,
            name,
            count=False,
            prefix=self._net.inside(host),
            insecure_lan=True,
            discovery="none",
            listen=[self._net.address(host)],
            broker_url=",".join(forwarder.endpoint for forwarder in forwarders),
            **settings,
        )
        return actor

    async def path(self) -> tuple[str, str]:
        [peer] = await ask(self.caller, "peers")
        return peer["path"], peer["forwarder"]

    async def until_path(self, *kinds: str) -> None:
        """Return once the caller reaches the worker so."""
        until_s = time.monotonic() + CHANGES_WITHIN_S
        while (await self.path())[0] not in kinds:
            assert time.monotonic() < until_s, f"the path is {await self.path()}, not {kinds}"
            await asyncio.sleep(0.1)

    async def keep_calling(self, seconds: float) -> None:
        await self.caller.tell("keep_adding", keys=KEYS, seconds=seconds, every_s=CALLS_EVERY_S)

    async def no_call_has_failed(self, seconds: float) -> None:
        result = await told(self.caller, "keep_adding", deadline_s=seconds + 10.0)
        assert result["failed"] == []
        assert sum(result["sent"].values()) > seconds / CALLS_EVERY_S / 2


async def test_calls_go_over_to_the_forwarder_when_the_direct_path_is_cut_and_come_back(launch: Launch) -> None:
    with lan("a", "b", "f") as net:
        async with new_lab() as lab:
            site = Site(net, launch, lab)
            await site.start(await site.forwarder("f"))
            await site.until_path("direct", "accepted")
            await site.keep_calling(20.0)
            net.separate("a", "b")
            await site.until_path("forwarded")
            await asyncio.sleep(6.0)  # longer than a death takes
            net.join("a", "b")
            await site.until_path("direct", "accepted")
            await site.no_call_has_failed(20.0)


async def test_hosts_apart_lose_no_call_when_one_forwarder_is_killed_and_comes_back_and_then_the_other(
    launch: Launch,
) -> None:
    with lan("a", "b", "f1", "f2") as net:
        net.separate("a", "b")
        async with new_lab() as lab:
            site = Site(net, launch, lab)
            forwarders = {host: await site.forwarder(host) for host in ("f1", "f2")}
            await site.start(*forwarders.values())
            await site.keep_calling(12.0)
            for host in ("f1", "f2"):
                await asyncio.sleep(1.0)
                forwarders[host].kill()
                await asyncio.sleep(2.0)
                forwarders[host] = await site.forwarder(host)
                await asyncio.sleep(2.0)  # both processes dial it at least once a second
            assert (await site.path())[0] == "forwarded"
            await site.no_call_has_failed(12.0)
