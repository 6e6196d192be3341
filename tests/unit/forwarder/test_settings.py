"""What the forwarder takes as settings, and what it says of others."""

from __future__ import annotations

import pytest

from zmqagents.errors import ConfigError
from zmqagents.forwarder.settings import ForwarderSettings, parse_bind, parse_health
from zmqagents.keys import curve_secret, make_key

KEY, OTHER = make_key(), make_key()


@pytest.mark.parametrize(
    "endpoint", ["tcp://0.0.0.0:50051", "tcp://127.0.0.1:0", "tcp://[::]:1", "tcp://[::1]:65535", "tcp://10.0.0.1:80"]
)
def test_endpoint_of_a_numeric_address_is_taken(endpoint: str) -> None:
    address, port = parse_bind(endpoint)
    assert endpoint.endswith(f":{port}")
    assert str(address) in endpoint


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "tcp://",
        "0.0.0.0:5",
        "tcp://*:5",
        "tcp://localhost:5",
        "tcp://1.2.3.4",
        "tcp://1.2.3.4:70000",
        "tcp://::1:5",
        "tcp://[1.2.3.4]:5",
        "ipc://x:5",
        "tcp://1.2.3.4:-1",
        "tcp://224.0.0.1:5",
        "tcp://1.2.3.4:٣",
        "x" * 10_000,
    ],
)
def test_other_endpoint_is_an_error_that_says_what_to_write(endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"--bind.*tcp://0\.0\.0\.0:50051") as caught:
        ForwarderSettings(bind=(endpoint,))
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("text", ["", "8080", "localhost:8080", "127.0.0.1:x", "127.0.0.1"])
def test_health_address_is_numeric(text: str) -> None:
    with pytest.raises(ConfigError, match="--health"):
        ForwarderSettings(health=text)
    assert parse_health("[::1]:8080") == ("::1", 8080)


def test_beyond_loopback_needs_a_key_or_the_word() -> None:
    for bind in ("tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://192.168.0.1:1"):
        with pytest.raises(ConfigError, match="keygen"):
            ForwarderSettings(bind=("tcp://127.0.0.1:1", bind))
        ForwarderSettings(bind=(bind,), cluster_key=KEY)
        ForwarderSettings(bind=(bind,), insecure_lan=True)


def test_keys_are_checked_and_not_shown() -> None:
    with pytest.raises(ConfigError, match="cluster key"):
        ForwarderSettings(cluster_key=KEY[:-1])
    with pytest.raises(ConfigError, match="set both"):
        ForwarderSettings(other_cluster_key=OTHER)
    settings = ForwarderSettings(cluster="c", cluster_key=KEY, other_cluster_key=OTHER)
    assert settings.curve_secrets() == (curve_secret(KEY, "c"), curve_secret(OTHER, "c"))
    assert KEY not in repr(settings)
    assert OTHER not in repr(settings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cluster", ""),
        ("cluster", "x" * 256),
        ("max_peers", 0),
        ("max_peers", 65_537),
        ("drain_s", -1.0),
        ("drain_s", float("nan")),
        ("bind", ()),
    ],
)
def test_value_out_of_range_is_an_error(name: str, value: object) -> None:
    with pytest.raises(ConfigError, match="--"):
        ForwarderSettings(**{name: value})  # type: ignore[arg-type]  # what a user may write
