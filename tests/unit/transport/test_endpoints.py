from __future__ import annotations

import pytest

from zmqagents.transport.endpoints import parse_address, parse_endpoint


@pytest.mark.parametrize(
    ("text", "canonical", "ipv6"),
    [
        ("tcp://127.0.0.1:5555", "tcp://127.0.0.1:5555", False),
        ("tcp://192.0.2.7:1", "tcp://192.0.2.7:1", False),
        ("tcp://[::1]:65535", "tcp://[::1]:65535", True),
        ("tcp://[0:0:0:0:0:0:0:1]:05555", "tcp://[::1]:5555", True),
        ("tcp://[FD00::A]:80", "tcp://[fd00::a]:80", True),
        ("tcp://[fe80::1%eth0]:80", "tcp://[fe80::1%eth0]:80", True),
    ],
)
def test_endpoint_is_read_and_written_in_one_way(text: str, canonical: str, ipv6: bool) -> None:
    endpoint = parse_endpoint(text)
    assert str(endpoint) == canonical
    assert endpoint.is_ipv6 is ipv6
    assert parse_endpoint(canonical) == endpoint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "form tcp://address:port"),
        ("127.0.0.1:5555", "form tcp://address:port"),
        ("ipc:///tmp/socket", "form tcp://address:port"),
        ("TCP://127.0.0.1:5555", "form tcp://address:port"),
        ("tcp://127.0.0.1:5555" + " " * 200, "form tcp://address:port"),
        ("tcp://127.0.0.1", "no port"),
        ("tcp://127.0.0.1:", "no port"),
        ("tcp://127.0.0.1:0", "no port"),
        ("tcp://127.0.0.1:65536", "no port"),
        ("tcp://127.0.0.1:-1", "no port"),
        ("tcp://127.0.0.1:*", "no port"),
        ("tcp://127.0.0.1:٣", "no port"),
        ("tcp://:5555", "not a numeric address"),
        ("tcp://localhost:5555", "not a numeric address"),
        ("tcp://127.0.0.1;127.0.0.2:5555", "not a numeric address"),
        ("tcp://*:5555", "not a numeric address"),
        ("tcp://0.0.0.0:5555", "not the address of one machine"),
        ("tcp://[::]:5555", "not the address of one machine"),
        ("tcp://224.0.0.251:5555", "not the address of one machine"),
        ("tcp://[ff02::fb]:5555", "not the address of one machine"),
        ("tcp://::1:5555", "brackets"),
        ("tcp://[127.0.0.1]:5555", "brackets"),
        ("tcp://[fe80::1%a b]:5555", "network interface"),
        ("tcp://[fe80::1%" + "a" * 16 + "]:5555", "network interface"),
    ],
)
def test_endpoint_that_cannot_be_dialled_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_endpoint(text)


def test_refusal_of_a_long_endpoint_is_short() -> None:
    with pytest.raises(ValueError, match="form") as caught:
        parse_endpoint("tcp://" + "1" * 1_000_000)
    assert len(str(caught.value)) < 300


def test_name_is_no_address() -> None:
    with pytest.raises(ValueError, match="'localhost' is not a numeric address"):
        parse_address("localhost")
