"""Two hosts on one bridge that find each other by multicast: who has the key is let in, and nobody else."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest

from tests.integration.actors import ask, start
from tests.integration.clusters import new_name
from tests.integration.processes import Launch, Program
from tests.network.namespaces import Lab, lan
from tests.requirements import require_tool
from zmqagents.keys import make_key

pytestmark = pytest.mark.network

KEY = make_key()
TALLY = {"tally": "tally"}


class Hosts:
    """Processes of one cluster on hosts of one network; mDNS is all that they have to find each other."""

    def __init__(self, net: Lab, launch: Launch) -> None:
        self._net = net
        self._launch = launch
        self._cluster = new_name()

    async def start(self, host: str, **settings: Any) -> Program:
        settings = {"discovery": "mdns", "interfaces": ["eth0"], "listen": [self._net.address(host)], **settings}
        [actor] = await start(self._launch, self._cluster, host, count=False, prefix=self._net.inside(host), **settings)
        return actor


async def test_hosts_with_one_key_meet_by_multicast_and_call_each_other(launch: Launch) -> None:
    with lan("a", "b") as net:
        hosts = Hosts(net, launch)
        worker = await hosts.start("a", kinds=TALLY, cluster_key=KEY)
        caller = await hosts.start("b", cluster_key=KEY)
        answers = (await ask(caller, "add", keys=["x", "y"], number=1))["answers"]
        assert [total for _, total in answers.values()] == [1, 1]
        for actor in (worker, caller):
            assert KEY not in actor.stderr
            assert "INSECURE" not in actor.stderr
            assert "no connection with" not in actor.stderr


@pytest.mark.parametrize(
    ("there", "settings"),
    [
        ("another cluster key", {"cluster_key": make_key()}),
        ("no cluster key", {"insecure_lan": True}),
    ],
    ids=["another key", "no key"],
)
async def test_host_without_the_key_meets_nobody_and_both_sides_say_so(
    launch: Launch, there: str, settings: dict[str, Any]
) -> None:
    with lan("a", "b") as net:
        hosts = Hosts(net, launch)
        worker = await hosts.start("a", kinds=TALLY, cluster_key=KEY)
        stranger = await hosts.start("b", discovery_timeout_s=1.0, **settings)
        assert (await ask(stranger, "add", keys=["x"], number=1))["answers"] == {"x": "AgentNotFound"}
        await asyncio.gather(
            worker.log(f"no connection with {net.address('b')}: "),
            stranger.log(f"no connection with {net.address('a')}: "),
        )
        assert there in worker.stderr
        for actor in (worker, stranger):
            assert await ask(actor, "peers") == []
            assert actor.stderr.count("no connection with 10.99.") == 1
            assert KEY not in actor.stderr


async def test_process_without_a_key_listens_on_loopback_only(launch: Launch) -> None:
    require_tool("ss")
    with lan("a") as net:
        hosts = Hosts(net, launch)
        await hosts.start("a", kinds=TALLY, listen=["127.0.0.1"], interfaces="loopback")
        assert {address.rpartition(":")[0] for address in listening(net, "a")} == {"127.0.0.1"}
        await hosts.start("a", kinds=TALLY, cluster_key=KEY)
        assert {address.rpartition(":")[0] for address in listening(net, "a")} == {"127.0.0.1", net.address("a")}


def listening(net: Lab, host: str) -> list[str]:
    """Addresses and ports that processes of the host accept connections on."""
    shown = subprocess.run(
        [*net.inside(host), "ss", "-H", "-l", "-n", "-t"], capture_output=True, text=True, check=True, timeout=10
    )
    return [line.split()[3] for line in shown.stdout.splitlines()]
