"""Hosts behind two NAT routers, which have nothing in common but forwarders outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.actors import ask, start
from tests.integration.clusters import eventually
from tests.integration.forwarders import MODULE, ForwarderProgram, Lab, clean_environment, new_lab
from tests.integration.processes import Launch, Program
from tests.integration.single_file import BUILD_S, single_file
from tests.network.namespaces import Lab as Network
from tests.network.namespaces import lab
from tests.network.traffic import Traffic, agents_of, until_path
from tools.netlab_program.topologies import nat
from zmqagents.keys import make_key

pytestmark = pytest.mark.network

OUTSIDE = ("out1", "out2")
PORT = 50_051
USED_AGAIN_S = 10.0


@dataclass
class Site:
    """Processes of one cluster inside, and forwarders outside, which are all that they know of."""

    net: Network
    launch: Launch
    lab: Lab
    command: tuple[str, ...] = MODULE
    key: str = field(default_factory=make_key)
    forwarders: dict[str, ForwarderProgram] = field(default_factory=dict)

    async def forwarder(self, host: str) -> None:
        """Start the one of that host; always at the same address."""
        self.forwarders[self.endpoint(host)] = await self.lab.program(
            command=(*self.net.inside(host), *self.command),
            environment={**clean_environment(), "ZMQAGENTS_CLUSTER_KEY": self.key},
            bind=self.endpoint(host),
        )

    def endpoint(self, host: str) -> str:
        return f"tcp://{self.net.address(host)}:{PORT}"

    async def actor(self, host: str, **settings: Any) -> Program:
        """One of that name on that host."""
        [actor] = await start(
            self.launch,
            self.lab.name,
            host,
            count=False,
            prefix=self.net.inside(host),
            discovery="none",
            cluster_key=self.key,
            broker_url=",".join(map(self.endpoint, OUTSIDE)),
            **settings,
        )
        return actor


@contextlib.asynccontextmanager
async def new_site(launch: Launch, command: tuple[str, ...] = MODULE) -> AsyncIterator[Site]:
    """With both forwarders."""
    with lab(nat()) as net:
        async with new_lab() as forwarders:
            site = Site(net, launch, forwarders, command)
            await asyncio.gather(*map(site.forwarder, OUTSIDE))
            yield site


async def kill(program: ForwarderProgram) -> None:
    """SIGKILL, and return once nothing of it runs; the single file works in a child, which goes with it."""
    workers = psutil.Process(program.pid).children(recursive=True)
    program.kill()
    await eventually(lambda: not any(worker.is_running() for worker in workers))
    await program.exit_code()


def package() -> tuple[str, ...]:
    return MODULE


def binary() -> tuple[str, ...]:
    file: Path = single_file()
    return (str(file),)


@pytest.mark.timeout(BUILD_S + 60)
@pytest.mark.parametrize("forwarder", [package, pytest.param(binary, marks=pytest.mark.slow)])
async def test_calls_and_events_cross_and_none_is_lost_when_one_forwarder_is_killed_and_comes_back_and_then_the_other(
    launch: Launch, forwarder: Callable[[], tuple[str, ...]]
) -> None:
    command = await asyncio.to_thread(forwarder)
    async with new_site(launch, command) as site:
        actors = {host: await site.actor(host, **agents_of(host)) for host in ("left1", "right1")}
        async with Traffic(actors).flowing():
            used = await until_path(actors["left1"], "forwarded")
            [other] = set(site.forwarders) - {used}
            await asyncio.sleep(1.0)  # of undisturbed traffic
            await kill(site.forwarders[used])
            await everybody_uses(other, actors)
            await site.forwarder(next(host for host in OUTSIDE if site.endpoint(host) == used))
            await attached_everywhere(actors)
            await kill(site.forwarders[other])
            await everybody_uses(used, actors)
            await asyncio.sleep(1.0)


async def everybody_uses(forwarder: str, actors: Mapping[str, Program]) -> None:
    for actor in actors.values():
        await until_path(actor, "forwarded", by=forwarder)


async def attached_everywhere(actors: Mapping[str, Program]) -> None:
    """Return once every forwarder has every actor."""
    until_s = asyncio.get_running_loop().time() + USED_AGAIN_S
    for actor in actors.values():
        while missing := await ask(actor, "missing_forwarders"):
            assert asyncio.get_running_loop().time() < until_s, f"{actor} is not attached to {missing}"
            await asyncio.sleep(0.05)


async def test_hosts_behind_one_router_go_direct_though_they_met_outside(launch: Launch) -> None:
    async with new_site(launch) as site:
        hosts = ("left1", "left2", "right1")
        actors = dict(zip(hosts, await asyncio.gather(*map(site.actor, hosts)), strict=True))
        for name, actor in actors.items():
            await ask(actor, "wait_for_peers", names=[host for host in hosts if host != name])
        until_s = asyncio.get_running_loop().time() + USED_AGAIN_S
        while (paths := await paths_of(actors["left1"])) not in ACROSS:
            assert asyncio.get_running_loop().time() < until_s, paths
            await asyncio.sleep(0.05)


ACROSS = [{"left2": path, "right1": "forwarded"} for path in ("direct", "accepted")]


async def paths_of(actor: Program) -> dict[str, str]:
    """How the actor reaches each of the others."""
    return {peer["instance_id"]: peer["path"] for peer in await ask(actor, "peers")}
