from __future__ import annotations

import subprocess
import sys

import pytest

from zmqagents import discovery


def test_discovery_imports_neither_zeroconf_nor_autogen_until_mdns_is_asked_for() -> None:
    program = """
import sys
import zmqagents.discovery as discovery
assert not {"zeroconf", "ifaddr", "autogen_core"} & set(sys.modules), sorted(sys.modules)
discovery.MdnsDiscovery()
assert "zeroconf" in sys.modules
assert "autogen_core" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_discovery_exports_what_it_lists() -> None:
    for name in discovery.__all__:
        assert getattr(discovery, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        discovery.nothing  # noqa: B018
