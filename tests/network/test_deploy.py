"""The manifests of examples/deploy on a network of hosts, which are the pods: nothing in them is replaced.

Each pod has an address of its own and the ports that the manifest says; the names of Services resolve to the addresses
of all pods behind them; the key is mounted where the manifest has it; the root file system is read-only, and the
process has no capabilities. Not so here: it runs as root, because the tests' own Python may be root's alone.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, FROM_METADATA_NAME, Container, Probe, manifest_containers
from tests.deploy.pods import Site, new_site
from tests.deploy.stories import meet_at_forwarders, meet_without_forwarders
from tests.network.namespaces import Lab, lan
from tests.requirements import require_tool

pytestmark = [pytest.mark.network, pytest.mark.integration]

HOSTS = ("a", "b", "c", "d", "e")

# In a mount namespace of its own; $1 is the key's file, $2 where it is mounted, $3 the names.
CONFINE = """
set -e
mount --bind "$3" /etc/hosts
mount -t tmpfs -o mode=0755 tmpfs /run
mkdir -p "$(dirname "$2")"
cp "$1" "$2"
chmod 0400 "$2"
mount -o remount,ro /run
mount -o remount,bind,ro /
shift 3
exec setpriv --inh-caps=-all --bounding-set=-all --no-new-privs "$@"
"""

# Prints the status and the body of an HTTP answer; 0 if there is none.
FETCH = """
import sys, urllib.error, urllib.request
try:
    with urllib.request.urlopen(sys.argv[1], timeout=5) as answer:
        print(answer.status, answer.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, error.read().decode())
except OSError:
    print(0, "")
"""


class NetworkSite(Site):
    """Pods are hosts of a lab."""

    def __init__(self, folder: Path, net: Lab) -> None:
        super().__init__(folder)
        self._net = net
        self._free = list(HOSTS)
        self._hosts: dict[str, str] = {}
        self._names = folder / "hosts"

    def port(self, number: int) -> int:
        """The same."""
        return number

    def give(self, name: str, count: int) -> list[str]:
        """Those of the next hosts; pods that start from now on know the name."""
        for _ in range(count):
            host = self._free.pop(0)
            self._hosts[self._net.address(host)] = host
            self.names.setdefault(name, []).append(self._net.address(host))
        known = [f"{address} {one}\n" for one, addresses in self.names.items() for address in addresses]
        self._names.write_text("127.0.0.1 localhost\n" + "".join(known))
        return self.names[name]

    def fitted(self, text: str, address: str) -> str:
        """The same."""
        return text

    def environment(self, container: Container, address: str, name: str) -> dict[str, str]:
        """What the manifest says."""
        return {
            variable: name if value == FROM_METADATA_NAME else value
            for variable, value in container.environment.items()
        }

    def prefix(self, container: Container, address: str) -> list[str]:
        """On the pod's host, confined."""
        confined = ["unshare", "--mount", "sh", "-c", CONFINE, "sh", str(self.key), container.key_file]
        return [*self._net.inside(self._hosts[address]), *confined, str(self._names)]

    async def get(self, address: str, probe: Probe) -> tuple[int, str]:
        """From the pod's host."""
        command = [*self._net.inside(self._hosts[address]), str(self.place.commands / "python"), "-c", FETCH]
        done = await asyncio.to_thread(
            subprocess.run,
            [*command, f"http://{address}:{probe.port}{probe.path}"],
            capture_output=True,
            text=True,
            check=True,
            timeout=20,
        )
        status, _, body = done.stdout.partition(" ")
        return int(status), body


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[NetworkSite]:
    require_tool("unshare")
    require_tool("setpriv")
    with lan(*HOSTS) as net:
        async with new_site(NetworkSite(tmp_path, net)) as made:
            yield made


@pytest.mark.parametrize("story", [meet_at_forwarders, meet_without_forwarders])
async def test_manifests_work_as_they_are(site: NetworkSite, story: Callable[[Site], Awaitable[None]]) -> None:
    await story(site)


async def test_pod_of_the_lab_can_write_nothing_to_its_root_file_system(site: NetworkSite) -> None:
    [container] = manifest_containers(DEPLOY / "kubernetes" / "forwarder.yaml")
    [address] = site.give("forwarder", 1)
    writing = ("python", "-c", "open('/written', 'w')")
    process = await site.run(container, writing, address, "forwarder-0")
    _, stderr = await process.communicate()
    assert b"Read-only file system" in stderr
