"""Forwarders, and nodes that are nothing but a DEALER, for tests. What is started here ends with its block."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

import zmq
from zmq.utils import z85

from tests.integration.clusters import DEADLINE_S, eventually, new_name
from tests.integration.lines import Line
from tests.integration.processes import ROOT, Program
from zmqagents.forwarder import Forwarder, ForwarderSettings
from zmqagents.keys import curve_secret
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import GOSSIP_PREFIX, decode_envelope, encode_envelope
from zmqagents.protocol.ids import ANYONE, NodeId, make_node_id

MODULE = (sys.executable, "-m", "zmqagents.forwarder")

_LISTENS = re.compile(r"listens at (tcp://\S+:\d+)")
_HEALTH = re.compile(r"health at http://(\S+)/healthz")


class RawNode:
    """A DEALER that speaks to a forwarder, and what it has heard."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str, cluster: str, *, key: str | None = None
    ) -> None:
        self.node_id = make_node_id(os.urandom(16))
        self.cluster = cluster
        self.roster: set[NodeId] = set()
        self.rosters: list[f.Roster] = []
        self.byes: list[f.Bye] = []
        self.got: list[list[bytes]] = []
        """Messages of other nodes."""
        self.socket = context.socket(zmq.DEALER)
        for option, value in ((zmq.LINGER, 0), (zmq.ROUTING_ID, self.node_id), (zmq.RCVHWM, 100), (zmq.SNDHWM, 0)):
            self.socket.set(option, value)
        if key is not None:
            secret = z85.encode(curve_secret(key, cluster))
            self.socket.curve_publickey = self.socket.curve_serverkey = zmq.curve_public(secret)
            self.socket.curve_secretkey = secret
        self.socket.ipv6 = "[" in endpoint
        self.socket.connect(endpoint)

    def tell(self, *frames: f.Frame, to: NodeId = ANYONE) -> None:
        """Control frames to the forwarder."""
        self.socket.send_multipart(encode_envelope(f.Envelope(self.node_id, to, 0, 0, 0, 0, list(frames))))

    async def attach(self, deadline_s: float = DEADLINE_S) -> None:
        """Attach, and know who else is."""
        self.tell(f.Attach(1, 1, self.cluster, 7))
        await self.until(lambda: any(roster.token == 7 and roster.last for roster in self.rosters), deadline_s)

    def write(self, to: RawNode, payload: bytes = b"{}", number: int = 1) -> list[bytes]:
        """An envelope to another node; its parts."""
        frame = f.Reply(number, "Text", "application/json", payload)
        parts = [
            bytes(part) for part in encode_envelope(f.Envelope(self.node_id, to.node_id, 1, number, 0, 0, [frame]))
        ]
        self.socket.send_multipart(parts)
        return parts

    def hear(self) -> None:
        """Take what has come."""
        with contextlib.suppress(zmq.Again):
            while True:
                self._sort(self.socket.recv_multipart(zmq.NOBLOCK))

    async def until(self, condition: Callable[[], object], deadline_s: float = DEADLINE_S) -> None:
        """Return once the condition holds of what has been heard. AssertionError past the deadline."""

        def holds() -> object:
            self.hear()
            return condition()

        await eventually(holds, deadline_s)

    def _sort(self, parts: list[bytes]) -> None:
        envelope = decode_envelope(parts) if parts[0] != GOSSIP_PREFIX else None
        if envelope is None or envelope.first:
            self.got.append(parts)
            return
        for frame in envelope.frames:
            if isinstance(frame, f.Bye):
                self.byes.append(frame)
            elif isinstance(frame, f.Roster):
                self.rosters.append(frame)
                if frame.whole:
                    self.roster.clear()
                self.roster |= set(frame.attached)
                self.roster -= set(frame.gone)


class ForwarderProgram(Program):
    """A forwarder as a process of its own."""

    endpoint = ""
    health = ""

    async def started(self) -> None:
        """Return once it listens."""
        await self.log("listens at")
        [self.endpoint] = _LISTENS.findall(self.stderr)
        self.health = next(iter(_HEALTH.findall(self.stderr)), "")


class Lab:
    """Makes forwarders and raw nodes of one cluster."""

    def __init__(self) -> None:
        self.name = new_name()
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._forwarders: list[Forwarder] = []
        self._programs: list[ForwarderProgram] = []
        self._nodes: list[RawNode] = []

    async def forwarder(self, **settings: Any) -> Forwarder:
        """One in this process."""
        given: dict[str, Any] = {"bind": ("tcp://127.0.0.1:0",), "cluster": self.name, **settings}
        forwarder = Forwarder(ForwarderSettings(**given))
        self._forwarders.append(forwarder)
        await forwarder.start()
        return forwarder

    async def program(
        self,
        *arguments: str,
        command: Sequence[str] = MODULE,
        environment: Mapping[str, str] | None = None,
        bind: str = "tcp://127.0.0.1:0",
    ) -> ForwarderProgram:
        """One as a process, which listens."""
        process = await asyncio.create_subprocess_exec(
            *command,
            *("--bind", bind, "--cluster", self.name, *arguments),
            cwd=ROOT,
            env=clean_environment() if environment is None else dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        program = ForwarderProgram("forwarder", process)
        self._programs.append(program)
        await program.started()
        return program

    def node(
        self,
        forwarder: Forwarder | ForwarderProgram,
        *,
        key: str | None = None,
        place: int = 0,
        via: Line | None = None,
    ) -> RawNode:
        """A node that is about to attach, at the first or another of the forwarder's endpoints, or by a line to it."""
        endpoint = forwarder.endpoints[place] if isinstance(forwarder, Forwarder) else forwarder.endpoint
        if via is not None:
            endpoint = f"tcp://127.0.0.1:{via.port}"
        self._nodes.append(RawNode(self._context, endpoint, self.name, key=key))
        return self._nodes[-1]

    async def attached(self, forwarder: Forwarder | ForwarderProgram, *, key: str | None = None) -> RawNode:
        """A node that has attached."""
        node = self.node(forwarder, key=key)
        await node.attach()
        return node

    async def close(self) -> None:
        """End everything."""
        for node in self._nodes:
            node.socket.close()
        self._context.term()
        await asyncio.gather(*(forwarder.stop() for forwarder in self._forwarders))
        await asyncio.gather(*(program.end() for program in self._programs))


@contextlib.asynccontextmanager
async def new_lab() -> AsyncIterator[Lab]:
    """A lab that is empty again when the block is left."""
    made = Lab()
    try:
        yield made
    finally:
        await made.close()


def clean_environment() -> dict[str, str]:
    """The environment without settings of zmqagents."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("ZMQAGENTS_", "COVERAGE_"))}


async def get(address: str, path: str, method: str = "GET") -> tuple[int, str]:
    """Status and body of an HTTP answer."""

    def fetch() -> tuple[int, str]:
        request = urllib.request.Request(f"http://{address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    return await asyncio.to_thread(fetch)


async def metrics(address: str) -> dict[str, float]:
    """What the page of a forwarder says, by name without prefix, with labels."""
    _, page = await get(address, "/metrics")
    return dict(_samples(page))


def _samples(page: str) -> Iterator[tuple[str, float]]:
    for line in page.splitlines():
        if not line.startswith("#"):
            name, _, number = line.removeprefix("zmqagents_forwarder_").rpartition(" ")
            yield name, float(number)


def lines_of(program: Program) -> list[dict[str, Any]]:
    """The JSON lines of its log."""
    return [json.loads(line) for line in program.stderr.splitlines()]
