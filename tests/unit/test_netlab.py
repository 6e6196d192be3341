"""The net lab's topologies and command line; what it makes is tested in tests/network."""

from __future__ import annotations

import ipaddress

import pytest

from tools.netlab_program.lab import Lab
from tools.netlab_program.main import describe, main, make_parser
from tools.netlab_program.shell import NetlabError
from tools.netlab_program.topologies import MAX_HOSTS, NAMES, Topology, flat, named, nat


@pytest.mark.parametrize("name", NAMES)
def test_topology_gives_each_node_addresses_of_its_own_on_networks_of_their_own(name: str) -> None:
    topology = named(name)
    addresses = [address for node in topology.nodes for port in node.ports for address in port.addresses]
    assert len(set(addresses)) == len(addresses)
    assert len(set(topology.names)) == len(topology.names)
    for network in topology.networks:
        on_it = [port for node in topology.nodes for port in node.ports if port.network == network]
        assert len({ipaddress.ip_interface(port.addresses[0]).network for port in on_it}) == 1
    for node in topology.nodes:
        if node.gateway is not None:
            assert any(address.startswith(f"{node.gateway}/") for address in addresses)


def test_flat_has_as_many_hosts_as_are_asked_for() -> None:
    assert named("flat", 5).names == ("a", "b", "c", "d", "e")
    assert len(set(named("flat", MAX_HOSTS).names)) == MAX_HOSTS


def test_unknown_host_is_an_error_that_lists_those_there_are() -> None:
    with pytest.raises(NetlabError, match="there is no host 'x' in flat: write one of a, b"):
        Lab("zmqa-none", flat(("a", "b"))).address("x")


def test_hosts_that_share_no_cable_cannot_be_cut() -> None:
    with pytest.raises(NetlabError, match="left1 and out1 are on no common network: name the router"):
        Lab("zmqa-none", nat()).cut("left1", "out1")


def test_description_names_hosts_routers_and_cuts() -> None:
    assert "NAT router" in describe(nat())
    assert "nothing of a arrives at b" in describe(named("cut"))


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["up"],
        ["up", "mesh"],
        ["up", "flat", "--hosts", "0"],
        ["down"],
        ["down", "nat", "--all"],
        ["cut", "nat", "a"],
    ],
    ids=" ".join,
)
def test_wrong_arguments_end_with_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert "tools/netlab" in capsys.readouterr().err


def test_help_shows_every_topology_and_examples() -> None:
    shown = make_parser().format_help()
    for name in NAMES:
        assert named(name).about in shown
    assert "examples:" in shown


def test_without_root_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["list"]) == 1
    assert "needs root: start it with sudo" in capsys.readouterr().err


def test_topology_without_cuts_has_none() -> None:
    assert Topology("t", "about", ()).cuts == ()
