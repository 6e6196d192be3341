"""The life of a runtime in its cluster: sockets, discovery, joining and leaving; and who else is there."""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from zmqagents.config import RuntimeConfig
from zmqagents.discovery import Advertisement, CombinedDiscovery, Discovery, Sighting, StaticDiscovery
from zmqagents.discovery.addresses import this_host, to_bind, to_tell, told_as
from zmqagents.discovery.interfaces import list_adapters
from zmqagents.protocol.greeting import VERSIONS
from zmqagents.protocol.ids import make_node_id
from zmqagents.protocol.node import Node
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import Phase, Record
from zmqagents.protocol.state import NodeLimits
from zmqagents.transport.base import Bound, Transport, TransportOptions
from zmqagents.transport.driver import Application, Driver
from zmqagents.transport.zeromq import ZeroMqTransport

logger = logging.getLogger("zmqagents")


@dataclass(frozen=True, slots=True)
class HostedAgents:
    """An agent type that a process hosts."""

    type: str
    policy: str
    weight: int


@dataclass(frozen=True, slots=True)
class PeerInfo:
    """Another process of the cluster."""

    instance_id: str
    node_id: str
    """32 hexadecimal digits, new in each life of a process."""
    endpoint: str
    """Where it is dialled: ``tcp://host:port``."""
    agent_types: tuple[str, ...]
    """What it hosts, sorted."""
    source: str
    """Who showed it: ``"mdns"``, ``"seed"``, ``"gossip"`` for another process, ``"greeting"`` for itself, or
    ``"forwarder"``."""
    connected: bool
    """Whether there is a connection on which calls reach it now; otherwise one is made by the first call."""
    state: str
    """How it stands with this process: ``"up"``; ``"busy"``, connected, but its program has not been heard for three
    heartbeats; ``"suspected"``, others are being asked whether it is dead; ``"unreachable"``, others have a connection
    with it and this process can't get one; ``"known"``, no connection, or none yet.
    """
    path: str
    """How calls reach it now: ``"direct"``, on a connection that this process has dialled; ``"accepted"``, on its own
    to this process; ``"forwarded"``, by a forwarder; ``"none"``.
    """
    forwarder: str
    """Where that forwarder is, if the path is ``"forwarded"``; else empty."""
    endpoints: tuple[str, ...]
    """All addresses that it gives, best first."""
    gossip_endpoints: tuple[str, ...]
    """Where its gossip is heard."""
    hosted: tuple[HostedAgents, ...]
    """How it hosts the types, by name."""
    pinned: tuple[str, ...]
    """``type/key`` of the agents that are pinned to it, sorted."""
    reads: Mapping[str, tuple[str, ...]] = field(hash=False)
    """The message types that it says it reads, and their content types, best first."""
    protocol: tuple[int, int]
    """The lowest and the highest version of the protocol that it speaks."""
    load: int
    """The calls that it was serving when it last said so."""
    max_message_bytes: int
    """The largest message that it reads; 0 if it doesn't say."""
    started_ms: int
    """When it started, by its own clock: milliseconds since 1970; 0 if it doesn't say."""


class Cluster:
    """One life of one process in its cluster."""

    def __init__(self, config: RuntimeConfig, transport: Transport | None = None) -> None:
        self._config = config
        self._transport = transport or ZeroMqTransport()
        self._discovery: Discovery = CombinedDiscovery(())
        self._forwarders: Discovery = CombinedDiscovery(())
        self._sources: dict[bytes, str] = {}
        self._node_id = make_node_id(secrets.token_bytes(16))
        self._started_ms = int(time.time() * 1_000)
        self._host = this_host(list_adapters())
        self.driver = Driver(self._transport, self._open)

    def _open(self, driver: Driver) -> Node:
        config = self._config
        options = TransportOptions(
            listen=to_bind(config.listen, self._host),
            port=config.port,
            gossip_port=config.gossip_port,
            max_part_bytes=config.max_message_bytes + (1 << 16),
            zmtp_heartbeat_ms=max(int(config.zmtp_heartbeat_s * 1_000), 1),
            zmtp_timeout_ms=max(int(config.zmtp_heartbeat_s * 1_000), 1),
            curve_secrets=config.curve_secrets(),
        )
        bound = self._transport.bind(self._node_id, options, driver)
        limits = NodeLimits(max_payload_bytes=config.max_message_bytes, heartbeat_s=config.heartbeat_s)
        return Node(self._record(bound), limits, now_s=driver.now_s)

    def _record(self, bound: Bound) -> Record:
        return Record(
            node_id=self._node_id,
            version=1,
            phase=Phase.JOINING,
            instance_id=self._config.instance_id,
            cluster=self._config.cluster,
            endpoints=self._told(bound.endpoints, gossip=False),
            gossip_endpoints=self._told(bound.gossip_endpoints, gossip=True),
            protocol=VERSIONS,
            types={},
            pinned=frozenset(),
            subscriptions={},
            readable={},
            load=0,
            max_payload_bytes=self._config.max_message_bytes,
            started_ms=self._started_ms,
        )

    def _told(self, bound: tuple[str, ...], *, gossip: bool) -> tuple[str, ...]:
        if self._config.advertise:
            return told_as(self._config.advertise, bound, gossip=gossip)
        return to_tell(bound, self._host)

    async def join(self, application: Application) -> None:
        """Find the others, and return once they have told what they know; then this process is a full member."""
        driver, node = self.driver, self.driver.node
        self._warn_if_exposed()
        driver.attach(application)
        own = Advertisement(self._config.cluster, node.node_id, self._config.instance_id, node.record.endpoints)
        self._discovery = self._make_discovery()
        self._forwarders = StaticDiscovery(self._config.forwarders(), what="forwarder")
        await self._discovery.start(own, self._sighted)
        await self._forwarders.start(own, self._forwarder_named)
        await self._discovery.settled()
        await self._forwarders.settled()
        await self._wait_for_the_others()
        self._warn_of_missing(node)
        node.publish_record(replace(node.record, phase=Phase.ACTIVE))
        driver.perform()

    async def _wait_for_the_others(self) -> None:
        """Until they have told what they know, or have had ``join_timeout_s``, in which this process was there to read.

        One that were a full member before would make agents anew that others have.
        """
        driver, loop = self.driver, asyncio.get_running_loop()
        since_s = loop.time()
        while not await driver.wait_until(self._has_joined, self._config.join_timeout_s):
            if driver.closed or not driver.node.has_stalled_since(since_s, loop.time()):
                return
            since_s = loop.time()

    def _has_joined(self) -> bool:
        node = self.driver.node
        named = bool(node.contacts.attachments) or not self._config.forwarders()
        return named and node.is_synchronised()

    def _warn_of_missing(self, node: Node) -> None:
        absent = node.contacts.attachments.missing() if node.contacts.attachments else self._config.forwarders()
        if absent:
            logger.warning(
                "No forwarder answers at %s yet; going on, and trying again. Processes that can be reached only there"
                " are not known until then",
                ", ".join(absent),
            )
        missing = node.unsynchronised()
        if node.contacts.unidentified():
            missing.append("a seed")
        if missing:
            logger.warning(
                "%s did not answer within %g s; going on without what they know",
                ", ".join(missing),
                self._config.join_timeout_s,
            )

    def _warn_if_exposed(self) -> None:
        exposed = self._config.exposed()
        if exposed:
            logger.warning(
                "INSECURE: insecure_lan=True, no cluster key, and listening on %s: whoever can connect to that can call"
                " every agent of this process, and read what it sends",
                ", ".join(exposed),
            )

    def _make_discovery(self) -> Discovery:
        made: list[Discovery] = []
        if self._config.seeds:
            made.append(StaticDiscovery(self._config.seeds))
        if self._config.discovery == "mdns":
            from zmqagents.discovery.mdns import SETTLE_S, MdnsDiscovery  # noqa: PLC0415 - zeroconf only where it is used

            settle_s = SETTLE_S if self._config.settle_s is None else self._config.settle_s
            made.append(MdnsDiscovery(interfaces=self._config.interfaces, settle_s=settle_s))
        return CombinedDiscovery(made)

    def _sighted(self, sighting: Sighting) -> None:
        if sighting.node_id is not None and len(self._sources) < 8_192:
            self._sources[sighting.node_id] = sighting.source
        self.driver.sighted(sighting.endpoints, sighting.node_id)

    def _forwarder_named(self, sighting: Sighting) -> None:
        for endpoint in sighting.endpoints:
            self.driver.node.contacts.attachments.add(endpoint, self.driver.now_s)
        self.driver.perform()

    def announce_leaving(self) -> None:
        """Take no new work from now on."""
        node = self.driver.node
        if node.record.phase is Phase.ACTIVE:
            node.publish_record(replace(node.record, phase=Phase.LEAVING))
            self.driver.perform()

    async def leave(self, timeout_s: float) -> None:
        """Deliver what is on its way, for at most ``timeout_s``, say goodbye, and end every socket and task."""
        try:
            await self._discovery.stop()
            await self._forwarders.stop()
            await self.driver.leave(timeout_s=timeout_s)
        finally:
            await self.driver.close()

    def peers(self) -> list[PeerInfo]:
        """The other members as this process sees them, by instance id."""
        node = self.driver.node
        found = [self._peer_info(record) for record in node.membership.live() if record.node_id != node.node_id]
        return sorted(found, key=lambda info: (info.instance_id, info.node_id))

    def _peer_info(self, record: Record) -> PeerInfo:
        node = self.driver.node
        peer = node.state.peers.get(record.node_id)
        connected = peer is not None and peer.path is not None
        path, forwarder = _path_of(node, peer)
        return PeerInfo(
            instance_id=record.instance_id,
            node_id=record.node_id.hex(),
            endpoint=record.endpoints[0] if record.endpoints else "",
            agent_types=tuple(sorted({*record.types, *(key.partition("/")[0] for key in record.pinned)})),
            source=self._source(record),
            connected=connected,
            state=node.contacts.watch.standing(record.node_id, self.driver.now_s).value,
            path=path,
            forwarder=forwarder,
            endpoints=record.endpoints,
            gossip_endpoints=record.gossip_endpoints,
            hosted=tuple(HostedAgents(name, of.policy, of.weight) for name, of in sorted(record.types.items())),
            pinned=tuple(sorted(record.pinned)),
            reads=dict(record.readable),
            protocol=record.protocol,
            load=peer.load if peer is not None and connected else record.load,
            max_message_bytes=record.max_payload_bytes,
            started_ms=record.started_ms,
        )

    def _source(self, record: Record) -> str:
        shown = self._sources.get(record.node_id)
        if shown is not None:
            return shown
        if self.driver.node.contacts.is_seed(record.endpoints):
            return "seed"
        peer = self.driver.node.state.peers.get(record.node_id)
        if peer is not None and peer.met_by_forwarder:
            return "forwarder"
        return "greeting" if peer is not None and peer.accepted else "gossip"


def _path_of(node: Node, peer: Peer | None) -> tuple[str, str]:
    """What ``PeerInfo`` says about the path."""
    if peer is None or peer.path is None:
        return "none", ""
    if isinstance(peer.path, bytes):
        return "accepted", ""
    forwarder = node.contacts.attachments.endpoint_of(peer.path)
    return ("forwarded", forwarder) if forwarder else ("direct", "")
