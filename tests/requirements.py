"""What a test needs of the machine: skips where it is missing, fails where nothing may be skipped.

A developer without nftables still gets a green run, and reads in its summary what was left out. Continuous integration
sets ``ZMQAGENTS_REQUIRE_ALL=1`` (``.ci/run`` does), so that there a missing part can't hide a test. Without that
variable, ``CI`` as most services set it means the same; ``ZMQAGENTS_REQUIRE_ALL=0`` turns both off.

::

    def test_cluster_heals_after_a_cut() -> None:
        require_root("to make network namespaces")
        nft = require_tool("nft")
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping

import pytest

_OFF = {"", "0", "false", "no"}


def all_required(environ: Mapping[str, str] | None = None) -> bool:
    """Whether a missing part is a failure in this environment."""
    environ = os.environ if environ is None else environ
    setting = environ.get("ZMQAGENTS_REQUIRE_ALL", environ.get("CI", ""))
    return setting.lower() not in _OFF


def require(present: object, reason: str) -> None:
    """Ends the test with ``reason`` if ``present`` is false: skipped, or failed where all is required."""
    if present:
        return
    if all_required():
        pytest.fail(f"{reason} (and ZMQAGENTS_REQUIRE_ALL or CI is set)", pytrace=False)
    pytest.skip(reason)


def require_tool(name: str) -> str:
    """The path of the program ``name``."""
    path = shutil.which(name)
    require(path, f"needs the program {name}")
    return path or ""


def require_root(purpose: str) -> None:
    """The test needs root; ``purpose`` completes "needs root ..."."""
    require(os.geteuid() == 0, f"needs root {purpose}")


def require_network_namespaces() -> None:
    """Root, iproute2, nftables, and a kernel that lets this process make network namespaces and drop packets there."""
    require_root("to make network namespaces")
    ip = require_tool("ip")
    nft = require_tool("nft")
    name = f"zmqa-{os.getpid()}-probe"
    made = subprocess.run([ip, "netns", "add", name], capture_output=True, check=False)
    require(made.returncode == 0, f"needs to make network namespaces ({made.stderr.decode().strip()})")
    try:
        table = [ip, "netns", "exec", name, nft, "add", "table", "inet", "probe"]
        added = subprocess.run(table, capture_output=True, check=False)
    finally:
        subprocess.run([ip, "netns", "del", name], capture_output=True, check=True)
    require(added.returncode == 0, f"needs nftables in the kernel ({added.stderr.decode().strip()})")
