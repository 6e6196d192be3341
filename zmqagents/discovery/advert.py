"""What a node writes into its DNS-SD record, and what of other nodes' records is believed.

The record is the TXT record of an instance of ``_zmqagents._tcp.local.`` whose name is the node id in hex, in the form
of RFC 6763 section 6:

=============  ====================================================================================
``txtvers``    "1", the version of this layout (the wire protocol's version is settled by HELLO)
``cluster``    UTF-8, 1 to 200 bytes
``node``       the node id, 32 hex digits
``instance``   a label for people, UTF-8, cut to 64 bytes; not read back
``e0``…``e15``  the data endpoints, ``10.0.0.5:5555`` or ``[fd00::5]:5555``, addresses only
=============  ====================================================================================

The endpoints are in the TXT record because a node listens on several addresses, each with a port of its own, which an
SRV record (one port) can't say; the A and AAAA records repeat the addresses for other people's tools. A record without
``e`` keys stands for all its addresses with the SRV port. A link-local IPv6 address is read only by a node that uses
one interface beyond loopback, since with two nobody can say which of them the address is on. Host names are not read:
a stranger's packet must not make us ask name servers.

Anybody on the link can send anything here. What is wrong in any way is dropped as a whole and counted. What is right is
still only a hint that is checked when the peer is greeted.
"""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zmqagents.discovery.base import Sighting
from zmqagents.discovery.endpoints import IPAddress, format_endpoint, ip_or_none, parse_endpoint
from zmqagents.errors import ConfigError
from zmqagents.protocol.ids import NODE_ID_BYTES, is_node_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from zmqagents.discovery.base import Advertisement

_log = logging.getLogger(__name__)

TXT_VERSION = b"1"
MAX_CLUSTER_BYTES = 200  # a TXT string holds 255 bytes, its key included (RFC 6763 section 6.1)
MAX_INSTANCE_BYTES = 64  # enough to tell processes apart in a listing
MAX_ENDPOINTS = 16  # IPv4 and IPv6 of eight interfaces
MAX_TXT_BYTES = 1300  # what stays of an Ethernet frame: RFC 6763 section 6.2
MAX_PEERS = 4096  # remembered sightings of one node, some 10 MB at worst; the oldest is forgotten first


class MalformedRecordError(ValueError):
    """A TXT record that no node of ours would write."""


@dataclass(frozen=True, slots=True)
class Record:
    """A TXT record that was read."""

    cluster: str
    node_id: bytes
    endpoints: tuple[tuple[IPAddress, int], ...]


def write_txt(own: Advertisement) -> dict[str, bytes]:
    """The TXT record's keys. Raises ConfigError for what can't be advertised."""
    cluster = own.cluster.encode()
    if not 1 <= len(cluster) <= MAX_CLUSTER_BYTES:
        raise ConfigError(f"the cluster name has {len(cluster)} bytes: write 1 to {MAX_CLUSTER_BYTES}")
    if not is_node_id(own.node_id):
        raise ConfigError(f"{own.node_id!r} is no node id: it takes {NODE_ID_BYTES} bytes, the first not zero")
    txt = {
        "txtvers": TXT_VERSION,
        "cluster": cluster,
        "node": own.node_id.hex().encode(),
        "instance": own.instance_id.encode("utf-8", "replace")[:MAX_INSTANCE_BYTES].decode("utf-8", "ignore").encode(),
    }
    for number, (address, port) in enumerate(dialable(own.endpoints)):
        plain = str(address).partition("%")[0]  # a zone means something on this host only
        txt[f"e{number}"] = format_endpoint(plain, port).removeprefix("tcp://").encode()
    return txt


def dialable(endpoints: Sequence[str]) -> list[tuple[IPAddress, int]]:
    """The first MAX_ENDPOINTS endpoints that are addresses; names are left out.

    Raises ConfigError for an address that nobody can dial, such as 0.0.0.0.
    """
    result = []
    for endpoint in endpoints:
        host, port = parse_endpoint(endpoint)
        address = ip_or_none(host)
        if address is not None:
            if address.is_unspecified or address.is_multicast:
                raise ConfigError(f"{endpoint!r} can't be dialled by others: advertise an address of this host")
            result.append((address, port))
    return result[:MAX_ENDPOINTS]


def read_txt(text: bytes) -> Record | None:
    """Read a TXT record; None for a version of the layout that we don't know. Raises MalformedRecordError."""
    if len(text) > MAX_TXT_BYTES:
        raise MalformedRecordError(f"{len(text)} bytes")
    keys = _split(text)
    if keys.get(b"txtvers") != TXT_VERSION:
        if b"txtvers" not in keys:
            raise MalformedRecordError("no txtvers")
        return None
    cluster, node = keys.get(b"cluster", b""), keys.get(b"node", b"")
    if not 1 <= len(cluster) <= MAX_CLUSTER_BYTES:
        raise MalformedRecordError("no cluster")
    try:
        name, node_id = cluster.decode(), bytes.fromhex(node.decode("ascii"))
    except ValueError as error:
        raise MalformedRecordError(f"cluster or node: {error}") from error
    if not is_node_id(node_id) or len(node) != 2 * NODE_ID_BYTES:
        raise MalformedRecordError("no node id")
    texts = [keys[key] for number in range(MAX_ENDPOINTS) if (key := f"e{number}".encode()) in keys]
    return Record(name, node_id, tuple(_read_endpoint(one) for one in texts))


class Sieve:
    """Lets through the sightings that are worth showing; remembers at most MAX_PEERS of them.

    ``host_addresses`` are all addresses of this host, ``loopback_only`` says whether we keep to it, and ``zone`` is the
    one interface beyond loopback that is used, if it is one.
    """

    def __init__(
        self, own: Advertisement, *, host_addresses: Iterable[str], loopback_only: bool, zone: str | None
    ) -> None:
        self.own = own
        self.malformed = 0
        self._zone = zone
        self._host = {ipaddress.ip_address(address) for address in host_addresses}
        self._loopback_only = loopback_only
        self._known: dict[str, Sighting] = {}

    def sift(
        self, name: str, text: bytes, *, addresses: Sequence[str] = (), port: int | None = None
    ) -> Sighting | None:
        """The sighting that a record of the instance ``name`` gives, None if it says nothing new. Never raises.

        ``addresses`` and ``port`` are the instance's A, AAAA and SRV records.
        """
        try:
            record = read_txt(text)
        except MalformedRecordError as error:
            self.reject(name, str(error))
            return None
        if record is None or record.cluster != self.own.cluster or record.node_id == self.own.node_id:
            return None
        pairs = record.endpoints or _product(addresses, port)
        endpoints = tuple(
            dict.fromkeys(
                format_endpoint(host, number)
                for address, number in self._reachable(pairs)
                if (host := self._dialled_as(address)) is not None
            )
        )
        sighting = Sighting(endpoints, record.node_id, "mdns")
        key = name.lower()
        if not endpoints or self._known.get(key) == sighting:
            return None
        if key not in self._known and len(self._known) >= MAX_PEERS:
            del self._known[next(iter(self._known))]
        self._known[key] = sighting
        return sighting

    def forget(self, name: str) -> None:
        """The instance said goodbye or its record ran out: should it come again, it is new."""
        self._known.pop(name.lower(), None)

    def reject(self, name: str, why: str) -> None:
        """Count a malformed record; the first one is logged."""
        self.malformed += 1
        if self.malformed == 1:
            text = "A malformed mDNS record %.80r is ignored (%.80s); further ones are counted, not logged"
            _log.warning(text, name, why)

    def _reachable(self, pairs: Sequence[tuple[IPAddress, int]]) -> list[tuple[IPAddress, int]]:
        """Without what would lead to the wrong host, or off this host where only loopback was asked for.

        A peer's loopback endpoints are good only on its own host: where it has an address of this host too, or
        nothing but loopback, which never was on a cable. And a peer that has other addresses than this host is on
        another one: what they have in common, such as the address of Docker's bridge, leads here and not there.
        """
        if self._loopback_only:
            return [pair for pair in pairs if pair[0].is_loopback or pair[0] in self._host]
        beyond = [pair for pair in pairs if not pair[0].is_loopback]
        foreign = [pair for pair in beyond if pair[0] not in self._host]
        if foreign:
            return foreign
        return list(pairs)

    def _dialled_as(self, address: IPAddress) -> str | None:
        """A link-local IPv6 address needs the interface that it is on: known where only one is used."""
        if address.version == 4 or not address.is_link_local:
            return str(address)
        return None if self._zone is None else f"{address}%{self._zone}"


def _split(text: bytes) -> dict[bytes, bytes]:
    """Key and value of each string; of a key that stands twice the first counts (RFC 6763 section 6.4)."""
    keys: dict[bytes, bytes] = {}
    at = 0
    while at < len(text):
        end = at + 1 + text[at]
        if end > len(text):
            raise MalformedRecordError("a string is cut off")
        key, _equals, value = text[at + 1 : end].partition(b"=")
        keys.setdefault(key.lower(), value)
        at = end
    return keys


def _read_endpoint(text: bytes) -> tuple[IPAddress, int]:
    try:
        host, port = parse_endpoint(f"tcp://{text.decode('ascii')}")
    except ValueError as error:
        raise MalformedRecordError(f"endpoint: {error}") from error
    address = ip_or_none(host)
    if address is None or address.is_unspecified or address.is_multicast or "%" in host:
        raise MalformedRecordError(f"endpoint {host!r}")
    return address, port


def _product(addresses: Sequence[str], port: int | None) -> tuple[tuple[IPAddress, int], ...]:
    if not port:
        return ()
    plain = (ip_or_none(address.partition("%")[0]) for address in addresses)
    good = [ip for ip in plain if ip is not None and not ip.is_unspecified and not ip.is_multicast]
    return tuple((ip, port) for ip in good[:MAX_ENDPOINTS])
