"""The checks of ``zmqagents doctor``, each with what it is to find."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.builders import a_peer
from zmqagents.cli.checks import cluster as around
from zmqagents.cli.checks import host, key, multicast, network
from zmqagents.cli.checks.cluster import Look
from zmqagents.cli.checks.findings import Finding, Status
from zmqagents.cli.target import Target
from zmqagents.config import RuntimeConfig
from zmqagents.discovery.interfaces import Adapter, Choice, LocalAddress
from zmqagents.keys import make_key
from zmqagents.protocol.greeting import VERSIONS
from zmqagents.runtime.cluster import HostedAgents, PeerInfo

CONFIG = RuntimeConfig()
LO = Adapter("lo", 1, ("127.0.0.1", "::1"))
ETH = Adapter("eth0", 2, ("10.0.0.5",))
DOCKER = Adapter("docker0", 3, ("172.17.0.1",))
ON_LO = LocalAddress("lo", 1, "127.0.0.1")
ON_ETH = LocalAddress("eth0", 2, "10.0.0.5")


@pytest.fixture(autouse=True)
def no_keys_around(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("ZMQAGENTS_CLUSTER_KEY", "ZMQAGENTS_OTHER_CLUSTER_KEY", "ZMQAGENTS_CLUSTER_KEY_FILE"):
        monkeypatch.delenv(variable, raising=False)


def look(*peers: PeerInfo, log: tuple[str, ...] = ()) -> Look:
    return Look(peers, log)


def is_status(finding: Finding, status: Status, *seen: str) -> None:
    """It is that bad, tells those texts, and says what to do if anything is."""
    assert finding.status is status, finding
    assert all(text in finding.seen for text in seen), finding
    assert bool(finding.advice) == (status is not Status.OK)


class TestKey:
    def key_file(self, tmp_path: Path, *keys: str, mode: int = 0o600) -> Target:
        file = tmp_path / "key"
        file.write_text("\n".join(keys))
        file.chmod(mode)
        return Target(key_file=str(file))

    def test_none_is_fine_and_said(self) -> None:
        is_status(key.check_cluster_key(Target()), Status.OK, "loopback only")

    def test_one_or_two_in_a_file_of_its_owner_are_fine(self, tmp_path: Path) -> None:
        is_status(key.check_cluster_key(self.key_file(tmp_path, make_key())), Status.OK, "one, made by")
        two = self.key_file(tmp_path, make_key(), "a-text-of-my-own-that-is-long-enough")
        is_status(key.check_cluster_key(two), Status.OK, "two, as while keys are changed, of your own")

    def test_the_same_one_twice_is_told(self, tmp_path: Path) -> None:
        same = make_key()
        is_status(key.check_cluster_key(self.key_file(tmp_path, same, same)), Status.WARN, "the same")

    @pytest.mark.parametrize(("mode", "who"), [(0o644, "everybody"), (0o640, "its group"), (0o602, "everybody")])
    def test_file_that_others_may_read_or_write_is_told(self, tmp_path: Path, mode: int, who: str) -> None:
        finding = key.check_cluster_key(self.key_file(tmp_path, make_key(), mode=mode))
        is_status(finding, Status.WARN, who)
        assert finding.advice.startswith("chmod 600")

    @pytest.mark.parametrize("keys", [["short"], [], ["a", "b", "c"], [make_key()[:-1]]])
    def test_what_is_no_key_fails_and_is_not_shown(self, tmp_path: Path, keys: list[str]) -> None:
        finding = key.check_cluster_key(self.key_file(tmp_path, *keys))
        is_status(finding, Status.FAIL)
        assert not any(len(each) > 4 and each in finding.seen for each in keys)

    def test_file_that_is_not_there_fails(self) -> None:
        is_status(key.check_cluster_key(Target(key_file="/nowhere/key")), Status.FAIL, "--key-file='/nowhere/key'")

    def test_second_key_without_a_first_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ZMQAGENTS_OTHER_CLUSTER_KEY", make_key())
        is_status(key.check_cluster_key(Target()), Status.FAIL, "without a first")

    def test_open_network_is_told(self) -> None:
        finding = key.check_exposure(RuntimeConfig(listen=("192.0.2.9",), insecure_lan=True))
        assert finding is not None
        is_status(finding, Status.WARN, "192.0.2.9")
        assert key.check_exposure(CONFIG) is None


class TestInterfaces:
    def test_used_ones_and_those_of_containers_are_marked(self) -> None:
        finding = network.check_interfaces(CONFIG, [LO, ETH, DOCKER], Choice((ON_LO,)))
        is_status(finding, Status.OK, "lo 127.0.0.1 ::1 (used by mDNS)", "eth0 10.0.0.5;", "docker0 172.17.0.1 (of")

    def test_without_mdns_none_is_needed(self) -> None:
        is_status(network.check_interfaces(RuntimeConfig(discovery="none"), [ETH], Choice(())), Status.OK)

    def test_one_that_is_broken_fails(self) -> None:
        choice = Choice((ON_LO,), broken=(("eth0", OSError(101, "Network is unreachable")),))
        is_status(network.check_interfaces(CONFIG, [LO, ETH], choice), Status.FAIL, "eth0 (Network is unreachable)")

    def test_none_at_all_fails(self) -> None:
        is_status(network.check_interfaces(CONFIG, [ETH], Choice(())), Status.FAIL, "None of them")

    def test_listening_beyond_loopback_while_mdns_stays_there_is_told(self) -> None:
        config = RuntimeConfig(listen=("10.0.0.5",), interfaces=("loopback",), cluster_key=make_key())
        is_status(network.check_interfaces(config, [LO, ETH], Choice((ON_LO,))), Status.WARN, "10.0.0.5")
        is_status(network.check_interfaces(config, [LO, ETH], Choice((ON_LO, ON_ETH))), Status.OK)

    def test_too_many_are_told(self) -> None:
        is_status(network.check_interfaces(CONFIG, [LO], Choice((ON_LO,), over_cap=("eth9",))), Status.WARN, "eth9")


class TestMulticast:
    def test_packet_to_ourselves_comes_back_on_loopback(self) -> None:
        assert multicast.echo_error(ON_LO) == ""

    def test_address_of_another_host_is_an_error(self) -> None:
        assert multicast.echo_error(LocalAddress("eth0", 2, "203.0.113.9")) != ""

    def test_question_is_about_a_name_that_nobody_has(self) -> None:
        first, second = multicast.question_for_nobody(), multicast.question_for_nobody()
        assert b"\x0a_zmqagents\x04_tcp\x05local\x00" in first
        assert first != second

    @pytest.mark.parametrize(
        ("seeds", "addresses", "status"),
        [
            ((), [ON_ETH], Status.FAIL),
            (("tcp://10.0.0.9:5000",), [ON_ETH], Status.WARN),
            ((), [ON_LO, ON_ETH], Status.WARN),
            ((), [ON_LO], Status.OK),
        ],
    )
    def test_silence_fails_unless_there_is_another_way(
        self, monkeypatch: pytest.MonkeyPatch, seeds: tuple[str, ...], addresses: list[LocalAddress], status: Status
    ) -> None:
        monkeypatch.setattr(network, "echo_error", lambda local: "" if local is ON_LO else "nothing heard")
        is_status(network.check_multicast(RuntimeConfig(seeds=seeds), addresses), status)

    def test_is_not_looked_at_without_mdns(self) -> None:
        is_status(network.check_multicast(RuntimeConfig(discovery="none"), []), Status.OK, "not used")


class TestPorts:
    def test_free_ones_are_fine(self) -> None:
        is_status(network.check_ports(CONFIG, [LO], ()), Status.OK, "free ports can be bound on 127.0.0.1")

    def test_one_that_is_taken_fails_unless_a_member_has_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            config = RuntimeConfig(port=port)
            is_status(network.check_ports(config, [LO], ()), Status.FAIL, f"port {port} of 127.0.0.1 is taken")
            member = a_peer(endpoints=(f"tcp://127.0.0.1:{port}",))
            is_status(network.check_ports(config, [LO], (member,)), Status.OK, "worker-1")
        is_status(network.check_ports(config, [LO], ()), Status.OK, f"port {port}")

    def test_gossip_port_that_is_taken_fails_unless_a_member_has_it(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            config = RuntimeConfig(gossip_port=port)
            is_status(network.check_ports(config, [LO], ()), Status.FAIL, f"port {port} of 127.0.0.1 is taken")
            member = a_peer(gossip_endpoints=(f"tcp://127.0.0.1:{port}",))
            is_status(network.check_ports(config, [LO], (member,)), Status.OK, "worker-1")

    def test_interface_that_is_not_there_fails(self) -> None:
        config = RuntimeConfig(listen=("eth9",), insecure_lan=True)
        is_status(network.check_ports(config, [LO], ()), Status.FAIL, "no such interface")

    def test_address_of_another_host_fails(self) -> None:
        config = RuntimeConfig(listen=("203.0.113.9",), insecure_lan=True)
        is_status(network.check_ports(config, [LO], ()), Status.FAIL, "203.0.113.9")


class TestHost:
    def test_limit_of_open_files_is_told(self) -> None:
        program = (
            "import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))\n"
            "from zmqagents.cli.checks.host import check_open_files\nf = check_open_files()\n"
            "print(f.status.value, f.seen, f.advice)"
        )
        run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=50)
        assert run.stdout.startswith("warn 256 allowed, enough for about 24 processes")
        assert "ulimit -n" in run.stdout

    def test_clock_before_the_installation_fails(self) -> None:
        is_status(host.check_clock(now_s=1_000_000_000), Status.FAIL, "2001-09-09", "before")

    @pytest.mark.parametrize(
        ("told", "code", "status"),
        [("yes", 0, Status.OK), ("no", 0, Status.WARN), ("", 0, Status.OK), ("no", 1, Status.OK)],
    )
    def test_clock_is_as_good_as_systemd_says(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str, code: int, status: Status
    ) -> None:
        command = tmp_path / "timedatectl"
        command.write_text(f"#!/bin/sh\necho {told}\nexit {code}\n")
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        is_status(host.check_clock(), status)


class TestCluster:
    def test_others_are_named(self) -> None:
        is_status(around.check_cluster(CONFIG, look(a_peer())), Status.OK, "1 other in", "worker-1")

    def test_nobody_is_told_with_what_the_log_says(self) -> None:
        is_status(around.check_cluster(CONFIG, look(log=("a seed did not answer",))), Status.WARN, "a seed did not")

    @pytest.mark.parametrize("state", ["unreachable", "suspected"])
    def test_one_that_can_not_be_reached_fails(self, state: str) -> None:
        is_status(around.check_cluster(CONFIG, look(a_peer(state=state))), Status.FAIL, "can't reach worker-1")

    def test_many_are_not_all_named(self) -> None:
        peers = [a_peer(instance_id=f"w{number}") for number in range(25)]
        finding = around.check_cluster(CONFIG, look(*peers))
        assert finding.seen.endswith("and 15 more")

    def test_strangers_fail(self) -> None:
        is_status(around.check_strangers(look()), Status.OK)
        line = "no connection with 10.0.0.9: it has another cluster key"
        is_status(around.check_strangers(look(log=(line,))), Status.FAIL, line)
        is_status(around.check_cluster(CONFIG, look(a_peer(), log=(line,))), Status.OK)

    @pytest.mark.parametrize(
        ("protocol", "status"),
        [
            (VERSIONS, Status.OK),
            ((VERSIONS[0], VERSIONS[1] + 1), Status.WARN),
            ((VERSIONS[1] + 1, VERSIONS[1] + 1), Status.FAIL),
        ],
    )
    def test_other_versions_are_told_and_fail_where_none_is_common(
        self, protocol: tuple[int, int], status: Status
    ) -> None:
        is_status(around.check_versions(look(a_peer(protocol=protocol))), status)

    def test_refused_versions_fail(self) -> None:
        line = "worker-9 and this process can't talk: protocol versions 1 to 1 here do not meet 2 to 2 there"
        is_status(around.check_versions(look(log=(line,))), Status.FAIL, line)

    def test_differing_sizes_are_told(self) -> None:
        one, two = a_peer(), a_peer(instance_id="worker-2", max_message_bytes=1_000)
        is_status(around.check_sizes(CONFIG, look(one)), Status.OK)
        is_status(around.check_sizes(CONFIG, look(two)), Status.OK, "1,000 at all others")
        is_status(around.check_sizes(CONFIG, look(one, two)), Status.WARN, "worker-2 1,000")

    def test_clock_that_is_ahead_is_told(self) -> None:
        now_ms = int(time.time() * 1_000)
        is_status(around.check_others_clocks(look(a_peer(started_ms=now_ms)), now_ms), Status.OK)
        ahead = a_peer(started_ms=now_ms + 60_000)
        is_status(around.check_others_clocks(look(ahead), now_ms), Status.WARN, "worker-1 by at least 60 s")

    def test_two_policies_of_one_type_fail(self) -> None:
        peers = [
            a_peer(instance_id=name, hosted=(HostedAgents("cart", policy, 100),))
            for name, policy in (("one", "by_key"), ("two", "random"), ("three", "random"))
        ]
        is_status(around.check_policies(look(*peers[1:])), Status.OK)
        is_status(around.check_policies(look(*peers)), Status.FAIL, "cart: by_key at one, random at two")


def test_finding_is_json() -> None:
    expected: dict[str, Any] = {"check": "ports", "status": "ok", "seen": "free", "advice": None}
    assert Finding("ports", Status.OK, "free").as_document() == expected
