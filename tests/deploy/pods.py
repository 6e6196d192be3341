"""Runs the containers of examples/deploy as processes of this machine: their commands, with their environments.

Each has a loopback address of its own, as a pod has one. What stands in for the engine's work is all that is changed in
a command or a variable: ``0.0.0.0`` becomes that address, ports become free ones, names of Services become addresses,
the mounted key's place becomes a file of the test, and ``metadata.name`` the pod's name.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import TypeVar

from tests.deploy.files import FROM_METADATA_NAME, Container, Probe
from tests.deploy.images import made
from tests.integration.processes import DEADLINE_S, Program
from zmqagents.keys import make_key

SomeSite = TypeVar("SomeSite", bound="Site")

_PROBE_S = 5.0
_EVERY_S = 0.1  # between two asks of a probe


class TextProgram(Program):
    """A program that prints lines of text."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.lines: list[str] = []
        super().__init__(name, process)

    async def _read_reports(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.lines.append(line.decode().rstrip("\n"))


class Pod:
    """One container that runs, and the address that it has."""

    def __init__(self, site: Site, container: Container, address: str, program: TextProgram) -> None:
        self.container = container
        self.address = address
        self.program = program
        self._site = site

    async def get(self, probe: Probe) -> tuple[int, str]:
        """Status and body of an HTTP probe; 0 if nobody answers."""
        return await self._site.get(self.address, probe)

    async def passes(self, probe: Probe) -> bool:
        """Whether the probe is content."""
        if probe.command:
            process = await self._site.run(self.container, probe.command, self.address, self.container.name)
            await asyncio.wait_for(process.communicate(), DEADLINE_S)
            return process.returncode == 0
        status, _ = await self.get(probe)
        return 200 <= status < 400  # as Kubernetes judges

    async def ready(self) -> None:
        """Return once its first probe, which is for readiness, passes. AssertionError if it doesn't."""
        await self.until(self.container.probes[0])

    async def until(self, probe: Probe) -> None:
        """Return once the probe passes. AssertionError if it doesn't."""
        loop = asyncio.get_running_loop()
        until = loop.time() + DEADLINE_S
        while not await self.passes(probe):
            assert loop.time() < until, f"{self.container} fails {probe}:\n{self.program.stderr}"
            await asyncio.sleep(_EVERY_S)


class Site:
    """Where pods run, and the names that they know."""

    def __init__(self, folder: Path) -> None:
        self.names: dict[str, list[str]] = {}
        """The addresses of each Service (Kubernetes) or service (Compose)."""
        self.place = made()
        self.key = folder / "cluster.key"
        self.key.write_text(make_key())
        self.key.chmod(0o400)
        self._ports: dict[int, int] = {}
        self._pods: list[Pod] = []

    def port(self, number: int) -> int:
        """The free port that stands for this one, on all addresses."""
        while number not in self._ports:
            with socket.socket() as probe:
                probe.bind(("0.0.0.0", 0))
                free: int = probe.getsockname()[1]
            if free not in self._ports.values():
                self._ports[number] = free
        return self._ports[number]

    def give(self, name: str, count: int) -> list[str]:
        """Addresses for so many pods behind a name."""
        self.names[name] = [f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{n + 2}" for n in range(count)]
        return self.names[name]

    async def get(self, address: str, probe: Probe) -> tuple[int, str]:
        """Status and body of an HTTP probe of the pod with that address; 0 if nobody answers."""
        url = f"http://{address}:{self.port(probe.port)}{probe.path}"

        def fetch() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(url, timeout=_PROBE_S) as answer:
                    return answer.status, answer.read().decode()
            except urllib.error.HTTPError as error:
                return error.code, error.read().decode()
            except OSError:
                return 0, ""

        return await asyncio.to_thread(fetch)

    async def start(self, container: Container, address: str, name: str) -> Pod:
        """Run it as the pod of that name."""
        process = await self.run(container, container.command, address, name)
        self._pods.append(Pod(self, container, address, TextProgram(name, process)))
        return self._pods[-1]

    async def finish(self, container: Container, address: str, name: str) -> list[str]:
        """Run it until it ends by itself, with 0; the lines that it has printed."""
        pod = await self.start(container, address, name)
        code = await pod.program.exit_code()
        assert code == 0, f"{container} ended with {code}:\n{pod.program.stderr}"
        self._pods.remove(pod)
        return pod.program.lines

    async def run(
        self, container: Container, command: Sequence[str], address: str, name: str
    ) -> asyncio.subprocess.Process:
        """A command in the container's surroundings."""
        first, *rest = (self.fitted(word, address) for word in command)
        return await asyncio.create_subprocess_exec(
            *self.prefix(container, address),
            self.place.commands / first,
            *rest,
            cwd=self.place.folders[container.image.file.name],
            env={
                "PATH": f"{self.place.commands}:{os.environ['PATH']}",
                "HOME": "/nonexistent",
                **self.environment(container, address, name),
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def prefix(self, container: Container, address: str) -> list[str]:
        """The command before each command."""
        return []

    def environment(self, container: Container, address: str, name: str) -> dict[str, str]:
        """The container's environment as it has to be here."""
        named = {variable: name for variable, value in container.environment.items() if value == FROM_METADATA_NAME}
        given = {variable: self.fitted(value, address) for variable, value in container.environment.items()} | named
        given["ZMQAGENTS_CLUSTER_KEY_FILE"] = str(self.key)
        for variable in ("ZMQAGENTS_PORT", "ZMQAGENTS_GOSSIP_PORT"):
            if variable in given:
                given[variable] = str(self.port(int(given[variable])))
        if not container.is_forwarder:
            given["ZMQAGENTS_LISTEN"] = address  # a pod has no other
        return given

    def fitted(self, text: str, address: str) -> str:
        """The text with addresses and ports of this machine."""
        text = re.sub(r"\b(?:0\.0\.0\.0|127\.0\.0\.1):(\d+)", lambda m: f"{address}:{self.port(int(m[1]))}", text)
        return re.sub(r"tcp://([a-z][\w-]*):(\d+)", self._looked_up, text)

    def _looked_up(self, found: re.Match[str]) -> str:
        return ",".join(f"tcp://{address}:{self.port(int(found[2]))}" for address in self.names[found[1]])

    async def stop(self) -> None:
        """SIGTERM to all at once; each has to end with 0 within its grace period."""
        for pod in self._pods:
            pod.program.signal(signal.SIGTERM)
        for pod in self._pods:
            code = await pod.program.exit_code(pod.container.grace_s)
            assert code == 0, f"{pod.container} ended with {code}:\n{pod.program.stderr}"

    async def end(self) -> None:
        """Kill what still runs."""
        await asyncio.gather(*(pod.program.end() for pod in self._pods))


@contextlib.asynccontextmanager
async def new_site(site: SomeSite) -> AsyncIterator[SomeSite]:
    """The site, of which nothing runs any more when the block is left."""
    try:
        yield site
    finally:
        await site.end()
