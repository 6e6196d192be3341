"""A process with one ZeroMQ transport, for the fault tests: ``python -m tests.integration.zeromq_peer OPTIONS``.

Prints where it listens, as JSON, and answers every message with the same parts, except for orders:
``busy SECONDS`` holds the GIL that long, ``dial ENDPOINT`` opens a path, ``fork`` uses the transport in a forked child.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable

from tests.contract.transports import Recorder
from zmqagents.errors import ForkedProcessError
from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import PathId
from zmqagents.transport.base import TransportOptions
from zmqagents.transport.zeromq import ZeroMqTransport

NODE_ID = b"peer".ljust(16, b".")


class Peer(Recorder):
    def __init__(self, options: TransportOptions) -> None:
        super().__init__()
        self.transport = ZeroMqTransport()
        self.bound = self.transport.bind(NODE_ID, options, self)

    def on_message(self, path: PathId, parts: list[Part]) -> None:
        order, _, argument = bytes(parts[0]).partition(b" ")
        if order == b"busy":
            hold_the_gil(float(argument))
            parts = [b"was busy"]
        elif order == b"dial":
            self.transport.open_path(1, argument.decode())
        elif order == b"fork":
            parts = [b"child", use_in_child(self.uses(path)).encode()]
        self.transport.send(path, parts)

    def uses(self, path: PathId) -> list[Callable[[], object]]:
        """Everything that can be done with a transport."""
        transport = self.transport
        return [
            lambda: transport.send(path, [b"from the child"]),
            lambda: transport.send(1, [b"from the child"]),
            lambda: transport.open_path(2, "tcp://127.0.0.1:9"),
            lambda: transport.close_path(1),
            lambda: transport.subscribe("tcp://127.0.0.1:9"),
            lambda: transport.unsubscribe("tcp://127.0.0.1:9"),
            lambda: transport.publish([b"zmqagents/1", b"from the child"]),
            lambda: transport.bind(NODE_ID, TransportOptions(), self),
            lambda: transport.close().send(None),
        ]


def hold_the_gil(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        sum(range(2_000_000))  # one bytecode, some 20 ms: other Python threads hardly get a turn


def use_in_child(uses: list[Callable[[], object]]) -> str:
    """Do everything in a forked child; what it says of that, or how it ended."""
    context = multiprocessing.get_context("fork")
    here, there = context.Pipe()
    child = context.Process(target=_try_all, args=(uses, there))
    child.start()
    said = str(here.recv()) if here.poll(5) else "nothing"
    child.join(5)
    return f"{said}, exit code {child.exitcode}"


def _try_all(uses: list[Callable[[], object]], pipe: object) -> None:
    refused = 0
    for use in uses:
        with contextlib.suppress(ForkedProcessError):
            use()
            continue
        refused += 1
    gc.collect()
    pipe.send(f"{refused} of {len(uses)} refused")  # type: ignore[attr-defined]


def fork_and_exit(options: TransportOptions) -> None:
    """Fork with a transport that is in use, and let the child run through the whole end of the interpreter."""
    loop = asyncio.new_event_loop()

    async def start() -> Peer:
        peer = Peer(options)
        peer.transport.open_path(1, peer.bound.endpoints[0])
        await peer.saw("up", 1)
        return peer

    peer = loop.run_until_complete(start())
    child = os.fork()
    if child == 0:
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    sys.stdout.write(f"child exited with {os.waitstatus_to_exitcode(status)}\n")
    loop.run_until_complete(peer.transport.close())
    loop.close()


async def serve(options: TransportOptions) -> None:
    peer = Peer(options)
    sys.stdout.write(json.dumps([peer.bound.endpoints, peer.bound.gossip_endpoints]) + "\n")
    sys.stdout.flush()
    await asyncio.Event().wait()


if __name__ == "__main__":
    given = TransportOptions(**json.loads(sys.argv[1]))
    if sys.argv[2:] == ["fork and exit"]:
        fork_and_exit(given)
    else:
        asyncio.run(serve(given))
