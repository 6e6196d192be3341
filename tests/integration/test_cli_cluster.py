"""``zmqagents peers`` and ``doctor`` beside other processes."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

from tests.integration import actors
from tests.integration.agents import Counter, Echo
from tests.integration.clusters import Cluster, endpoint_of, new_name
from tests.integration.commands import Ended, run
from tests.integration.processes import Launch
from zmqagents.keys import make_key

pytestmark = pytest.mark.integration

REACHED = {"direct", "accepted"}  # whichever of the two connections of a pair was there first
LOOK = ("--wait", "0.5")


def at(cluster: Cluster, endpoint: str) -> list[str]:
    return ["--cluster", cluster.name, "--seed", endpoint, "--discovery", "none"]


def findings_of(done: Ended) -> dict[str, dict[str, Any]]:
    """The findings of ``doctor --json`` by check."""
    return {finding["check"]: finding for finding in done.document["findings"]}


async def test_peers_lists_two_processes_that_mdns_shows(launch: Launch) -> None:
    cluster = new_name()
    started = await actors.start(launch, cluster, "worker-1", "worker-2", kinds={"tally": "tally"})
    plain, document = await asyncio.gather(
        run("peers", "--cluster", cluster), run("peers", "--json", ZMQAGENTS_CLUSTER=cluster)
    )
    assert plain.status == document.status == 0
    lines = [line.split() for line in plain.stdout.splitlines()]
    assert lines[0][:3] == ["PROCESS", "STATE", "PATH"]
    shown = [line for line in lines[1:] if line[0].startswith("worker")]
    assert [line[:2] for line in shown] == [["worker-1", "up"], ["worker-2", "up"]]
    assert {line[2] for line in shown} <= REACHED
    assert "tally (by_key 100)" in plain.stdout
    assert document.document["cluster"] == cluster
    peers = {peer["instance_id"]: peer for peer in document.document["peers"]}
    for actor, name in zip(started, ("worker-1", "worker-2"), strict=True):
        peer = peers[name]
        assert len(peer.pop("node_id")) == 32
        assert peer.pop("path") in REACHED
        assert len(peer.pop("gossip_endpoints")) == 1
        assert peer.pop("started_ms") > 1_500_000_000_000
        assert set(peer.pop("reads")) >= {"Add", "Added"}
        assert peer == {
            "instance_id": name,
            "state": "up",
            "forwarder": None,
            "source": "mdns",
            "endpoints": [await actors.ask(actor, "endpoint")],
            "agents": [{"type": "tally", "policy": "by_key", "weight": 100}],
            "pinned": [],
            "protocol": {"lowest": 1, "highest": 1},
            "load": 0,
            "max_message_bytes": 128 << 20,
        }


async def test_peers_of_an_empty_cluster_is_an_empty_list_and_no_failure() -> None:
    sent = ["peers", "--cluster", new_name(), "--discovery", "none", "--wait", "0"]
    plain, document = await asyncio.gather(run(*sent), run(*sent, "--json"))
    assert (plain.status, plain.stdout) == (document.status, "") == (0, "")
    assert "zmqagents doctor" in plain.stderr
    assert document.document["peers"] == []


async def test_peers_gets_in_with_a_key_file_and_not_without(cluster: Cluster, tmp_path: Path) -> None:
    key = make_key()
    file = tmp_path / "cluster.key"
    file.write_text(f"{key}\n")
    host = await cluster.host(Echo, cluster_key=key)
    sent = ["peers", *at(cluster, endpoint_of(host)), *LOOK, "--json"]
    inside, outside = await asyncio.gather(run(*sent, "--key-file", str(file)), run(*sent))
    assert [peer["instance_id"] for peer in inside.document["peers"]] == ["node-1"]
    assert outside.document["peers"] == []
    assert "no connection with " in outside.stderr
    assert key not in inside.stdout + inside.stderr + outside.stdout + outside.stderr


async def test_key_file_of_the_command_line_counts_beside_a_broken_one_in_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "cluster.key"
    file.write_text(make_key())
    sent = ["peers", "--cluster", new_name(), "--discovery", "none", "--wait", "0"]
    given, broken = await asyncio.gather(
        run(*sent, "--key-file", str(file), ZMQAGENTS_CLUSTER_KEY_FILE="/nowhere"),
        run(*sent, ZMQAGENTS_CLUSTER_KEY_FILE="/nowhere"),
    )
    assert given.status == 0, given.stderr
    assert broken.status == 2
    assert broken.stderr.startswith("ConfigError: ZMQAGENTS_CLUSTER_KEY_FILE='/nowhere' can't be read")


async def test_doctor_finds_nothing_wrong_in_a_cluster_that_works(cluster: Cluster) -> None:
    host = await cluster.host(Echo, Counter)
    done = await run("doctor", *at(cluster, endpoint_of(host)), *LOOK, "--json")
    assert done.status == 0, done.stdout
    findings = findings_of(done)
    assert {"settings", "key", "interfaces", "multicast", "ports", "open files", "clock"} < set(findings)
    for check in ("settings", "key", "ports", "cluster", "kept out", "versions", "message sizes", "policies"):
        assert findings[check]["status"] == "ok", findings[check]
        assert findings[check]["advice"] is None
    assert "node-1" in findings["cluster"]["seen"]


async def test_doctor_hears_its_own_multicast_on_loopback() -> None:
    done = await run("doctor", "--cluster", new_name(), "--wait", "0", "--json")
    findings = findings_of(done)
    assert findings["multicast"]["status"] == "ok"
    assert "127.0.0.1" in findings["multicast"]["seen"]
    assert findings["cluster"]["status"] == "warn"


async def test_doctor_fails_for_a_key_file_without_a_key_and_does_not_show_it(tmp_path: Path) -> None:
    file = tmp_path / "cluster.key"
    file.write_text("not-a-long-secret\n")
    plain, document = await asyncio.gather(
        run("doctor", "--key-file", str(file)), run("doctor", "--json", ZMQAGENTS_CLUSTER_KEY_FILE=str(file))
    )
    assert plain.status == document.status == 1
    assert "fail  key: cluster_key has 17 characters" in plain.stdout
    assert "zmqagents keygen" in plain.stdout
    assert findings_of(document)["key"]["status"] == document.document["status"] == "fail"
    assert "not-a-long-secret" not in plain.stdout + plain.stderr + document.stdout + document.stderr


async def test_doctor_fails_for_a_port_that_another_program_has() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        sent = ["doctor", "--cluster", new_name(), "--discovery", "none", "--wait", "0", "--json"]
        done = await run(*sent, ZMQAGENTS_PORT=str(port))
    assert done.status == 1
    ports = findings_of(done)["ports"]
    assert ports["status"] == "fail"
    assert f"port {port} of 127.0.0.1 is taken" in ports["seen"]
    assert "ZMQAGENTS_PORT" in ports["advice"]


async def test_doctor_takes_the_port_of_a_process_of_the_cluster_for_its_own(cluster: Cluster) -> None:
    host = await cluster.host(Echo)
    port = endpoint_of(host).rpartition(":")[2]
    done = await run("doctor", *at(cluster, endpoint_of(host)), *LOOK, "--json", ZMQAGENTS_PORT=port)
    assert done.status == 0, done.stdout
    assert "node-1, which is in the cluster" in findings_of(done)["ports"]["seen"]


async def test_doctor_tells_of_processes_with_another_key(cluster: Cluster, tmp_path: Path) -> None:
    host = await cluster.host(Echo, cluster_key=make_key())
    file = tmp_path / "cluster.key"
    file.write_text(make_key())
    file.chmod(0o600)
    done = await run(
        "doctor", *at(cluster, endpoint_of(host)), "--wait", "1", "--key-file", str(file), "--json"
    )  # fmt: skip
    assert done.status == 1
    findings = findings_of(done)
    assert findings["key"]["status"] == "ok"
    assert findings["kept out"]["status"] == "fail"
    assert "another cluster key" in findings["kept out"]["seen"]


async def test_doctor_tells_of_two_policies_for_one_type(cluster: Cluster) -> None:
    host = await cluster.host(Echo, placements={"echo": "random"})
    await cluster.host(Echo)
    done = await run("doctor", *at(cluster, endpoint_of(host)), *LOOK, "--json")
    assert done.status == 1
    assert findings_of(done)["policies"]["seen"] == "echo: random at node-1, by_key at node-2"


@pytest.mark.parametrize(
    ("option", "value", "check"),
    [("--interface", "eth99", "interfaces"), ("--listen", "192.0.2.77", "settings")],
)
async def test_doctor_fails_for_a_setting_that_this_host_can_not_have(option: str, value: str, check: str) -> None:
    done = await run("doctor", "--cluster", new_name(), option, value, "--wait", "0", "--json")
    assert done.status == 1
    assert findings_of(done)[check]["status"] == "fail"
    assert value in findings_of(done)[check]["seen"]
