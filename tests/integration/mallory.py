"""A program that speaks to nodes with raw sockets, and breaks the rules."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator, Sequence

import msgpack
import zmq

from tests.integration.clusters import endpoint_of, eventually, node_of
from zmqagents import ZmqAgentRuntime
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import GOSSIP_PREFIX, Delta, Heartbeat, encode_envelope, encode_gossip, pack_records
from zmqagents.protocol.ids import make_node_id
from zmqagents.protocol.records import Phase, Record, encode_record

INSTANCE_ID = "mallory"


class Mallory:
    """Raw sockets towards one runtime: a DEALER to its ROUTER, and an XPUB that it subscribes to once greeted."""

    def __init__(self, target: ZmqAgentRuntime, *, routing_id: bytes | None = None) -> None:
        self.node_id = make_node_id(os.urandom(16))
        self._target = target
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._dealer = self._context.socket(zmq.DEALER)
        if routing_id != b"":
            self._dealer.set(zmq.ROUTING_ID, routing_id or self.node_id)
        self._dealer.set(zmq.LINGER, 0)
        self._dealer.connect(endpoint_of(target))
        self._gossip = self._context.socket(zmq.XPUB)
        self._gossip.set(zmq.LINGER, 0)
        self._gossip_port = self._gossip.bind_to_random_port("tcp://127.0.0.1")
        self.sent = 0

    def close(self) -> None:
        self._context.destroy(0)

    def send(self, parts: Sequence[bytes]) -> None:
        """One message to the ROUTER."""
        self._dealer.send_multipart(list(parts))
        self.sent += 1

    def publish(self, parts: Sequence[bytes]) -> None:
        """One message to whoever has subscribed to our gossip."""
        self._gossip.send_multipart(list(parts))
        self.sent += 1

    def envelope(self, *frames: f.Frame, first: int = 0, session: int = 1) -> list[bytes]:
        """A legal envelope to the target."""
        target = node_of(self._target)
        peer = target.state.peers.get(self.node_id)
        known = peer.link.session if peer is not None and first else 0
        envelope = f.Envelope(self.node_id, target.node_id, session, first, known, 0, list(frames))
        return [bytes(part) for part in encode_envelope(envelope)]

    def record(self, version: int = 1) -> bytes:
        """A legal record of ours."""
        return encode_record(
            Record(
                node_id=self.node_id,
                version=version,
                phase=Phase.ACTIVE,
                instance_id=INSTANCE_ID,
                cluster=self._target.config.cluster,
                endpoints=(f"tcp://127.0.0.1:{self._gossip_port}",),
                gossip_endpoints=(f"tcp://127.0.0.1:{self._gossip_port}",),
                protocol=(1, 1),
                types={},
                pinned=frozenset(),
                subscriptions={},
                readable={},
                load=0,
            )
        )

    def hello(self) -> list[bytes]:
        """A legal greeting."""
        return self.envelope(f.Hello(1, 1, [], self._target.config.cluster, 0, self.record()))

    async def greet(self) -> None:
        """Become a member as far as the target is concerned, whose gossip it reads."""
        self._dealer.send_multipart(self.hello())
        await eventually(lambda: node_of(self._target).membership.get(self.node_id) is not None)
        await eventually(lambda: self._gossip.poll(0))
        assert self._gossip.recv() == b"\x01" + GOSSIP_PREFIX


def truncated(parts: Sequence[bytes]) -> Iterator[list[bytes]]:
    """Every way to cut the first part short, and to leave the last parts out."""
    yield from ([parts[0][:length], *parts[1:]] for length in range(len(parts[0])))
    yield from (list(parts[:count]) for count in range(1, len(parts)))


def random_bytes(count: int) -> Iterator[list[bytes]]:
    """Messages of random parts, the same in every run."""
    source = random.Random(20_240_229)
    for _ in range(count):
        yield [source.randbytes(source.randrange(200)) for _ in range(source.randrange(1, 5))]


def nested(depth: int = 10_000) -> Iterator[list[bytes]]:
    """Arrays and maps in each other, as msgpack: bare, as a header's field, and as a frame's."""
    yield [b"\x91" * depth]
    yield [b"\x81\xa1a" * depth]
    yield [b"\x98" + b"\x91" * depth]
    yield [b"\xdd\xff\xff\xff\xff" * 100]


def oversized(legal: Sequence[bytes]) -> Iterator[list[bytes]]:
    """More of everything than SPEC.md section 10 allows, short of what the transport itself refuses."""
    yield [b"\xc4" * (1_100_000)]
    yield [msgpack.packb([1, b"\x01" * 16, b"\x02" * 16, 0, 0, 0, 0, [[4, 1, 1]] * 1_025])]
    yield [legal[0], *[b"x"] * 1_090]


def bad_gossip(mallory: Mallory) -> Iterator[list[bytes]]:
    """What a member may not publish."""
    source = mallory.node_id
    yield [GOSSIP_PREFIX]
    yield [GOSSIP_PREFIX, b""]
    yield [GOSSIP_PREFIX + b"garbage", b"\x90"]
    yield from ([GOSSIP_PREFIX, *parts] for parts in truncated(encode_gossip(Heartbeat(source, 1, 1, b"x" * 8, 0))[1:]))
    yield from ([GOSSIP_PREFIX, *parts] for parts in truncated(encode_gossip(Delta(source, [mallory.record(2)]))[1:]))
    yield from ([GOSSIP_PREFIX, *parts] for parts in nested())
    yield from ([GOSSIP_PREFIX, *parts] for parts in random_bytes(50))
    yield [GOSSIP_PREFIX, encode_gossip(Delta(source, []))[1], b"\x91" * 10_000]
    yield [GOSSIP_PREFIX, encode_gossip(Delta(source, []))[1], pack_records([b"\x81" * 5_000])]
    yield [GOSSIP_PREFIX, encode_gossip(Delta(source, []))[1], pack_records([b"x" * (5 << 20)])]
    yield [GOSSIP_PREFIX, msgpack.packb([3, source])]
