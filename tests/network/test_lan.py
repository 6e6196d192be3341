"""Hosts on one bridge that are told the cluster's key and nothing else, and what makes that harder."""

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
DOCKER = "172.17.0.1"


class Hosts:
    """Processes of one cluster on hosts of one network."""

    def __init__(self, net: Lab, launch: Launch) -> None:
        self._net = net
        self._launch = launch
        self._cluster = new_name()

    async def start(self, host: str, name: str = "", **settings: Any) -> Program:
        settings = {"discovery": "mdns", "cluster": self._cluster, **settings}
        inside = self._net.inside(host)
        [actor] = await start(
            self._launch, settings.pop("cluster"), name or host, count=False, prefix=inside, **settings
        )
        return actor


async def totals(caller: Program, *keys: str) -> list[int]:
    """One call to the tally of each key: what they have counted."""
    answers = (await ask(caller, "add", keys=list(keys), number=1))["answers"]
    return [total for _, total in answers.values()]


def listening(net: Lab, host: str, protocol: str = "tcp") -> set[str]:
    """Addresses that processes of the host take something at; with ``%`` and the interface if tied to one."""
    command = [*net.inside(host), "ss", "-H", "-l", "-n", f"--{protocol}"]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    return {line.split()[3].rpartition(":")[0] for line in shown.stdout.splitlines()}


async def test_key_is_all_that_hosts_on_one_lan_need(launch: Launch) -> None:
    require_tool("ss")
    with lan("a", "b") as net:
        hosts = Hosts(net, launch)
        await hosts.start("a", kinds=TALLY, cluster_key=KEY)
        caller = await hosts.start("b", cluster_key=KEY)
        neighbour = await hosts.start("a", "neighbour", cluster_key=KEY)
        assert await totals(caller, "x", "y") == [1, 1]
        assert await totals(neighbour, "x") == [2]
        assert listening(net, "b") == {net.address("b"), "[fd00:99::2]", "127.0.0.1"}
        [endpoint, ipv6] = await ask(caller, "endpoints")
        assert endpoint.startswith(f"tcp://{net.address('b')}:")
        assert ipv6.startswith("tcp://[fd00:99::2]:")


@pytest.mark.parametrize("settings", [{"cluster_key": make_key()}, {}], ids=["another key", "no key"])
async def test_process_without_the_key_reaches_nobody(launch: Launch, settings: dict[str, Any]) -> None:
    require_tool("ss")
    with lan("a", "b") as net:
        hosts = Hosts(net, launch)
        worker = await hosts.start("a", kinds=TALLY, cluster_key=KEY)
        stranger = await hosts.start("b", discovery_timeout_s=1.0, **settings)
        assert (await ask(stranger, "add", keys=["x"], number=1))["answers"] == {"x": "AgentNotFound"}
        assert await ask(worker, "peers") == await ask(stranger, "peers") == []
        if not settings:
            assert listening(net, "b") == {"127.0.0.1"}
            assert {address.rpartition("%")[2] for address in listening(net, "b", "udp")} <= {"lo", "127.0.0.1"}


async def test_clusters_on_one_lan_are_kept_apart_by_their_names(launch: Launch) -> None:
    with lan("a", "b") as net:
        hosts = Hosts(net, launch)
        mine, other = new_name(), new_name()
        await hosts.start("a", "mine", cluster=mine, kinds=TALLY, cluster_key=KEY)
        await hosts.start("a", "other", cluster=other, kinds=TALLY, cluster_key=KEY)
        callers = [await hosts.start("b", name, cluster=name, cluster_key=KEY) for name in (mine, other)]
        assert await totals(callers[0], "x") == [1]
        assert await totals(callers[1], "x") == [1]
        for caller, name in zip(callers, ("mine", "other"), strict=True):
            assert [peer["instance_id"] for peer in await ask(caller, "peers")] == [name]
            assert "no connection with" not in caller.stderr


async def test_bridges_that_both_hosts_have_are_told_to_nobody(launch: Launch) -> None:
    with lan("a", "b") as net:
        for host in ("a", "b"):
            net.add_bridge(host, "docker0", f"{DOCKER}/16")
        hosts = Hosts(net, launch)
        worker = await hosts.start("a", kinds=TALLY, cluster_key=KEY, port=7_000)
        caller = await hosts.start("b", cluster_key=KEY, port=7_000)
        assert await totals(caller, "x") == [1]
        for actor in (worker, caller):
            assert not [endpoint for endpoint in await ask(actor, "endpoints") if DOCKER in endpoint]


@pytest.mark.parametrize("discovery", ["mdns", "seeds"])
async def test_hosts_that_tell_the_same_bridge_address_first_reach_each_other(launch: Launch, discovery: str) -> None:
    """Each dials itself at the first address of the other, and then takes the next."""
    with lan("a", "b") as net:
        for host in ("a", "b"):
            net.add_bridge(host, "docker0", f"{DOCKER}/16")
        hosts = Hosts(net, launch)
        ports = {"port": 7_000, "gossip_port": 7_001}
        settings: dict[str, Any] = {"cluster_key": KEY, "listen": ["docker0", "eth0"], "interfaces": "eth0", **ports}
        seeds: dict[str, Any] = (
            {"discovery": "none", "seeds": [f"tcp://{net.address('a')}:7000"]} if discovery == "seeds" else {}
        )
        worker = await hosts.start("a", kinds=TALLY, **settings)
        neighbour = await hosts.start("a", "neighbour", cluster_key=KEY, discovery="mdns")
        caller = await hosts.start("b", kinds={"far": "sleeper"}, **{**settings, **seeds})
        assert (await ask(worker, "endpoints"))[0] == f"tcp://{DOCKER}:7000"
        assert await totals(caller, "x") == [1]
        assert await totals(neighbour, "x") == [2]
        await asyncio.gather(
            ask(worker, "wait_for_peers", names=["b", "neighbour"]),
            ask(caller, "wait_for_peers", names=["a", "neighbour"]),
            ask(neighbour, "wait_for_peers", names=["a", "b"]),
        )
        for _ in range(2):
            for asker in (worker, neighbour):
                answer = await ask(asker, "call", agent_type="far", key="b", number=0, timeout_s=5.0)
                assert answer.get("answer") == caller.pid, answer
            await asyncio.gather(*(sees_all_up(actor, 2, 6.0) for actor in (worker, neighbour, caller)))
        assert await totals(caller, "x") == [3]


async def sees_all_up(actor: Program, count: int, seconds: float) -> None:
    """AssertionError if in that time the process loses sight of another."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while loop.time() < until:
        peers = await ask(actor, "peers")
        assert [peer["state"] for peer in peers] == ["up"] * count, (actor.name, peers, actor.stderr)
        await asyncio.sleep(0.1)


async def test_port_mapping_is_reached_at_what_is_advertised(launch: Launch) -> None:
    """As in a container: the others reach the process at another address than the one it sees."""
    with lan("a", "b") as net:
        forward_port(net, "a", 17_000, 7_000)
        hosts = Hosts(net, launch)
        settings: dict[str, Any] = {"cluster_key": KEY, "discovery": "none"}
        mapped = f"{net.address('a')}:17000"
        worker = await hosts.start("a", kinds=TALLY, listen="loopback", port=7_000, advertise=mapped, **settings)
        caller = await hosts.start("b", seeds=[f"tcp://{mapped}"], **settings)
        assert await ask(worker, "endpoints") == [f"tcp://{mapped}"]
        assert await totals(caller, "x") == [1]


def forward_port(net: Lab, host: str, port: int, to: int) -> None:
    """Lead connections to the port of the host to another one on its loopback."""
    rules = f"""
        table ip mapping {{
            chain prerouting {{
                type nat hook prerouting priority -100;
                tcp dport {port} dnat to 127.0.0.1:{to}
            }}
        }}
    """
    allow = "echo 1 >/proc/sys/net/ipv4/conf/all/route_localnet"
    subprocess.run([*net.inside(host), "sh", "-c", allow], check=True, timeout=10)
    subprocess.run([*net.inside(host), "nft", "-f", "-"], input=rules, text=True, check=True, timeout=10)


@pytest.mark.parametrize("listen", ["::", "0.0.0.0", "eth0", "fd00:99::1"])
async def test_host_is_reached_however_its_interfaces_are_named(launch: Launch, listen: str) -> None:
    with lan("a", "b") as net:
        hosts = Hosts(net, launch)
        await hosts.start("a", kinds=TALLY, cluster_key=KEY, listen=listen)
        caller = await hosts.start("b", cluster_key=KEY)
        assert await totals(caller, "x") == [1]
