from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zmqagents.discovery import format_endpoint, parse_endpoint
from zmqagents.errors import ConfigError


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("tcp://127.0.0.1:5555", "127.0.0.1", 5555),
        ("tcp://[::1]:1", "::1", 1),
        ("tcp://[fe80::1%eth0]:65535", "fe80::1%eth0", 65535),
        ("tcp://worker-1.agents.svc.cluster.local.:80", "worker-1.agents.svc.cluster.local.", 80),
        ("tcp://büro:80", "büro", 80),
    ],
)
def test_endpoint_parses_and_formats_back(text: str, host: str, port: int) -> None:
    assert parse_endpoint(text) == (host, port)
    assert format_endpoint(host, port) == text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("host:5555", "write 'tcp://host:5555'"),
        ("host", "no scheme: write tcp://host:port"),
        ("", "no scheme"),
        ("ipc:///tmp/x", "only tcp is spoken"),
        ("http://host:80", "write 'tcp://host:80'"),
        ("tcp://host", "write 'tcp://host:5555', with its real port"),
        ("tcp://host:", "has no port"),
        ("tcp://[::1]", "has no port"),
        ("tcp://host:0", "a number from 1 to 65535"),
        ("tcp://host:65536", "a number from 1 to 65535"),
        ("tcp://host:\u0665", "a number from 1 to 65535"),
        ("tcp://host:5555/", "a number from 1 to 65535"),
        ("tcp://host:" + "1" * 5000, "a number from 1 to 65535"),
        ("tcp://::1:5555", "write 'tcp://[::1]:5555'"),
        ("tcp://a:b:5555", "IPv6 address without brackets"),
        ("tcp://[::1", "malformed after its bracket"),
        ("tcp://[::1]5555", "malformed after its bracket"),
        ("tcp://[10.0.0.1]:5555", "no IPv6 address"),
        ("tcp://*:5555", "names no host"),
        ("tcp://:5555", "no valid host name"),
        ("tcp://ho st:5555", "no valid host name"),
        ("tcp://a..b:5555", "no valid host name"),
        ("tcp://" + "a" * 64 + ":5555", "no valid host name"),
        ("tcp://" + "a." * 130 + "b:5555", "no valid host name"),
        ("tcp://300.1.1.1:5555", "looks like an IPv4 address"),
    ],
)
def test_endpoint_error_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_endpoint(text)
    assert says in str(raised.value)


@given(st.text())
def test_endpoint_of_any_text_parses_or_is_a_config_error(text: str) -> None:
    for endpoint in (text, f"tcp://{text}", f"tcp://{text}:1"):
        try:
            host, port = parse_endpoint(endpoint)
        except ConfigError:
            continue
        assert host
        assert 1 <= port <= 65535
