"""Which cluster a command means."""

from __future__ import annotations

from pathlib import Path

import pytest

from zmqagents.cli.target import Target
from zmqagents.config import make_config
from zmqagents.keys import make_key


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ZMQAGENTS_CLUSTER": "from-environment",
        "ZMQAGENTS_SEEDS": "tcp://10.0.0.1:5000",
        "ZMQAGENTS_PORT": "5555",
        "ZMQAGENTS_GOSSIP_PORT": "5556",
        "ZMQAGENTS_ADVERTISE": "203.0.113.7:7000",
        "INSTANCE_ID": "worker-1",
        "ZMQAGENTS_CLUSTER_KEY": make_key(),
        "ZMQAGENTS_OTHER_CLUSTER_KEY": make_key(),
    }.items():
        monkeypatch.setenv(name, value)


def test_options_left_out_come_from_the_environment() -> None:
    config = Target().config()
    assert (config.cluster, config.seeds, config.port) == ("from-environment", ("tcp://10.0.0.1:5000",), 5555)


def test_options_come_before_the_environment() -> None:
    given = Target(cluster="shop", seeds=("tcp://h:1", "tcp://h:2"), discovery="none", interfaces=("eth0", "lo"))
    config = given.config()
    assert (config.cluster, config.seeds) == ("shop", ("tcp://h:1", "tcp://h:2"))
    assert (config.discovery, config.interfaces) == ("none", ("eth0", "lo"))


def test_key_file_stands_for_both_keys_of_the_environment(tmp_path: Path) -> None:
    key = make_key()
    file = tmp_path / "key"
    file.write_text(key + "\n")
    config = Target(key_file=str(file)).config()
    assert (config.cluster_key, config.other_cluster_key) == (key, None)


def test_guest_has_ports_addresses_and_a_label_of_its_own() -> None:
    settings = Target().guest_settings()
    assert settings["port"] == settings["gossip_port"] == 0
    assert make_config(settings).advertise == ()
    assert settings["instance_id"].startswith("zmqagents-")


def test_target_never_holds_a_key(tmp_path: Path) -> None:
    key = make_key()
    file = tmp_path / "key"
    file.write_text(key)
    assert key not in repr(Target(key_file=str(file)))
