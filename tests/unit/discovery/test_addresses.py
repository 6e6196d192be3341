"""Where a node listens on hosts of all kinds, and what it tells the others to dial."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence

import pytest

from zmqagents.discovery.addresses import Host, resolved, this_host, to_bind, to_tell, told_as
from zmqagents.discovery.interfaces import Adapter, list_adapters
from zmqagents.errors import ConfigError

LO = Adapter("lo", 1, ("127.0.0.1", "::1"))
WLAN = Adapter("wlan0", 2, ("192.168.1.5", "fe80::5", "fd00::5"))
ETH = Adapter("eth0", 3, ("10.0.0.5", "fe80::6"))
DOCKER = Adapter("docker0", 4, ("172.17.0.1", "fe80::7"))
BARE = Adapter("eth1", 5, ("169.254.3.4", "fe80::8"))


def host(*adapters: Adapter, uplinks: Sequence[str] = (), unusable: Sequence[str] = ()) -> Host:
    return Host(adapters, lambda address: address not in unusable, uplinks)


class TestAll:
    def test_is_the_real_interfaces_with_that_of_the_default_route_first_and_ipv4_before_ipv6(self) -> None:
        there = host(LO, WLAN, ETH, DOCKER, uplinks=("10.0.0.5",))
        assert to_bind(("all",), there) == ("10.0.0.5", "192.168.1.5", "fd00::5", "127.0.0.1")

    def test_is_the_bridges_where_there_is_nothing_better(self) -> None:
        assert to_bind(("all",), host(LO, DOCKER, BARE)) == ("172.17.0.1", "127.0.0.1")

    def test_is_the_bare_cable_in_the_end(self) -> None:
        assert to_bind(("all",), host(LO, BARE)) == ("169.254.3.4", "127.0.0.1")

    def test_is_loopback_on_a_host_without_a_network(self) -> None:
        assert to_bind(("all",), host(LO)) == ("127.0.0.1",)

    def test_leaves_out_what_cannot_be_bound(self) -> None:
        assert to_bind(("all",), host(LO, WLAN, unusable=("fd00::5",))) == ("192.168.1.5", "127.0.0.1")


class TestNames:
    def test_interface_stands_for_its_addresses_without_link_local_ones_of_ipv6(self) -> None:
        assert to_bind(("wlan0", "loopback"), host(LO, WLAN)) == ("192.168.1.5", "fd00::5", "127.0.0.1")
        assert to_bind(("docker0", "eth0"), host(LO, ETH, DOCKER)) == ("172.17.0.1", "10.0.0.5")

    def test_addresses_are_taken_as_they_are(self) -> None:
        assert to_bind(("10.9.9.9", "::1"), host(LO)) == ("10.9.9.9", "::1")

    @pytest.mark.parametrize(
        ("listen", "bound"),
        [
            (("0.0.0.0", "127.0.0.1"), ("0.0.0.0",)),
            (("0.0.0.0", "::1"), ("0.0.0.0", "::1")),
            (("0.0.0.0", "::", "127.0.0.1", "::1"), ("::",)),
        ],
    )
    def test_wildcard_takes_the_place_of_what_it_includes(
        self, listen: tuple[str, ...], bound: tuple[str, ...]
    ) -> None:
        assert to_bind(listen, host(LO, ETH)) == bound

    def test_unknown_interface_is_a_config_error_that_lists_what_there_is(self) -> None:
        with pytest.raises(
            ConfigError, match=r"listen='eth9': this host has no such interface: write one of lo, eth0,"
        ):
            to_bind(("eth9",), host(LO, ETH))

    def test_interface_without_address_is_a_config_error(self) -> None:
        with pytest.raises(ConfigError, match="bring it up"):
            to_bind(("eth1",), host(LO, Adapter("eth1", 9, ("fe80::9",))))


class TestTold:
    def test_loopback_is_told_to_nobody_unless_there_is_nothing_else(self) -> None:
        both = ("tcp://10.0.0.5:7000", "tcp://127.0.0.1:7000", "tcp://[::1]:7000")
        assert to_tell(both, host(LO, ETH)) == both[:1]
        assert to_tell(both[1:], host(LO, ETH)) == both[1:]

    def test_wildcard_is_told_as_the_suitable_addresses_of_its_families(self) -> None:
        there = host(LO, WLAN, DOCKER)
        assert to_tell(("tcp://0.0.0.0:7000",), there) == ("tcp://192.168.1.5:7000",)
        assert to_tell(("tcp://[::]:7000",), there) == ("tcp://192.168.1.5:7000", "tcp://[fd00::5]:7000")

    def test_wildcard_on_a_host_without_a_network_is_told_as_loopback(self) -> None:
        assert to_tell(("tcp://0.0.0.0:7000",), host(LO)) == ("tcp://127.0.0.1:7000",)
        assert to_tell(("tcp://[::]:7000",), host(LO)) == ("tcp://127.0.0.1:7000", "tcp://[::1]:7000")

    def test_advertised_addresses_take_the_place_of_those_bound_with_their_port(self) -> None:
        bound = ("tcp://0.0.0.0:7000",)
        assert told_as(("203.0.113.7", "fd00::7"), bound, gossip=False) == (
            "tcp://203.0.113.7:7000",
            "tcp://[fd00::7]:7000",
        )

    @pytest.mark.parametrize("text", ["203.0.113.7:9000", "tcp://203.0.113.7:9000", " 203.0.113.7:9000 "])
    def test_advertised_port_is_one_of_data_alone(self, text: str) -> None:
        bound = ("tcp://0.0.0.0:7000",)
        assert told_as((text, "10.0.0.5"), bound, gossip=False) == ("tcp://203.0.113.7:9000", "tcp://10.0.0.5:7000")
        assert told_as((text, "10.0.0.5"), bound, gossip=True) == ("tcp://10.0.0.5:7000",)


async def test_names_are_looked_up_before_they_are_told() -> None:
    expected = {str(answer[4][0]) for answer in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)}
    assert set(await resolved(["localhost"])) == expected
    assert {text.rpartition(":")[2] for text in await resolved(["localhost:7000"])} == {"7000"}
    assert await resolved(["203.0.113.7:9000", "[fd00::7]:9000", "fd00::7"]) == (
        "203.0.113.7:9000",
        "[fd00::7]:9000",
        "fd00::7",
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no.such.name.invalid", "the name can't be looked up"),
        ("0.0.0.0", "nobody can dial that"),
        ("::", "nobody can dial that"),
        ("10.0.0.5:0", "write addresses or names that others can dial"),
        ("10.0.0.5:", "write addresses or names that others can dial"),
        ("http://10.0.0.5", "write addresses or names that others can dial"),
        ("", "write addresses or names that others can dial"),
    ],
)
async def test_what_nobody_can_dial_is_a_config_error(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        await resolved([text])


def test_this_host_can_bind_its_own_addresses_and_no_others() -> None:
    there = this_host(list_adapters())
    assert there.usable("127.0.0.1")
    assert not there.usable("203.0.113.77")
    assert "127.0.0.1" in to_bind(("all",), there)
