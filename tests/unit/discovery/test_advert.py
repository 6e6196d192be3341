from __future__ import annotations

import logging
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.discovery.seen import advertisement
from zmqagents.discovery import Advertisement
from zmqagents.discovery import advert as advert_module
from zmqagents.discovery.advert import MAX_ENDPOINTS, MAX_TXT_BYTES, MalformedRecordError, Sieve, read_txt, write_txt
from zmqagents.errors import ConfigError

OWN = advertisement("c", "tcp://127.0.0.1:1")
PEER = advertisement("c", "tcp://127.0.0.1:2")


def packed(keys: Mapping[str, bytes]) -> bytes:
    """A TXT record's bytes: RFC 6763 section 6.1."""
    strings = [key.encode() + b"=" + value for key, value in keys.items()]
    return b"".join(bytes([len(one)]) + one for one in strings)


def sieve(*host: str, loopback_only: bool = False, zone: str | None = None) -> Sieve:
    return Sieve(OWN, host_addresses=host, loopback_only=loopback_only, zone=zone)


def shown(by: Sieve, *endpoints: str) -> tuple[str, ...]:
    sighting = by.sift("x", packed(write_txt(advertisement("c", *endpoints))))
    return () if sighting is None else sighting.endpoints


ports = st.integers(1, 65535)
addresses = st.ip_addresses().filter(lambda ip: not ip.is_unspecified and not ip.is_multicast)
clusters = st.text(min_size=1, max_size=40).filter(lambda text: text.encode("utf-8", "ignore").decode() == text)


@given(clusters, st.text(), st.lists(st.tuples(addresses, ports), max_size=MAX_ENDPOINTS, unique=True))
def test_record_reads_back_as_it_was_written(cluster: str, label: str, pairs: list[tuple[object, int]]) -> None:
    endpoints = tuple(f"tcp://[{ip}]:{port}" if ":" in str(ip) else f"tcp://{ip}:{port}" for ip, port in pairs)
    text = packed(write_txt(Advertisement(cluster, PEER.node_id, label, endpoints)))
    record = read_txt(text)
    assert record is not None
    assert (record.cluster, record.node_id, list(record.endpoints)) == (cluster, PEER.node_id, pairs)
    assert len(text) <= MAX_TXT_BYTES


@given(st.binary(max_size=1500))
def test_any_bytes_are_read_or_malformed(text: bytes) -> None:
    by = sieve()
    try:
        read_txt(text)
    except MalformedRecordError:
        assert by.sift("x", text) is None
        assert by.malformed == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"txtvers": None},
        {"cluster": None},
        {"cluster": b""},
        {"cluster": b"\xff"},
        {"cluster": b"c" * 201},
        {"node": b"00" * 16},
        {"node": b"11" * 15},
        {"node": b"11 " * 10 + b"11"},
        {"node": b"zz" * 16},
        {"e0": b""},
        {"e0": b"127.0.0.1"},
        {"e0": b"127.0.0.1:0"},
        {"e0": b"127.0.0.1:99999"},
        {"e0": b"evil.example:80"},
        {"e0": b"0.0.0.0:80"},
        {"e0": b"[ff02::1]:80"},
        {"e0": b"[fe80::1%1]:80"},
        {"e15": b"\xff\xfe"},
        {f"x{n}": b"y" * 250 for n in range(6)},
    ],
)
def test_record_with_something_wrong_is_malformed(changes: dict[str, bytes | None]) -> None:
    keys = {key: value for key, value in {**write_txt(PEER), **changes}.items() if value is not None}
    with pytest.raises(MalformedRecordError):
        read_txt(packed(keys))


def test_record_with_unknown_keys_and_repeated_ones_is_read() -> None:
    text = packed({**write_txt(PEER), "later": b"1"}) + b"\x04flag" + packed({"Cluster": b"other"})
    record = read_txt(text)
    assert record is not None
    assert record.cluster == "c"


def test_record_of_a_later_layout_is_ignored_and_not_malformed() -> None:
    by = sieve()
    assert by.sift("x", packed({"txtvers": b"2", "anything": b"else"})) is None
    assert by.malformed == 0


def test_malformed_records_are_counted_and_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    by = sieve()
    for number in range(3):
        by.sift(f"name\n{number}" * 100, b"\x05ab")
    assert by.malformed == 3
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert len(record.getMessage()) < 300
    assert "\n" not in record.getMessage()


def test_sieve_shows_a_peer_once_until_it_changes_or_goes() -> None:
    by = sieve()
    text = packed(write_txt(PEER))
    assert by.sift("Peer", text) is not None
    assert by.sift("peer", text) is None
    assert by.sift("peer", packed({**write_txt(PEER), "e0": b"127.0.0.1:3"})) is not None
    by.forget("PEER")
    assert by.sift("peer", text) is not None


def test_sieve_lets_neither_ourselves_nor_another_cluster_through() -> None:
    by = sieve()
    assert by.sift("own", packed(write_txt(OWN))) is None
    assert by.sift("other", packed(write_txt(advertisement("d")))) is None
    assert by.malformed == 0


def test_sieve_remembers_a_bounded_number_of_peers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advert_module, "MAX_PEERS", 3)
    by = sieve()
    text = packed(write_txt(PEER))
    assert all(by.sift(f"peer{n}", text) for n in range(5))
    assert by.sift("peer4", text) is None
    assert by.sift("peer0", text) is not None


def test_peer_on_another_host_is_shown_without_its_loopback() -> None:
    far = ("tcp://127.0.0.1:5", "tcp://10.0.0.9:6", "tcp://[fd00::9]:7")
    assert shown(sieve("127.0.0.1", "10.0.0.5"), *far) == far[1:]


def test_peer_on_this_host_is_shown_with_its_loopback() -> None:
    near = ("tcp://127.0.0.1:5", "tcp://10.0.0.5:6")
    assert shown(sieve("127.0.0.1", "10.0.0.5"), *near) == near
    assert shown(sieve("127.0.0.1", "10.0.0.5"), *near[:1]) == near[:1]


def test_node_that_keeps_to_loopback_is_shown_this_host_only() -> None:
    by = sieve("127.0.0.1", "10.0.0.5", loopback_only=True)
    assert shown(by, "tcp://[::1]:5", "tcp://10.0.0.5:6", "tcp://10.0.0.9:7") == ("tcp://[::1]:5", "tcp://10.0.0.5:6")
    assert shown(by, "tcp://10.0.0.9:7") == ()


def test_link_local_endpoint_gets_the_zone_of_the_one_interface_used() -> None:
    endpoint = "tcp://[fe80::9%eth7]:5"
    assert shown(sieve(zone="2"), endpoint) == ("tcp://[fe80::9%2]:5",)
    assert shown(sieve(), endpoint) == ()


def test_record_without_endpoints_stands_for_its_addresses_with_the_srv_port() -> None:
    text = packed(write_txt(Advertisement("c", PEER.node_id, "plain", ())))
    by = sieve()
    assert by.sift("x", text) is None
    sighting = by.sift("x", text, addresses=["10.0.0.9", "0.0.0.0", "nonsense", "fd00::9"], port=5)
    assert sighting is not None
    assert sighting.endpoints == ("tcp://10.0.0.9:5", "tcp://[fd00::9]:5")


def test_label_is_cut_at_a_whole_character() -> None:
    label = write_txt(Advertisement("c", PEER.node_id, "é" * 60 + "x", ()))["instance"]
    assert label.decode() == "é" * 32


def test_only_as_many_endpoints_as_the_record_holds_are_advertised() -> None:
    many = [f"tcp://10.0.0.{n}:1" for n in range(1, 30)]
    assert sum(key.startswith("e") for key in write_txt(advertisement("c", *many))) == MAX_ENDPOINTS


def test_endpoint_that_is_a_name_is_left_out() -> None:
    assert "e0" not in write_txt(advertisement("c", "tcp://some-host:1"))


@pytest.mark.parametrize(
    "own",
    [
        Advertisement("", PEER.node_id, "x", ()),
        Advertisement("é" * 101, PEER.node_id, "x", ()),
        Advertisement("c", b"short", "x", ()),
        Advertisement("c", PEER.node_id, "x", ("tcp://0.0.0.0:1",)),
        Advertisement("c", PEER.node_id, "x", ("127.0.0.1:1",)),
    ],
)
def test_what_cannot_be_advertised_is_a_config_error(own: Advertisement) -> None:
    with pytest.raises(ConfigError):
        write_txt(own)
