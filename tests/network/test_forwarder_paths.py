"""Hosts that reach each other directly, and by a forwarder while they can't, under calls and events all the while."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.actors import start
from tests.integration.forwarders import MODULE, ForwarderProgram, Lab, new_lab
from tests.integration.processes import Launch, Program
from tests.network.namespaces import Lab as Network
from tests.network.namespaces import lan
from tests.network.traffic import Traffic, agents_of, until_path

pytestmark = pytest.mark.network

PORT = 50_051
DIRECT = ("direct", "accepted")
HOSTS = ("a", "b")


class Site:
    """A process on each of two hosts, and a forwarder on another."""

    def __init__(self, net: Network, launch: Launch, lab: Lab) -> None:
        self._net, self._launch, self._lab = net, launch, lab
        self.actors: dict[str, Program] = {}

    async def forwarder(self, host: str) -> ForwarderProgram:
        return await self._lab.program(
            "--insecure-lan",
            command=(*self._net.inside(host), *MODULE),
            bind=f"tcp://{self._net.address(host)}:{PORT}",
        )

    async def start(self, forwarder: ForwarderProgram) -> None:
        for host in HOSTS:
            [self.actors[host]] = await start(
                self._launch,
                self._lab.name,
                host,
                count=False,
                prefix=self._net.inside(host),
                insecure_lan=True,
                discovery="none",
                listen=[self._net.address(host)],
                broker_url=forwarder.endpoint,
                **agents_of(host),
            )

    async def until_path(self, *kinds: str) -> None:
        """Return once each reaches the other so."""
        for actor in self.actors.values():
            await until_path(actor, *kinds)


async def test_traffic_goes_over_to_the_forwarder_when_the_direct_path_is_cut_and_comes_back(launch: Launch) -> None:
    with lan(*HOSTS, "f") as net:
        async with new_lab() as lab:
            site = Site(net, launch, lab)
            await site.start(await site.forwarder("f"))
            await site.until_path(*DIRECT)
            async with Traffic(site.actors).flowing():
                await asyncio.sleep(1.0)  # of undisturbed traffic
                net.separate(*HOSTS)
                await site.until_path("forwarded")
                await asyncio.sleep(6.0)  # longer than a death takes
                net.join(*HOSTS)
                await site.until_path(*DIRECT)
                await asyncio.sleep(1.0)
