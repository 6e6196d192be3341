from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from zmqagents.discovery.interfaces import MAX_INTERFACES, Adapter, LocalAddress, choose, multicast_error
from zmqagents.errors import ConfigError

LO = Adapter("lo", 1, ("127.0.0.1", "127.0.0.2", "::1"))
ETH = Adapter("eth0", 2, ("10.0.0.5", "10.0.0.6", "fd00::5", "fe80::5"))
WLAN = Adapter("wlan0", 3, ("192.168.1.5",))
DOCKER = Adapter("docker0", 4, ("172.17.0.1",))
VETH = Adapter("veth12ab", 5, ("fe80::7",))
DOWN = Adapter("eth1", 6, ())
HOST = (LO, ETH, WLAN, DOCKER, VETH, DOWN)


def works(local: LocalAddress) -> OSError | None:
    return None


def fails_on(*addresses: str) -> Callable[[LocalAddress], OSError | None]:
    error = OSError(errno.ENETUNREACH, "Network is unreachable")
    return lambda local: error if local.address in addresses else None


def test_loopback_is_one_address_of_each_family() -> None:
    chosen = choose(("loopback",), HOST, works)
    assert chosen.addresses == (LocalAddress("lo", 1, "127.0.0.1"), LocalAddress("lo", 1, "::1"))


def test_ipv6_loopback_is_left_out_silently_when_it_carries_no_multicast() -> None:
    chosen = choose(("loopback",), HOST, fails_on("::1"))
    assert [one.address for one in chosen.addresses] == ["127.0.0.1"]
    assert chosen.broken == ()


def test_interface_is_reported_when_none_of_its_addresses_carries_multicast() -> None:
    chosen = choose(("lo", "eth0"), HOST, fails_on("127.0.0.1", "::1"))
    assert [one.address for one in chosen.addresses] == ["10.0.0.5", "fd00::5"]
    assert [name for name, _error in chosen.broken] == ["lo"]


@pytest.mark.parametrize(
    ("wanted", "addresses"),
    [
        (("eth0",), ["10.0.0.5", "fd00::5"]),
        (("10.0.0.6",), ["10.0.0.6"]),
        (("fe80::5%eth0", "fe80::5"), ["fe80::5"]),
        (("wlan0", "127.0.0.1", "wlan0"), ["192.168.1.5", "127.0.0.1"]),
        (("loopback", "wlan0"), ["127.0.0.1", "::1", "192.168.1.5"]),
    ],
)
def test_names_and_addresses_are_taken_as_given(wanted: tuple[str, ...], addresses: list[str]) -> None:
    assert [one.address for one in choose(wanted, HOST, works).addresses] == addresses


@pytest.mark.parametrize("wanted", ["eth9", "10.0.0.9"])
def test_unknown_interface_is_a_config_error_that_lists_what_there_is(wanted: str) -> None:
    with pytest.raises(ConfigError, match=r"wlan0 \(192\.168\.1\.5\)"):
        choose(("lo", wanted), HOST, works)


def test_all_beside_other_interfaces_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="'all' stands alone"):
        choose(("eth0", "all"), HOST, works)


def test_interface_without_address_is_a_config_error() -> None:
    with pytest.raises(ConfigError, match="bring it up"):
        choose(("eth1",), HOST, works)


def test_all_is_loopback_and_the_real_interfaces() -> None:
    chosen = choose(("all",), HOST, fails_on("::1"))
    assert [one.address for one in chosen.addresses] == ["127.0.0.1", "10.0.0.5", "fd00::5", "192.168.1.5"]


def test_all_takes_virtual_interfaces_when_nothing_better_works() -> None:
    chosen = choose(("all",), HOST, fails_on("10.0.0.5", "fd00::5", "192.168.1.5"))
    assert [one.interface for one in chosen.addresses] == ["lo", "lo", "docker0", "veth12ab"]


def test_all_on_a_host_with_fifty_bridges_stays_under_the_cap() -> None:
    bridges = [Adapter(f"br-{n:012x}", n + 10, (f"172.18.{n}.1",)) for n in range(50)]
    chosen = choose(("all",), [LO, *bridges], works)
    assert len(chosen.addresses) == 2 + MAX_INTERFACES
    assert len(chosen.over_cap) == 50 - MAX_INTERFACES
    assert len(choose(("all",), [LO, ETH, *bridges], works).addresses) == 4


def test_multicast_error_is_the_systems_reason_when_an_address_is_not_here() -> None:
    assert multicast_error(LocalAddress("lo", 1, "127.0.0.1")) is None
    assert multicast_error(LocalAddress("eth0", 2, "203.0.113.77")) is not None
    assert multicast_error(LocalAddress("eth0", 2, "2001:db8::77")) is not None
