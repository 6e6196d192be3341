"""Settings: what they default to, where they come from, and that a wrong one says what to write."""

from __future__ import annotations

import math
import os
import re
import socket
from pathlib import Path
from typing import Any

import pytest

from zmqagents.config import POLICIES, Placement, RuntimeConfig, Settings, make_config
from zmqagents.errors import ConfigError
from zmqagents.keys import curve_secret, make_key
from zmqagents.protocol.placement import Policy

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"cluster": ""}, "cluster='': write a text of 1 to 255 bytes"),
    ({"cluster": "ü" * 128}, "write a text of 1 to 255 bytes"),
    ({"cluster": 5}, "cluster=5: write a text"),
    ({"instance_id": "x" * 256}, "write a text of 1 to 255 bytes"),
    ({"discovery": "bonjour"}, 'discovery=\'bonjour\': write "mdns", or "none" to use seeds alone'),
    ({"seeds": [5]}, "seeds=[5]: write a list of texts"),
    ({"listen": []}, "listen is empty: write at least one address, such as listen=['127.0.0.1'], or 'all'"),
    ({"listen": ["127.0.0.1", ""]}, "listen='': write an address without port, such as '127.0.0.1' or '::1'"),
    ({"interfaces": []}, "interfaces is empty: write 'loopback', 'all', or a list"),
    ({"listen": "127.0.0.1:80"}, "write an address without port"),
    ({"listen": ["127.0.0.1", "0.0.0.0"]}, "listen='0.0.0.0': without a cluster key the runtime listens on loopback"),
    ({"listen": "192.168.1.20"}, "or, on a network that nobody else is on, insecure_lan=True"),
    ({"listen": "all"}, "listen='all': without a cluster key the runtime listens on loopback only"),
    ({"listen": "eth0"}, "or write 'loopback' or '::1'"),
    ({"listen": "tcp://10.0.0.1", "insecure_lan": True}, "listen='tcp://10.0.0.1': write an address without port"),
    ({"advertise": 5}, "advertise=5: write a list of texts"),
    ({"gossip_port": 70_000}, "gossip_port=70000: write 0 for a free port"),
    ({"insecure_lan": "yes"}, "insecure_lan='yes': write True or False"),
    ({"insecure_lan": 1}, "insecure_lan=1: write True or False"),
    ({"port": -1}, "port=-1: write 0 for a free port, or a number from 1 to 65535"),
    ({"port": 65_536}, "port=65536: write 0 for a free port"),
    ({"call_timeout_s": 0}, "call_timeout_s=0: write a number of seconds above 0, or None"),
    ({"call_timeout_s": math.nan}, "call_timeout_s=nan: write a number of seconds above 0, or None"),
    ({"settle_s": -1}, "settle_s=-1: write a number of seconds, 0 or more, or None"),
    ({"weight": -1}, "weight=-1: write a whole number from 0 to 1,000,000"),
    ({"weight": 1_000_001}, "weight=1000001: write a whole number"),
    ({"weight": 1.5}, "weight=1.5: write a whole number"),
    ({"placements": "by_key"}, """placements='by_key': write policies by agent type: {"worker": "rebalance"}"""),
    ({"placements": {5: "by_key"}}, "placements={5: 'by_key'}: write policies by agent type"),
    ({"placements": {"worker": 5}}, "placements['worker']=5: write a policy's name, or Placement(...)"),
    ({"placements": {"worker": "by_hand"}}, "placements['worker']: policy='by_hand': write one of by_key, rebalance,"),
    ({"max_message_bytes": 0}, "max_message_bytes=0: write a whole number of bytes above 0"),
    ({"max_message_bytes": 1.5}, "max_message_bytes=1.5: write a whole number of bytes above 0"),
    ({"heartbeat_s": 0}, "heartbeat_s=0: write a number of seconds above 0"),
    ({"zmtp_heartbeat_s": -0.5}, "zmtp_heartbeat_s=-0.5: write a number of seconds above 0"),
    ({"zmtp_heartbeat_s": math.inf}, "zmtp_heartbeat_s=inf: write a number of seconds above 0, and at most 1,000"),
    ({"cluster": "\ud800"}, "write a text without lone surrogates"),
    ({"seeds": 5}, "seeds=5: write a list of texts"),
    ({"listen": None}, "listen=None: write a list of texts"),
    ({"port": "80"}, "port='80': write 0 for a free port"),
    ({"port": True}, "port=True: write 0 for a free port"),
    ({"drain_timeout_s": "5"}, "drain_timeout_s='5': write a number of seconds, 0 or more"),
    ({"discovery_timeout_s": math.nan}, "discovery_timeout_s=nan: write a number of seconds, 0 or more"),
    *(
        ({name: -1}, f"{name}=-1: write a number of seconds, 0 or more")
        for name in ("discovery_timeout_s", "join_timeout_s", "send_timeout_s", "drain_timeout_s", "cancel_grace_s")
    ),
    (
        {"clutser": "x"},
        "unknown setting 'clutser'; the settings are advertise, broker_url, call_timeout_s, cancel_grace_s",
    ),
]


@pytest.mark.parametrize(("settings", "text"), WRONG, ids=lambda value: value[:40] if isinstance(value, str) else None)
def test_wrong_setting_is_a_config_error_that_says_what_to_write(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        make_config(settings, {})


def test_defaults_need_nothing_and_listen_on_loopback_only() -> None:
    config = make_config({}, {})
    assert config == RuntimeConfig()
    assert (config.cluster, config.listen, config.port, config.discovery) == ("default", ("127.0.0.1",), 0, "mdns")
    assert config.max_message_bytes == 128 * 1024 * 1024


@pytest.mark.parametrize("listen", [["127.0.0.1"], ["::1"], ("127.0.0.1", "::1"), "127.0.0.5"])
def test_loopback_addresses_of_both_families_are_accepted(listen: Any) -> None:
    assert make_config({"listen": listen}, {}).listen == ((listen,) if isinstance(listen, str) else tuple(listen))


@pytest.mark.parametrize("address", ["192.168.1.20", "10.0.0.1", "2001:db8::1"])
def test_addresses_beyond_loopback_are_accepted_if_insecurity_is_asked_for(address: str) -> None:
    config = make_config({"listen": ["127.0.0.1", address, "::1"], "insecure_lan": True}, {})
    assert config.exposed() == (address,)


def test_nothing_is_exposed_by_asking_for_insecurity_alone() -> None:
    assert make_config({"insecure_lan": True}, {}).exposed() == ()


def test_list_settings_take_one_text_for_a_list_of_one() -> None:
    config = make_config({"seeds": "tcp://a:1", "interfaces": "all"}, {})
    assert (config.seeds, config.interfaces) == (("tcp://a:1",), ("all",))


@pytest.mark.parametrize(
    ("variable", "value", "setting", "expected"),
    [
        ("ZMQAGENTS_CLUSTER", "shop", "cluster", "shop"),
        ("INSTANCE_ID", "till-1", "instance_id", "till-1"),
        ("ZMQAGENTS_DISCOVERY", "none", "discovery", "none"),
        ("ZMQAGENTS_SEEDS", "tcp://a:1, tcp://b:2,", "seeds", ("tcp://a:1", "tcp://b:2")),
        ("ZMQAGENTS_PORT", "7000", "port", 7_000),
        ("ZMQAGENTS_GOSSIP_PORT", "7001", "gossip_port", 7_001),
        ("ZMQAGENTS_LISTEN", "127.0.0.1, ::1", "listen", ("127.0.0.1", "::1")),
        ("ZMQAGENTS_ADVERTISE", "10.0.0.5,node1:7000", "advertise", ("10.0.0.5", "node1:7000")),
        ("ZMQAGENTS_INTERFACES", "eth0", "interfaces", ("eth0",)),
        ("ZMQAGENTS_WEIGHT", "0", "weight", 0),
        ("ZMQAGENTS_INSECURE_LAN", "1", "insecure_lan", True),
    ],
)
def test_environment_fills_in_what_is_not_passed(variable: str, value: str, setting: str, expected: object) -> None:
    assert getattr(make_config({}, {variable: value}), setting) == expected
    assert getattr(make_config({}, {variable: ""}), setting) == getattr(RuntimeConfig(), setting)


def test_what_is_passed_wins_over_the_environment() -> None:
    config = make_config({"cluster": "mine", "port": 0}, {"ZMQAGENTS_CLUSTER": "theirs", "ZMQAGENTS_PORT": "7000"})
    assert (config.cluster, config.port) == ("mine", 0)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"ZMQAGENTS_PORT": "seven"}, "ZMQAGENTS_PORT='seven': write a number from 0 to 65535"),
        ({"ZMQAGENTS_INSECURE_LAN": "yes"}, "ZMQAGENTS_INSECURE_LAN='yes': write 1 or 0"),
        ({"ZMQAGENTS_PORT": "-1"}, "ZMQAGENTS_PORT='-1': write a number"),
        ({"ZMQAGENTS_LISTEN": "all"}, "listen='all': without a cluster key"),
        ({"ZMQAGENTS_PORT": "70000"}, "port=70000: write 0 for a free port"),
        ({"ZMQAGENTS_WEIGHT": "half"}, "ZMQAGENTS_WEIGHT='half': write a whole number from 0 to 1,000,000"),
        ({"ZMQAGENTS_WEIGHT": "9999999"}, "weight=9999999: write a whole number"),
        ({"ZMQAGENTS_DISCOVERY": "dns"}, "discovery='dns': write"),
    ],
)
def test_wrong_environment_is_a_config_error_too(environment: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        make_config({}, environment)


def test_insecurity_is_switched_off_by_0_in_the_environment() -> None:
    assert not make_config({}, {"ZMQAGENTS_INSECURE_LAN": "0"}).insecure_lan


def test_environment_of_the_process_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQAGENTS_CLUSTER", "shop")
    assert make_config({}).cluster == "shop"


KEY, OTHER_KEY = make_key(), make_key()


def test_any_address_of_this_host_is_accepted_with_a_key_and_nothing_is_exposed() -> None:
    config = make_config({"listen": "192.168.1.20", "cluster_key": KEY}, {})
    assert config.listen == ("192.168.1.20",)
    assert config.exposed() == ()
    assert make_config({"listen": "192.168.1.20", "insecure_lan": True}, {}).exposed() == ("192.168.1.20",)


def test_key_alone_is_enough_to_be_reached_by_other_hosts_and_to_find_them() -> None:
    config = make_config({"cluster_key": KEY}, {})
    assert (config.listen, config.interfaces) == (("all",), ("all",))
    assert make_config({"insecure_lan": True}, {}).interfaces == ("loopback",)


@pytest.mark.parametrize(
    ("listen", "interfaces"),
    [
        ("loopback", ("loopback",)),
        ("127.0.0.1", ("loopback",)),
        (["::1", "127.0.0.1", "eth0"], ("loopback", "eth0")),
        ("192.168.1.20", ("192.168.1.20",)),
        ("0.0.0.0", ("all",)),
        (["::", "127.0.0.1"], ("all",)),
        (["all", "wg0"], ("all",)),
    ],
)
def test_mdns_is_where_the_process_listens_unless_it_is_told_otherwise(listen: Any, interfaces: Any) -> None:
    assert make_config({"listen": listen, "cluster_key": KEY}, {}).interfaces == interfaces
    assert make_config({"listen": listen, "cluster_key": KEY, "interfaces": "wlan0"}, {}).interfaces == ("wlan0",)


def test_keys_are_not_shown_by_the_config() -> None:
    config = make_config({"cluster_key": KEY, "other_cluster_key": OTHER_KEY}, {})
    for shown in (repr(config), str(config), repr(config.labelled()), f"{config}"):
        assert KEY not in shown
        assert OTHER_KEY not in shown


def test_secret_keys_are_none_one_or_two_with_the_one_to_listen_with_first() -> None:
    secrets = {key: curve_secret(key, "default") for key in (KEY, OTHER_KEY)}
    assert make_config({}, {}).curve_secrets() == ()
    assert make_config({"cluster_key": KEY}, {}).curve_secrets() == (secrets[KEY],)
    two = make_config({"cluster_key": OTHER_KEY, "other_cluster_key": KEY}, {})
    assert two.curve_secrets() == (secrets[OTHER_KEY], secrets[KEY])
    same = make_config({"cluster_key": KEY, "other_cluster_key": KEY}, {})
    assert same.curve_secrets() == (secrets[KEY],)


def test_keys_come_from_the_environment() -> None:
    config = make_config({}, {"ZMQAGENTS_CLUSTER_KEY": f" {KEY}\n", "ZMQAGENTS_OTHER_CLUSTER_KEY": OTHER_KEY})
    assert (config.cluster_key, config.other_cluster_key) == (KEY, OTHER_KEY)
    assert make_config({}, {"ZMQAGENTS_CLUSTER_KEY": ""}).cluster_key is None


@pytest.mark.parametrize(
    ("content", "keys"),
    [(f"{KEY}\n", (KEY, None)), (f"{KEY}\r\n\n{OTHER_KEY}", (KEY, OTHER_KEY))],
    ids=["one", "two"],
)
def test_keys_come_from_a_file(tmp_path: Path, content: str, keys: tuple[str, str | None]) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    config = make_config({}, {"ZMQAGENTS_CLUSTER_KEY_FILE": str(path)})
    assert (config.cluster_key, config.other_cluster_key) == keys


def test_key_that_is_passed_takes_the_place_of_all_that_the_environment_has() -> None:
    environment = {"ZMQAGENTS_CLUSTER_KEY": KEY, "ZMQAGENTS_OTHER_CLUSTER_KEY": OTHER_KEY}
    assert make_config({"cluster_key": OTHER_KEY}, environment).other_cluster_key is None
    assert make_config({"cluster_key": None}, environment).curve_secrets() == ()


@pytest.mark.parametrize("content", ["", "\n", f"{KEY} {KEY} {KEY}", "x" * 5_000])
def test_file_that_holds_no_keys_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    path = tmp_path / "key"
    path.write_text(content)
    with pytest.raises(ConfigError, match="is not a file with one key") as caught:
        make_config({}, {"ZMQAGENTS_CLUSTER_KEY_FILE": str(path)})
    assert str(path) in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("environment", "text"),
    [
        ({"ZMQAGENTS_CLUSTER_KEY_FILE": "/nowhere/key"}, "'/nowhere/key' can't be read: No such file"),
        ({"ZMQAGENTS_CLUSTER_KEY_FILE": "/x", "ZMQAGENTS_CLUSTER_KEY": KEY}, "unset one or the other"),
        ({"ZMQAGENTS_CLUSTER_KEY": KEY[:-2]}, "cluster_key begins like a key"),
        ({"ZMQAGENTS_OTHER_CLUSTER_KEY": KEY}, "other_cluster_key is set without cluster_key"),
    ],
    ids=["no file", "both", "cut off", "other alone"],
)
def test_wrong_key_in_the_environment_is_an_error_that_does_not_show_it(environment: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        make_config({}, environment)
    assert KEY[:-2] not in str(caught.value)


def test_policy_names_are_those_of_the_protocol() -> None:
    assert tuple(policy.value for policy in Policy) == POLICIES


@pytest.mark.parametrize("placed", ["rebalance", Placement("rebalance")])
def test_placement_of_an_agent_type_may_be_a_policy_name(placed: str | Placement) -> None:
    config = make_config({"placements": {"worker": placed}}, {})
    assert config.placement("worker") == Placement("rebalance")
    assert config.labelled().placement("worker") == Placement("rebalance")
    assert config.placement("other") == Placement()


def test_placements_do_not_change_with_the_mapping_they_came_from() -> None:
    placements = {"worker": "rebalance"}
    config = make_config({"placements": placements}, {})
    placements["worker"] = "random"
    assert config.placement("worker").policy == "rebalance"


def test_placement_over_another_takes_from_it_what_it_does_not_say() -> None:
    assert Placement("random").over(Placement("by_key", 5)) == Placement("random", 5)
    assert Placement(weight=0).over(Placement("by_key", 5)) == Placement("by_key", 0)


@pytest.mark.parametrize(
    ("policy", "weight", "text"),
    [
        ("sticky", None, "policy='sticky': write one of by_key, rebalance, least_loaded, round_robin, random, local"),
        (5, None, "policy=5: write one of"),
        ("by_key", -1, "weight=-1: write a whole number from 0 to 1,000,000"),
        ("by_key", True, "weight=True: write a whole number"),
    ],
)
def test_wrong_placement_is_a_config_error_that_says_what_to_write(policy: Any, weight: Any, text: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(text)):
        Placement(policy, weight)


def test_label_is_made_of_host_and_process_if_none_was_given() -> None:
    assert RuntimeConfig().labelled().instance_id == f"{socket.gethostname()[:200]}-{os.getpid()}"
    assert RuntimeConfig(instance_id="till-1").labelled().instance_id == "till-1"


def test_keyword_arguments_are_the_fields_of_the_config() -> None:
    assert Settings.__annotations__.keys() == RuntimeConfig.__dataclass_fields__.keys()


def test_config_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        RuntimeConfig().port = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    "url",
    ["broker:50051", "http://broker:1", "tcp://", "broker", "ipc:///tmp/x", "tcp://a:0", "tcp://a:65536", "tcp://a"],
)
def test_broker_url_of_another_kind_says_what_to_write(url: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"^broker_url='{re.escape(url)}': write tcp://host:port of a forwarder, or several of them"
    ):
        RuntimeConfig(broker_url=url)


def test_broker_url_names_forwarders_each_once() -> None:
    config = RuntimeConfig(broker_url="tcp://a:1, tcp://[::1]:2,tcp://a:1,")
    assert config.forwarders() == ("tcp://a:1", "tcp://[::1]:2")


@pytest.mark.parametrize("url", [None, "", " "])
def test_no_broker_url_names_no_forwarder(url: str | None) -> None:
    assert RuntimeConfig(broker_url=url).forwarders() == ()


def test_broker_url_comes_from_the_environment_unless_an_argument_takes_its_place() -> None:
    environment = {"BROKER_URL": "tcp://a:1"}
    assert make_config({}, environment).forwarders() == ("tcp://a:1",)
    assert make_config({"broker_url": ""}, environment).forwarders() == ()
