"""What a node publishes about itself, and its CBOR form (SPEC.md section 6.1).

A ``Record`` that exists is legal: its constructors check every rule of the section and raise ValueError. Encoding
therefore never produces what a peer refuses, save for size, and decoding is left with shapes.

Decoding meets hostile bytes. It promises: a legal record or RemoteProtocolError with the wire code; at most some 80
bytes of memory for each byte received; no recursion that bytes control. cbor2 is a full CBOR reader, so what a record
never holds is switched off in it: tags (dates, bignums, regular expressions, references to shared values: any of them
buys much work for few bytes), indefinite lengths, duplicate keys, keys of maps inside whose hashes can be made to
collide. The outermost map, whose keys are numbers, is walked here, because cbor2 either takes keys of every type or
none but strings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from io import BytesIO
from typing import TYPE_CHECKING, Any, NoReturn

import cbor2

from zmqagents.errors import LocalProtocolError, RemoteProtocolError, WireCode
from zmqagents.protocol.bounds import MAX_UINT
from zmqagents.protocol.codec import MAX_RECORD_BYTES
from zmqagents.protocol.ids import MAX_AGENT_ID_CHARS, AgentKey, NodeId, is_node_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

# SPEC.md sections 6.1 and 10. What has no bound here is bounded by the bytes of the record.
MAX_LABEL_BYTES = 255
MAX_ENDPOINTS = 32
MAX_RECORD_KEYS = 64
MAX_RECORD_DEPTH = 4


class Phase(IntEnum):
    """Where a node is in its life."""

    JOINING = 0
    ACTIVE = 1
    LEAVING = 2
    LEFT = 3


class SubscriptionKind(IntEnum):
    """How a subscription matches a topic."""

    EXACT = 0  # the topic type is the match text
    PREFIX = 1  # the topic type begins with it
    OPAQUE = 2  # only the node that published the record can say


@dataclass(frozen=True, slots=True)
class HostedType:
    """An agent type that a node hosts: how its agents are placed, and its share of them."""

    policy: str
    weight: int
    idempotent: frozenset[str] = frozenset()
    """Names of the message types whose handlers may run twice for one call."""

    def __post_init__(self) -> None:
        _require(_is_text(self.policy), "types: the policy is text")
        _require(_is_uint(self.weight), "types: the weight is an unsigned integer")
        _require(_are_texts(self.idempotent), "types: an idempotent message type is text")


@dataclass(frozen=True, slots=True)
class SubscriptionEntry:
    """A subscription: the agent type that gets the events of the topics it matches."""

    kind: SubscriptionKind
    match: str
    agent_type: str

    def __post_init__(self) -> None:
        _require(isinstance(self.kind, SubscriptionKind), "subscriptions: the kind is one of 0, 1 and 2")
        _require(_is_text(self.match), "subscriptions: the match is text")
        if self.kind is not SubscriptionKind.OPAQUE or self.agent_type != "":
            _require(_is_agent_type(self.agent_type), "subscriptions: the agent type is text without '/', not empty")


@dataclass(frozen=True, slots=True)
class Record:
    """A node's published record. ValueError if a field breaks a rule of SPEC.md section 6.1.

    ``endpoints`` and ``gossip_endpoints`` stand best first; ``readable`` gives content types for each type name, best
    first. The mappings are not copied: don't change them afterwards.
    """

    node_id: NodeId
    version: int
    phase: Phase
    instance_id: str
    cluster: str
    endpoints: tuple[str, ...]
    gossip_endpoints: tuple[str, ...]
    protocol: tuple[int, int]
    types: Mapping[str, HostedType]
    pinned: frozenset[AgentKey]
    subscriptions: Mapping[str, SubscriptionEntry]
    readable: Mapping[str, tuple[str, ...]]
    load: int
    max_payload_bytes: int = 0
    """The largest payload that the node reads; 0 if it doesn't say."""
    started_ms: int = 0
    """When this life of the process began, by its own clock: milliseconds since 1970; 0 if it doesn't say."""

    def __post_init__(self) -> None:
        _require(is_node_id(self.node_id), "node id: 16 bytes, the first not zero")
        _require(_is_uint(self.version) and self.version > 0, "version: an unsigned integer from 1")
        _require(isinstance(self.phase, Phase), "phase: one of 0 to 3")
        _require(_is_label(self.instance_id), f"instance id: text, at most {MAX_LABEL_BYTES} bytes")
        _require(_is_label(self.cluster), f"cluster: text, at most {MAX_LABEL_BYTES} bytes")
        _require(_are_endpoints(self.endpoints), f"endpoints: at most {MAX_ENDPOINTS} texts")
        _require(_are_endpoints(self.gossip_endpoints), f"gossip endpoints: at most {MAX_ENDPOINTS} texts")
        _require(_is_range(self.protocol), "protocol: the lowest version and the highest")
        _require(all(map(_is_agent_type, self.types)), "types: an agent type is text without '/', not empty")
        _require(all(map(_is_agent_id, self.pinned)), "pinned: agent ids")
        _require(_are_texts(self.subscriptions), "subscriptions: an id is text")
        _require(_are_texts(self.readable), "readable: a type name is text")
        _require(all(map(_are_texts, self.readable.values())), "readable: a content type is text")
        _require(_is_uint(self.load), "load: an unsigned integer")
        _require(_is_uint(self.max_payload_bytes), "largest payload: an unsigned integer")
        _require(_is_uint(self.started_ms), "started: an unsigned integer")


def encode_record(record: Record) -> bytes:
    """The record in deterministic CBOR: equal records give equal bytes. LocalProtocolError if it is too large.

    cbor2's canonical form orders keys by length first (RFC 8949 section 4.2.3). As the keys of each map are all
    numbers or all text, that is the bytewise order of section 4.2.1 too.
    """
    wire = {
        1: record.node_id,
        2: record.version,
        3: int(record.phase),
        4: record.instance_id,
        5: record.cluster,
        6: record.endpoints,
        7: record.gossip_endpoints,
        8: record.protocol,
        9: {agent_type: _wire_type(hosted) for agent_type, hosted in record.types.items()},
        10: sorted(record.pinned),  # by code points, hence by UTF-8 bytes
        11: {name: (int(entry.kind), entry.match, entry.agent_type) for name, entry in record.subscriptions.items()},
        12: record.readable,
        13: record.load,
    }
    if record.max_payload_bytes:
        wire[14] = record.max_payload_bytes
    if record.started_ms:
        wire[15] = record.started_ms
    encoded = cbor2.dumps(wire, canonical=True)
    if len(encoded) > MAX_RECORD_BYTES:
        raise LocalProtocolError(
            f"this node's record is {len(encoded):,} bytes, over {MAX_RECORD_BYTES:,}: it has too many subscriptions, "
            "pinned agents or types"
        )
    return encoded


def _wire_type(hosted: HostedType) -> tuple[object, ...]:
    if not hosted.idempotent:
        return (hosted.policy, hosted.weight)
    return (hosted.policy, hosted.weight, sorted(hosted.idempotent))


def decode_record(data: bytes) -> Record:
    """The record in ``data``, in canonical order or not. Raises RemoteProtocolError."""
    if len(data) > MAX_RECORD_BYTES:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"a record of {len(data):,} bytes, over {MAX_RECORD_BYTES:,}")
    try:
        fields = _read_fields(data)
    except cbor2.CBORDecodeError as error:
        code = WireCode.TOO_LARGE if "nesting depth" in str(error) else WireCode.MALFORMED
        raise RemoteProtocolError(code, f"not the CBOR of a record: {error!s:.200}") from error
    try:
        return _build(fields)
    except KeyError as error:
        raise RemoteProtocolError(WireCode.BAD_FIELD, f"a record without key {error}") from error
    except ValueError as error:
        raise RemoteProtocolError(WireCode.BAD_FIELD, f"a record's {error!s:.200}") from error


class _NoTags(dict[int, Any]):
    """Refuses every tag before cbor2 looks at what is tagged."""

    def __missing__(self, tag: int) -> NoReturn:
        raise cbor2.CBORDecodeError(f"tag {tag}")


_NO_TAGS = _NoTags()


def _read_fields(data: bytes) -> dict[int, Any]:
    """The values of the outermost map under the keys that this version knows."""
    stream = BytesIO(data)
    decoder = cbor2.CBORDecoder(
        stream,
        semantic_decoders=_NO_TAGS,
        max_depth=MAX_RECORD_DEPTH - 1,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        strict_hashable_types=True,
    )
    fields: dict[int, Any] = {}
    for _ in range(_read_map_length(stream)):
        key = decoder.decode()
        if type(key) is not int or not 0 <= key <= MAX_UINT:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a record's keys are unsigned integers")
        if key in fields:
            raise RemoteProtocolError(WireCode.MALFORMED, f"a record with key {key} twice")
        value = decoder.decode()
        fields[key] = value if key in _KNOWN_KEYS else None
    if stream.tell() != len(data):
        raise RemoteProtocolError(WireCode.MALFORMED, "bytes after a record")
    return fields


_KNOWN_KEYS = range(1, 16)
_CBOR_MAP = 5  # the major type, RFC 8949 section 3.1


def _read_map_length(stream: BytesIO) -> int:
    """The count in the head of a map (RFC 8949 section 3)."""
    initial = stream.read(1)
    if not initial or initial[0] >> 5 != _CBOR_MAP:
        raise RemoteProtocolError(WireCode.MALFORMED, "a record is a CBOR map")
    length = initial[0] & 0x1F
    if length >= 24:
        if length > 27:
            raise RemoteProtocolError(WireCode.MALFORMED, "a record is a map of definite length")
        size = 1 << length - 24
        argument = stream.read(size)
        if len(argument) != size:
            raise RemoteProtocolError(WireCode.MALFORMED, "a record ends in its first head")
        length = int.from_bytes(argument, "big")
    if length > MAX_RECORD_KEYS:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"a record of {length:,} keys, over {MAX_RECORD_KEYS}")
    return length


def _build(fields: dict[int, Any]) -> Record:
    """Checks shapes; the constructors check contents. KeyError for a missing key, ValueError for an illegal value."""
    return Record(
        node_id=fields[1],
        version=fields[2],
        phase=_phase(fields[3]),
        instance_id=fields[4],
        cluster=fields[5],
        endpoints=_texts(fields[6], "endpoints"),
        gossip_endpoints=_texts(fields[7], "gossip endpoints"),
        protocol=_pair(fields[8]),
        types={name: _hosted_type(value) for name, value in _map(fields[9], "types").items()},
        pinned=frozenset(_texts(fields[10], "pinned")),
        subscriptions={name: _subscription(value) for name, value in _map(fields[11], "subscriptions").items()},
        readable={name: _texts(value, "readable") for name, value in _map(fields[12], "readable").items()},
        load=fields[13],
        max_payload_bytes=fields.get(14, 0),
        started_ms=fields.get(15, 0),
    )


def _hosted_type(value: Any) -> HostedType:
    policy, weight = _items(value, 2, "types")
    idempotent = _texts(value[2], "types: the idempotent message types") if len(value) > 2 else ()
    return HostedType(policy, weight, frozenset(idempotent))


def _phase(value: Any) -> Phase:
    _require(_is_uint(value), "phase: one of 0 to 3")
    return Phase(value)


def _pair(value: object) -> tuple[int, int]:
    lowest, highest = _items(value, 2, "protocol")
    return lowest, highest


def _subscription(value: object) -> SubscriptionEntry:
    kind, match, agent_type = _items(value, 3, "subscriptions")
    _require(_is_uint(kind) and kind < len(_KINDS), "subscriptions: the kind is one of 0, 1 and 2")
    return SubscriptionEntry(_KINDS[kind], match, agent_type)


_KINDS = tuple(SubscriptionKind)


def _items(value: object, count: int, field: str) -> list[Any]:
    """The first ``count`` elements: what stands after them is a later version's."""
    if type(value) is not list or len(value) < count:
        raise ValueError(f"{field}: an array of {count}")
    return value[:count]


def _texts(value: object, field: str) -> tuple[str, ...]:
    if type(value) is not list or not _are_texts(value):
        raise ValueError(f"{field}: an array of texts")
    return tuple(value)


def _map(value: object, field: str) -> dict[Any, Any]:
    if type(value) is not dict:
        raise ValueError(f"{field}: a map")
    return value


def _require(condition: bool, rule: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not condition:
        raise ValueError(rule)


def _is_uint(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_UINT


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _are_texts(values: Iterable[object]) -> bool:
    return all(isinstance(value, str) for value in values)


def _are_endpoints(values: tuple[object, ...]) -> bool:
    return len(values) <= MAX_ENDPOINTS and _are_texts(values)


def _is_label(value: object) -> bool:
    return isinstance(value, str) and len(value.encode()) <= MAX_LABEL_BYTES


def _is_agent_type(value: object) -> bool:
    return isinstance(value, str) and value != "" and "/" not in value


def _is_agent_id(value: object) -> bool:
    return isinstance(value, str) and value.find("/") > 0 and len(value) <= MAX_AGENT_ID_CHARS


def _is_range(value: tuple[int, ...]) -> bool:
    return len(value) == 2 and all(map(_is_uint, value)) and value[0] <= value[1]
