"""mDNS between real processes, on this host's real loopback, and against what else is on port 5353."""

from __future__ import annotations

import asyncio
import logging
import random
import shutil
import socket
import subprocess
import sys
import textwrap
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from zeroconf import DNSOutgoing, ServiceListener, Zeroconf  # type: ignore[attr-defined]
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from tests.unit.discovery.seen import DEADLINE_S, Seen, advertisement, random_cluster
from zmqagents.discovery import Advertisement, MdnsDiscovery
from zmqagents.discovery import mdns as mdns_module
from zmqagents.discovery.advert import write_txt
from zmqagents.discovery.interfaces import MDNS_GROUP_IPV4, MDNS_PORT, LocalAddress, aim
from zmqagents.discovery.mdns import SERVICE_TYPE
from zmqagents.errors import ConfigError

pytestmark = pytest.mark.integration

ROOT = Path(__file__).resolve().parents[2]

# Starts one node, prints a line for what it finds and when it has settled, and ends with its standard input.
NODE = """
import asyncio, os, sys
from zmqagents.discovery import Advertisement, MdnsDiscovery

async def main(cluster, endpoint):
    own = Advertisement(cluster, b"\\1" + os.urandom(15), "child", (endpoint,))
    discovery = MdnsDiscovery()
    await discovery.start(own, lambda sighting: print("found", *sighting.endpoints, flush=True))
    print("started", flush=True)
    await discovery.settled()
    print("settled", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await discovery.stop()
    print("stopped", flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


class Node:
    """A node in a process of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []

    async def until(self, line: str) -> None:
        """Wait until the process has printed that line."""
        assert self.process.stdout is not None
        while line not in self.lines:
            read = await asyncio.wait_for(self.process.stdout.readline(), DEADLINE_S)
            assert read, f"ended without {line!r}: {self.lines}"
            self.lines.append(read.decode().strip())

    async def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.until("stopped")
        assert await asyncio.wait_for(self.process.wait(), DEADLINE_S) == 0


@asynccontextmanager
async def node(cluster: str, endpoint: str) -> AsyncIterator[Node]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", NODE, cluster, endpoint, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        yield Node(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


@asynccontextmanager
async def joined(own: Advertisement, **settings: Any) -> AsyncIterator[tuple[MdnsDiscovery, Seen]]:
    discovery, seen = MdnsDiscovery(**settings), Seen()
    await discovery.start(own, seen)
    try:
        yield discovery, seen
    finally:
        await discovery.stop()


class Watcher(ServiceListener):
    """Somebody else's browser: which of our instances are announced just now."""

    def __init__(self) -> None:
        self.there: set[str] = set()
        self.ever: set[str] = set()
        self._changed = asyncio.Event()

    def add_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.there.add(name)
        self.ever.add(name)
        self._changed.set()

    def update_service(self, zc: Zeroconf, type_: str, name: str) -> None: ...

    def remove_service(self, zc: Zeroconf, type_: str, name: str) -> None:
        self.there.discard(name)
        self._changed.set()

    async def until_gone(self, name: str) -> None:
        while name not in self.ever or name in self.there:
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), DEADLINE_S)


@asynccontextmanager
async def stranger() -> AsyncIterator[AsyncZeroconf]:
    """Another implementation's mDNS, on loopback."""
    zeroconf = AsyncZeroconf(interfaces=["127.0.0.1"])
    await zeroconf.zeroconf.async_wait_for_start()
    try:
        yield zeroconf
    finally:
        await zeroconf.async_close()


def instance(own: Advertisement) -> str:
    return f"{own.node_id.hex()}.{SERVICE_TYPE}"


def open_files() -> set[str]:
    return {one.name for one in Path("/proc/self/fd").iterdir()} if sys.platform == "linux" else set()


async def test_two_processes_find_each_other_in_either_order_of_start() -> None:
    cluster = random_cluster()
    async with node(cluster, "tcp://127.0.0.1:1001") as first:
        await first.until("settled")
        assert first.lines == ["started", "settled"]
        async with node(cluster, "tcp://127.0.0.1:1002") as second:
            await second.until("settled")
            assert "found tcp://127.0.0.1:1001" in second.lines
            await first.until("found tcp://127.0.0.1:1002")
            await asyncio.gather(first.stop(), second.stop())


async def test_several_processes_share_the_port_and_all_see_all() -> None:
    cluster = random_cluster()
    endpoints = [f"tcp://127.0.0.1:{port}" for port in (1001, 1002, 1003, 1004)]
    async with (
        node(cluster, endpoints[0]) as a,
        node(cluster, endpoints[1]) as b,
        node(cluster, endpoints[2]) as c,
        joined(advertisement(cluster, endpoints[3])) as (_discovery, seen),
    ):
        for number, child in enumerate((a, b, c)):
            for endpoint in set(endpoints) - {endpoints[number]}:
                await child.until(f"found {endpoint}")
        await seen.until(lambda: set(seen.endpoints) == set(endpoints[:3]))
        await asyncio.gather(a.stop(), b.stop(), c.stop())


async def test_newcomer_sees_all_once_settled_though_they_have_just_answered_another() -> None:
    # RFC 6762 section 6: what was multicast within the last second is not multicast again.
    cluster = random_cluster()
    async with node(cluster, "tcp://127.0.0.1:1001") as first:
        await first.until("settled")
        for _newcomer in range(4):
            async with joined(advertisement(cluster)) as (discovery, seen):
                await discovery.settled()
                assert "tcp://127.0.0.1:1001" in seen.endpoints
        await first.stop()


async def test_killed_process_is_not_shown_to_a_newcomer() -> None:
    cluster = random_cluster()
    async with joined(advertisement(cluster, "tcp://127.0.0.1:1000")) as (_discovery, seen):
        async with node(cluster, "tcp://127.0.0.1:1001") as doomed:
            await seen.until(lambda: "tcp://127.0.0.1:1001" in seen.endpoints)
            doomed.process.kill()
            await asyncio.wait_for(doomed.process.wait(), DEADLINE_S)
        async with joined(advertisement(cluster)) as (newcomer, newcomer_seen):
            await newcomer.settled()
            assert newcomer_seen.endpoints == ["tcp://127.0.0.1:1000"]


async def test_settled_returns_in_bounded_time_when_nobody_is_there() -> None:
    loop = asyncio.get_running_loop()
    async with joined(advertisement(random_cluster())) as (discovery, seen):
        began_s = loop.time()
        await discovery.settled()
        assert loop.time() - began_s < 2  # 0.1 s, and a crowded machine
        assert seen.sightings == []
    async with joined(advertisement(random_cluster()), settle_s=0) as (hasty, _seen):
        await asyncio.wait_for(hasty.settled(), DEADLINE_S)


async def test_stop_says_goodbye() -> None:
    own, watcher = advertisement(random_cluster()), Watcher()
    async with stranger() as zeroconf:
        await zeroconf.async_add_service_listener(SERVICE_TYPE, watcher)
        async with joined(own) as (_discovery, _seen):
            pass
        await watcher.until_gone(instance(own))


async def test_start_that_is_cancelled_after_its_announcement_says_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    own, watcher, asked = advertisement(random_cluster()), Watcher(), asyncio.Event()

    async def ask_for_ever(*_arguments: object) -> None:
        asked.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(mdns_module, "ask", ask_for_ever)
    async with stranger() as zeroconf:
        await zeroconf.async_add_service_listener(SERVICE_TYPE, watcher)
        start = asyncio.create_task(MdnsDiscovery().start(own, Seen()))
        await asyncio.wait_for(asked.wait(), DEADLINE_S)
        start.cancel()
        with pytest.raises(asyncio.CancelledError):
            await start
        await watcher.until_gone(instance(own))


async def test_nothing_is_left_after_stop() -> None:
    async with joined(advertisement(random_cluster())):
        pass  # what is opened once per process, such as the event loop's own sockets, is open now
    tasks, threads, files = asyncio.all_tasks(), set(threading.enumerate()), open_files()
    cluster = random_cluster()
    async with (
        joined(advertisement(cluster)) as (_a, seen),
        joined(advertisement(cluster), interfaces=("127.0.0.1",)) as (b, _seen),
    ):
        await b.settled()
        await seen.until(lambda: bool(seen.sightings))
        assert not sys.platform.startswith("linux") or open_files() > files
    assert (asyncio.all_tasks(), set(threading.enumerate()), open_files()) == (tasks, threads, files)


async def test_nothing_is_left_after_a_start_that_was_cancelled_at_any_step() -> None:
    async with joined(advertisement(random_cluster())):
        pass
    tasks, threads, files = asyncio.all_tasks(), set(threading.enumerate()), open_files()
    for steps in range(12):
        discovery = MdnsDiscovery()
        start = asyncio.create_task(discovery.start(advertisement(random_cluster()), Seen()))
        for _turn in range(steps):
            await asyncio.sleep(0)
        start.cancel()
        if not (await asyncio.gather(start, return_exceptions=True))[0]:
            await discovery.stop()
            break
        assert (asyncio.all_tasks(), set(threading.enumerate()), open_files()) == (tasks, threads, files)
    else:
        pytest.fail("start() never got through: more steps are needed")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="SO_BINDTODEVICE is Linux's")
async def test_node_on_loopback_cannot_be_asked_from_the_network() -> None:
    async with joined(advertisement(random_cluster())) as (discovery, _seen):
        assert discovery._zeroconf is not None
        readers = discovery._zeroconf.zeroconf.engine.readers
        bound_to = {one.sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16) for one in readers}
        assert bound_to == {b"lo\0"}


async def test_hostile_packets_disturb_nothing(caplog: pytest.LogCaptureFixture) -> None:
    raised: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context))
    cluster, dice = random_cluster(), random.Random(7)
    own, peer = advertisement(cluster), advertisement(cluster, "tcp://127.0.0.1:1001")
    async with joined(own) as (discovery, seen), stranger() as zeroconf:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as attacker:
            aim(attacker, LocalAddress("lo", 1, "127.0.0.1"))
            for size in range(200):
                header = b"" if size % 2 else b"\0\0\x84\0\0\0\0\2\0\0\0\2"  # every other one says it is a response
                attacker.sendto(header + dice.randbytes(size), (MDNS_GROUP_IPV4, MDNS_PORT))
        good = {key: value.decode() for key, value in write_txt(peer).items()}
        for number, changes in enumerate(({"node": "zz"}, {"e0": "evil.example:1"}, {"cluster": ""}, {"e0": "::1"})):
            bad = AsyncServiceInfo(
                SERVICE_TYPE,
                f"bad {number}.{SERVICE_TYPE}",
                port=1,
                properties={**good, **changes},
                parsed_addresses=["127.0.0.1"],
            )
            await zeroconf.async_register_service(bad, cooperating_responders=True)
        async with joined(peer):
            await seen.node(peer)
        assert seen.node_ids == [peer.node_id]
        assert discovery._sieve is not None
        assert discovery._sieve.malformed >= 4
    assert raised == []
    assert len([one for one in caplog.records if "malformed mDNS record" in one.getMessage()]) == 2  # by either node


async def test_record_of_another_implementation_is_resolved_when_only_its_pointer_came() -> None:
    cluster = random_cluster()
    other = advertisement(cluster)
    txt = write_txt(Advertisement(cluster, other.node_id, "minimal", ()))
    info = AsyncServiceInfo(
        SERVICE_TYPE, instance(other), port=1234, properties=txt, server="m.local.", parsed_addresses=["127.0.0.1"]
    )
    async with joined(advertisement(cluster)) as (_discovery, seen), stranger() as zeroconf:
        zeroconf.zeroconf.registry.async_add(info)
        pointer = DNSOutgoing(0x8400)  # an authoritative response
        pointer.add_answer_at_time(info.dns_pointer(), 0)
        zeroconf.zeroconf.async_send(pointer)
        assert (await seen.node(other)).endpoints == ("tcp://127.0.0.1:1234",)


async def test_callback_that_raises_is_reported_and_the_next_peer_is_still_shown() -> None:
    raised: list[BaseException | None] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, context: raised.append(context.get("exception")))
    cluster, seen = random_cluster(), Seen()
    first, second = advertisement(cluster), advertisement(cluster)

    def found(sighting: Any) -> None:
        seen(sighting)
        if sighting.node_id == first.node_id:
            raise KeyError("a bug of the caller")

    discovery = MdnsDiscovery()
    await discovery.start(advertisement(cluster), found)
    async with joined(first), joined(second):
        await seen.node(first)
        await seen.node(second)
    await discovery.stop()
    assert [type(one) for one in raised] == [KeyError]


async def test_host_without_multicast_gets_one_warning_and_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(mdns_module, "multicast_error", lambda _local: OSError(101, "Network is unreachable"))
    async with joined(advertisement(random_cluster())) as (discovery, seen):
        await discovery.settled()
        await discovery.update(advertisement(random_cluster()))
    (warning,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "Network is unreachable" in warning.getMessage()
    assert "use seeds=" in warning.getMessage()
    assert "broker_url=" in warning.getMessage()
    assert seen.sightings == []


async def test_port_5353_taken_by_another_alone_is_a_warning_and_not_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(**_settings: object) -> None:
        raise OSError(98, "Address already in use")

    monkeypatch.setattr(mdns_module, "AsyncZeroconf", refuse)
    async with joined(advertisement(random_cluster())) as (discovery, _seen):
        await discovery.settled()
    (warning,) = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert "Address already in use" in warning.getMessage()
    assert "use seeds=" in warning.getMessage()


async def test_question_that_cannot_be_sent_is_a_warning_and_browsing_goes_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def forbidden(*_arguments: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(mdns_module, "ask", forbidden)
    cluster = random_cluster()
    async with joined(advertisement(cluster)) as (_discovery, seen), joined(advertisement(cluster)):
        await seen.until(lambda: bool(seen.sightings))
    assert "Operation not permitted" in caplog.text


async def test_unknown_interface_is_a_config_error_and_leaves_nothing_open() -> None:
    discovery = MdnsDiscovery(interfaces=["nowhere0"])
    with pytest.raises(ConfigError, match="no interface or address 'nowhere0'"):
        await discovery.start(advertisement(random_cluster()), Seen())
    await discovery.stop()


@pytest.mark.parametrize("settings", [{"interfaces": ()}, {"interfaces": [""]}, {"settle_s": -1}])
def test_wrong_setting_is_a_config_error_when_it_is_given(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="write"):
        MdnsDiscovery(**settings)


# Within a network namespace of its own: the way to a loopback with IPv6 multicast, and to none at all.
PAIR = """
import asyncio, logging, sys
from tests.unit.discovery.seen import Seen, advertisement
from zmqagents.discovery import MdnsDiscovery

async def main(*interfaces):
    logging.basicConfig(format="%(message)s", stream=sys.stdout)
    first, second, seen = MdnsDiscovery(interfaces=interfaces), MdnsDiscovery(interfaces=interfaces), Seen()
    await first.start(advertisement("c", "tcp://[::1]:1"), Seen())
    await second.start(advertisement("c", "tcp://[::1]:2"), seen)
    await second.settled()
    print("seen", seen.endpoints)
    await first.stop()
    await second.stop()

asyncio.run(main(*sys.argv[1:]))
"""


def in_namespace(commands: str, *interfaces: str) -> str:
    if shutil.which("unshare") is None or subprocess.call(["unshare", "-n", "true"]):
        pytest.skip("network namespaces need root and unshare")
    script = f'{commands}\nexec "$0" -c "$@"'
    done = subprocess.run(
        ["unshare", "-n", "sh", "-ec", textwrap.dedent(script), sys.executable, PAIR, *interfaces],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.network
def test_ipv6_loopback_is_spoken_where_it_carries_multicast() -> None:
    up = "ip link set lo up; ip -6 route add local ff02::fb/128 dev lo table local"
    assert in_namespace(up, "::1") == "seen ['tcp://[::1]:1']\n"
    assert in_namespace(up, "loopback") == "seen ['tcp://[::1]:1']\n"


@pytest.mark.network
def test_host_without_any_network_gets_a_warning_and_goes_on() -> None:
    *warnings, seen = in_namespace(":", "loopback").splitlines()
    assert seen == "seen []"
    assert len(warnings) == 2  # one of each node
    assert "use seeds=" in warnings[0]
