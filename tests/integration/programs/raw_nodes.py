"""Many nodes in one process, each nothing but a DEALER that has attached to a forwarder and then reads nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource

import zmq

from tests.integration.programs.reporting import SETTINGS, Commands, report
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import encode_envelope
from zmqagents.protocol.ids import ANYONE, make_node_id


async def main() -> None:
    commands = Commands()
    count = SETTINGS["count"]
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    context.set(zmq.MAX_SOCKETS, count + 10)
    nodes = []
    for _ in range(count):
        node_id = make_node_id(os.urandom(16))
        node = context.socket(zmq.DEALER)
        node.set(zmq.LINGER, 0)
        node.set(zmq.ROUTING_ID, node_id)
        node.connect(SETTINGS["endpoint"])
        attach = f.Attach(1, 1, SETTINGS["cluster"], 1)
        node.send_multipart(encode_envelope(f.Envelope(node_id, ANYONE, 0, 0, 0, 0, [attach])))
        nodes.append(node)
    for node in nodes:
        await asyncio.to_thread(node.poll)  # nobody else uses it meanwhile
    report("attached")
    await commands.next()
    for node in nodes:
        node.close()
    context.term()


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
