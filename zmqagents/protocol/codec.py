"""Envelopes and gossip to bytes and back (SPEC.md sections 3, 7 and 10).

Decoding meets hostile bytes. It promises: a value that keeps every rule of section 3, or RemoteProtocolError with the
wire code; at most some 80 bytes of memory for each byte received, and 64 MiB beside them (msgpack allots an array
before it has read it: it nests 1,024 of them, and the lengths that they may claim are bounded here). Fields are
checked from one table, ``_FIELDS``, because the table is what a reader compares with SPEC.md, and one loop over it is
as fast as a check written out for each kind.
"""

from __future__ import annotations

from itertools import islice, product
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

import msgpack

from zmqagents.errors import MessageTooLargeError, RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import ANYONE, MAX_AGENT_ID_CHARS, NODE_ID_BYTES, NodeId
from zmqagents.protocol.tuples import made

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

LAYOUT = 1
MAX_HEADER_BYTES = 1 << 20
INLINE_BYTES = 4_096  # a part of its own costs more than copying so much, on both sides
SPLIT_BYTES = 1 << 18  # ZMTP notices what has come part by part: each must come within its timeout, also on a slow line
MAX_SPLIT = 512  # parts of one payload: of 128 MiB, each is as large as that
MAX_FRAMES = 1_024
MAX_ARRAY_ITEMS = 8_192
MAX_MAP_ITEMS = 64
MAX_CONTEXT_ITEMS = 16
MAX_TEXT_BYTES = 65_536
MAX_NESTING = 8
MAX_UINT = (1 << 63) - 1
MAX_AGENTS = 4_096  # recipients of an EVENT, or agents of a CLAIM
MAX_NODES = 4_096  # in each list of a ROSTER or LISTEN
DEFAULT_MAX_PAYLOAD_BYTES = 128 << 20
GOSSIP_PREFIX = b"zmqagents/1"

_packb = msgpack.Packer(use_bin_type=True, autoreset=True).pack


class Heartbeat(NamedTuple):
    """Gossip kind 1: who I am and what my table's digest is."""

    source: NodeId
    version: int
    live_count: int
    digest: bytes
    load: int


class Delta(NamedTuple):
    """Gossip kind 2: records that changed, encoded; and deaths."""

    source: NodeId
    records: list[bytes]
    dead: Sequence[f.DeathEntry] = ()


Gossip: TypeAlias = Heartbeat | Delta

_HEARTBEAT, _DELTA = 1, 2
_DIGEST_BYTES = 8


def encode_envelope(envelope: f.Envelope) -> list[f.Part]:
    """The parts of one multipart message: the header, then the payloads."""
    return encode_frames(envelope[:6], envelope.frames)


def encode_frames(head: tuple[object, ...], frames: Sequence[f.Frame]) -> list[f.Part]:
    """As ``encode_envelope``; ``head`` is what stands before the frames."""
    wire_frames: list[tuple[object, ...]] = []
    parts: list[f.Part] = [b""]
    for frame in frames:
        kind = type(frame)
        payload = frame[-1]
        if kind in _WITH_PAYLOAD and len(payload) > INLINE_BYTES:  # type: ignore[arg-type]  # these end with their payload
            pieces = _split(payload)  # type: ignore[arg-type]
            parts += pieces
            wire_frames.append((f.KINDS[kind], *frame[:-1], None if len(pieces) == 1 else len(pieces)))
        else:
            wire_frames.append((f.KINDS[kind], *frame))
    parts[0] = _packb((LAYOUT, *head, wire_frames))
    if len(parts[0]) > MAX_HEADER_BYTES:
        raise MessageTooLargeError(len(parts[0]), MAX_HEADER_BYTES)
    return parts


def _split(payload: f.Part) -> list[f.Part]:
    """The payload in as many parts as it travels in."""
    size = len(payload)
    if size <= SPLIT_BYTES:
        return [payload]
    step = max(SPLIT_BYTES, -(-size // MAX_SPLIT))
    view = memoryview(payload)
    return [view[start : start + step] for start in range(0, size, step)]


def decode_envelope(parts: Sequence[f.Part], *, max_payload_bytes: int = DEFAULT_MAX_PAYLOAD_BYTES) -> f.Envelope:
    """The envelope in ``parts`` (without a routing id). Raises RemoteProtocolError."""
    header = _unpack(parts[0] if parts else b"")
    if type(header) is not list or len(header) < 8:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "the header is not an array of 8 fields")
    layout, source, destination, session, first, ack_session, ack, wire_frames = header[:8]
    if type(layout) is not int or layout != LAYOUT:
        raise RemoteProtocolError(WireCode.BAD_FIELD, f"the layout is not {LAYOUT}")
    _check_node_ids(source, destination)
    for number in (session, first, ack_session, ack):
        if type(number) is not int or not 0 <= number <= MAX_UINT:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "session, first, ack session and ack are unsigned integers")
    if type(wire_frames) is not list or not wire_frames:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "an envelope has at least one frame")
    if len(wire_frames) > MAX_FRAMES:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"{len(wire_frames)} frames, over {MAX_FRAMES}")
    if first and not session:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "data frames need a session")
    if len(header) > 8:
        _check_nesting(header[8:], MAX_NESTING - 1)
    decoded = _decode_frames(wire_frames, parts, first > 0, max_payload_bytes)
    if destination == ANYONE and any(type(frame) not in _TO_ANYONE for frame in decoded):
        raise RemoteProtocolError(WireCode.BAD_FIELD, "only PING, ATTACH, LISTEN and BYE go to whoever reads them")
    return made(f.Envelope, (source, destination, session, first, ack_session, ack, decoded))


def _decode_frames(
    wire_frames: list[object],
    parts: Sequence[f.Part],
    data: bool,  # noqa: FBT001 - private, and in the hot path
    max_payload_bytes: int,
) -> list[f.Frame]:
    decoded: list[f.Frame] = []
    payloads = iter(parts[1:])
    for wire in wire_frames:
        if type(wire) is not list or not wire or type(wire[0]) is not int:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a frame is an array that starts with its kind")
        decoder = _DECODERS.get(wire[0])
        if decoder is None:
            decoded.append(_unknown(wire, payloads, max_payload_bytes))
            continue
        frame_class, is_data, shapes, checks, with_payload = decoder
        if is_data is not data:
            raise RemoteProtocolError(WireCode.BAD_FIELD, f"kind {wire[0]} in an envelope of the other class")
        fields = wire if tuple(map(type, wire)) in shapes else _slowly(wire, frame_class)
        for place, check in checks:
            value = fields[place]
            if value is not None and not check(value):  # nil stands only where its type is one of those allowed
                _refuse(fields, frame_class)
        if with_payload:
            payload = fields[-1]
            if type(payload) is not bytes:
                payload = _payload(payloads, 1 if payload is None else payload, max_payload_bytes)
                fields[-1] = payload if frame_class in _READ_FROM_VIEWS else bytes(payload)
            elif len(payload) > max_payload_bytes:
                _check_size(len(payload), max_payload_bytes)
        del fields[0]
        decoded.append(made(frame_class, fields))
    left = sum(1 for _ in payloads) if len(parts) > 1 else 0
    if left:
        raise RemoteProtocolError(WireCode.MISSING_PAYLOAD, f"{left} payload parts that no frame asks for")
    return decoded


def _slowly(wire: list[Any], frame_class: type[Any]) -> list[Any]:
    """A frame that is not as this version writes it, without what a later one has added. Says what is illegal."""
    end = len(_FIELDS[frame_class]) + 1
    if len(wire) < end:
        raise RemoteProtocolError(WireCode.BAD_FIELD, f"{frame_class.__name__} needs {end - 1} fields")
    _check_nesting(wire[end:], _NESTING_IN_FRAME)
    _refuse(wire[:end], frame_class)
    return wire[:end]


def _refuse(wire: list[Any], frame_class: type[Any]) -> None:
    """Raises RemoteProtocolError for the first field that is not legal, if there is one."""
    for value, item in zip(wire[1:], _FIELDS[frame_class], strict=True):
        if not item.is_legal(value):
            raise RemoteProtocolError(
                WireCode.BAD_FIELD, f"{frame_class.__name__}: a field of type {type(value).__name__} is not legal"
            )


_NESTING_IN_FRAME = MAX_NESTING - 3  # the header, its array of frames and the frame are three levels


def _check_nesting(values: Iterable[object], levels: int) -> None:
    """What this version ignores keeps the bound too; the checks of the fields see to the rest."""
    for value in values:
        if isinstance(value, (list, dict)):
            if not levels:
                raise RemoteProtocolError(WireCode.TOO_LARGE, f"nested deeper than {MAX_NESTING}")
            _check_nesting(value if isinstance(value, list) else value.values(), levels - 1)


def _payload(payloads: Iterator[f.Part], count: int, limit: int) -> f.Part:
    """A payload that travels in ``count`` parts."""
    if not 1 <= count <= MAX_SPLIT:
        raise RemoteProtocolError(WireCode.BAD_FIELD, f"a payload in {count:,} parts, where 1 to {MAX_SPLIT} are legal")
    pieces = list(islice(payloads, count))
    if len(pieces) < count:
        raise RemoteProtocolError(WireCode.MISSING_PAYLOAD, "a frame asks for a payload part that is not there")
    _check_size(sum(map(len, pieces)), limit)
    return pieces[0] if count == 1 else b"".join(pieces)


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"a payload of {size:,} bytes, over {limit:,}")


def _unknown(wire: list[Any], payloads: Iterator[f.Part], max_payload_bytes: int) -> f.Unknown:
    kind = wire[0]
    if kind not in f.OPTIONAL_BARE_KINDS and kind not in f.OPTIONAL_PAYLOAD_KINDS:
        raise RemoteProtocolError(WireCode.UNKNOWN_KIND, f"frame kind {kind}")
    _check_nesting(wire[1:], _NESTING_IN_FRAME)
    if kind in f.OPTIONAL_PAYLOAD_KINDS:
        _payload(payloads, 1, max_payload_bytes)
    return f.Unknown(kind)


def _check_node_ids(source: object, destination: object) -> None:
    if type(source) is not bytes or len(source) != NODE_ID_BYTES or source[0] == 0:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "the source is not a node id")
    if type(destination) is not bytes or len(destination) != NODE_ID_BYTES:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "the destination is not a node id")
    if destination[0] == 0 and destination != ANYONE:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "the destination is not a node id")


def _unpack(data: f.Part) -> object:
    if len(data) > MAX_HEADER_BYTES:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"a header of {len(data):,} bytes, over {MAX_HEADER_BYTES:,}")
    try:
        return msgpack.unpackb(
            data,
            raw=False,
            max_array_len=MAX_ARRAY_ITEMS,
            max_map_len=MAX_MAP_ITEMS,
            max_str_len=MAX_TEXT_BYTES,
            max_bin_len=MAX_TEXT_BYTES,
            max_ext_len=0,
            ext_hook=_refuse_ext,
        )
    except _UNPACK_ERRORS as error:
        raise _unpack_failure(error) from error


_UNPACK_ERRORS = (ValueError, msgpack.exceptions.UnpackException, RecursionError)
_TOO_DEEP = (msgpack.exceptions.StackError, RecursionError)  # of msgpack in C, and of msgpack in Python
_BOUND_NAMES = ("max_array_len", "max_map_len", "max_str_len", "max_bin_len")


def _unpack_failure(error: Exception) -> RemoteProtocolError:
    """Only the text of msgpack's ValueError tells a length over its bound from broken bytes."""
    text = str(error)
    too_large = isinstance(error, _TOO_DEEP) or any(name in text for name in _BOUND_NAMES)
    code = WireCode.TOO_LARGE if too_large else WireCode.MALFORMED
    return RemoteProtocolError(code, f"not msgpack within the bounds: {text or type(error).__name__:.200}")


def _refuse_ext(code: int, _data: bytes) -> NoReturn:
    """An ext of no bytes passes ``max_ext_len``."""
    raise ValueError(f"ext type {code}")


def encode_gossip(gossip: Gossip) -> list[bytes]:
    """The parts of one PUB message."""
    if isinstance(gossip, Heartbeat):
        return [GOSSIP_PREFIX, _packb((_HEARTBEAT, *gossip))]
    return [GOSSIP_PREFIX, _packb((_DELTA, gossip.source, list(gossip.dead))), pack_records(gossip.records)]


def decode_gossip(parts: Sequence[f.Part]) -> Gossip | None:
    """The gossip in ``parts``; None for an optional kind of a later version. Raises RemoteProtocolError."""
    if len(parts) < 2 or parts[0] != GOSSIP_PREFIX:
        raise RemoteProtocolError(WireCode.MALFORMED, "gossip has a prefix and a body")
    body = _unpack(parts[1])
    if type(body) is not list or not body or type(body[0]) is not int:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "gossip is an array that starts with its kind")
    _check_nesting(body, MAX_NESTING - 1)
    kind = body[0]
    if kind in f.OPTIONAL_BARE_KINDS or kind in f.OPTIONAL_PAYLOAD_KINDS:
        return None
    if len(body) < 2 or not _is_node(body[1]):
        raise RemoteProtocolError(WireCode.BAD_FIELD, "gossip names its source")
    if kind == _HEARTBEAT:
        if len(parts) != 2:
            raise RemoteProtocolError(WireCode.MISSING_PAYLOAD, "a HEARTBEAT has no payload part")
        fields = body[2:6]
        if tuple(map(type, fields)) != _HEARTBEAT_TYPES or not _is_heartbeat(*fields):
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a HEARTBEAT has version, count, digest and load")
        return Heartbeat(body[1], *fields)
    if kind == _DELTA:
        if len(parts) != 3:
            raise RemoteProtocolError(WireCode.MISSING_PAYLOAD, "a DELTA has one payload part")
        if len(body) < 3 or type(body[2]) is not list or not _deaths(body[2]):
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a DELTA has a list of the dead")
        return Delta(body[1], unpack_records(bytes(parts[2])), body[2])
    raise RemoteProtocolError(WireCode.UNKNOWN_KIND, f"gossip kind {kind}")


def pack_records(records: Sequence[bytes]) -> bytes:
    """Encoded records as one payload part."""
    return _packb(list(records))


def unpack_records(payload: bytes) -> list[bytes]:
    """The encoded records of a payload part. Raises RemoteProtocolError."""
    if len(payload) > MAX_RECORDS_BYTES:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"records of {len(payload):,} bytes, over {MAX_RECORDS_BYTES:,}")
    unpacker = msgpack.Unpacker(
        None,
        max_array_len=MAX_ARRAY_ITEMS,
        max_bin_len=MAX_RECORD_BYTES,
        read_size=max(1, len(payload)),  # what it allots at first; 1 MiB if it isn't told
        max_buffer_size=MAX_RECORDS_BYTES,
    )
    unpacker.feed(payload)
    records: list[bytes] = []
    try:
        count = unpacker.read_array_header()
        if count > MAX_ARRAY_ITEMS:
            raise RemoteProtocolError(WireCode.TOO_LARGE, f"{count:,} records, over {MAX_ARRAY_ITEMS:,}")
        for _ in range(count):
            if payload[(at := unpacker.tell()) : at + 1] not in _BIN_HEADS:
                raise RemoteProtocolError(WireCode.MALFORMED, "a record is not a byte string")
            records.append(unpacker.unpack())
    except _UNPACK_ERRORS as error:
        raise _unpack_failure(error) from error
    if unpacker.tell() != len(payload):
        raise RemoteProtocolError(WireCode.MALFORMED, "bytes after the array of records")
    return records


_BIN_HEADS = (b"\xc4", b"\xc5", b"\xc6")
MAX_RECORD_BYTES = 4 << 20
MAX_RECORDS_BYTES = MAX_RECORD_BYTES + (1 << 20)  # one record, or many within 1 MiB; and their lengths


def _uint(value: Any) -> bool:
    return 0 <= value <= MAX_UINT  # type: ignore[no-any-return]


def _agent(value: Any) -> bool:
    return value.find("/") > 0 and len(value) <= MAX_AGENT_ID_CHARS


def _agent_or_empty(value: Any) -> bool:
    return value == "" or _agent(value)


def _agent_or_nil(value: Any) -> bool:
    return value is None or _agent(value)


def _uint_or_nil(value: Any) -> bool:
    return value is None or 0 <= value <= MAX_UINT


def _texts(value: Any) -> bool:
    return len(value) <= MAX_MAP_ITEMS and all(type(item) is str for item in value)


def _uints(value: Any) -> bool:
    return all(type(item) is int and 0 <= item <= MAX_UINT for item in value)


def _agent_type(value: Any) -> bool:
    return value != "" and "/" not in value and len(value) < MAX_AGENT_ID_CHARS


def _agents(value: Any) -> bool:
    if len(value) == 1:  # as most are
        return type(value[0]) is str and _agent(value[0])
    if len(value) > MAX_AGENTS:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"{len(value):,} agents, over {MAX_AGENTS:,}")
    return all(type(item) is str and _agent(item) for item in value)


def _nodes(value: Any) -> bool:
    if len(value) > MAX_NODES:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"{len(value):,} nodes, over {MAX_NODES:,}")
    return all(map(_is_node, value))


def _recipients(value: Any) -> bool:
    return value != [] and _agents(value)


def _context(value: Any) -> bool:
    return value is None or (
        len(value) <= MAX_CONTEXT_ITEMS and all(type(key) is str and type(item) is str for key, item in value.items())
    )


def _node_id(value: Any) -> bool:
    return len(value) == NODE_ID_BYTES and value[0] != 0


def _digest(value: Any) -> bool:
    return len(value) == _DIGEST_BYTES


def _is_node(value: object) -> bool:
    return type(value) is bytes and _node_id(value)


def _is_uint(value: object) -> bool:
    return type(value) is int and _uint(value)


def _versions(value: Any) -> bool:
    return all(
        type(item) is list and len(item) == 3 and _is_node(item[0]) and _is_uint(item[1]) and type(item[2]) is bool
        for item in value
    )


def _deaths(value: Any) -> bool:
    return all(type(item) is list and len(item) == 2 and _is_node(item[0]) and _is_uint(item[1]) for item in value)


class _Field(NamedTuple):
    """What may stand in one place of a frame: values of these types that pass the check."""

    types: tuple[type[Any], ...]
    check: Callable[[Any], bool] | None = None

    def is_legal(self, value: object) -> bool:
        return type(value) in self.types and (self.check is None or self.check(value))


_NIL = type(None)
_UINT = _Field((int,), _uint)
_UINT_OR_NIL = _Field((int, _NIL), _uint_or_nil)
_TEXT = _Field((str,))
_TEXTS = _Field((list,), _texts)
_FLAG = _Field((bool,))
_NODE = _Field((bytes,), _node_id)
_DIGEST = _Field((bytes,), _digest)
_AGENT = _Field((str,), _agent)
_AGENT_OR_NIL = _Field((str, _NIL), _agent_or_nil)
_AGENTS = _Field((list,), _agents)
_CONTEXT = _Field((dict, _NIL), _context)
_VERSIONS = _Field((list,), _versions)
_DEATHS = _Field((list,), _deaths)
_NODES = _Field((list,), _nodes)
_PAYLOAD = _Field((bytes, _NIL, int))  # that many parts are checked where they are taken

_HEARTBEAT_TYPES = (int, int, bytes, int)


def _is_heartbeat(version: int, live: int, digest: bytes, load: int) -> bool:
    return _uint(version) and _uint(live) and _digest(digest) and _uint(load)


_FIELDS: dict[type[Any], tuple[_Field, ...]] = {  # SPEC.md sections 3.1 and 3.2, in wire order
    f.Hello: (_UINT, _UINT, _TEXTS, _TEXT, _UINT, _PAYLOAD),
    f.Welcome: (_UINT, _TEXTS, _TEXT, _UINT, _PAYLOAD),
    f.Ack: (_FLAG,),
    f.Ping: (_UINT, _UINT),
    f.Pong: (_UINT,),
    f.Bye: (_UINT, _TEXT),
    f.SyncPull: (_UINT, _VERSIONS),
    f.SyncPush: (_UINT, _FLAG, _DEATHS, _PAYLOAD),
    f.Probe: (_UINT, _NODE),
    f.Probed: (_UINT, _NODE, _FLAG),
    f.Attach: (_UINT, _UINT, _TEXT, _UINT),
    f.Roster: (_UINT, _FLAG, _FLAG, _NODES, _NODES),
    f.Listen: (_FLAG, _NODES, _NODES),
    f.Seek: (_NODE, _NODE),
    f.Request: (_UINT, _AGENT, _TEXT, _AGENT_OR_NIL, _TEXT, _TEXT, _UINT_OR_NIL, _UINT, _CONTEXT, _PAYLOAD),
    f.Reply: (_UINT, _TEXT, _TEXT, _PAYLOAD),
    f.Error: (_UINT, _UINT, _TEXT, _TEXT, _PAYLOAD),
    f.Cancel: (_UINT,),
    f.Event: (
        _TEXT,
        _TEXT,
        _TEXT,
        _AGENT_OR_NIL,
        _Field((list,), _recipients),
        _TEXT,
        _TEXT,
        _UINT,
        _CONTEXT,
        _PAYLOAD,
    ),
    f.EventDone: (_Field((list,), _uints),),
    f.Agent: (_UINT, _UINT, _Field((str,), _agent_or_empty), _UINT_OR_NIL, _PAYLOAD),
    f.Census: (_UINT, _Field((str,), _agent_type), _DIGEST),
    f.Claim: (_UINT, _FLAG, _AGENTS),
    f.Rival: (_AGENT, _NODE),
    f.Yield: (_AGENT,),
    f.Disclaim: (_AGENT,),
    f.Moved: (_AGENT, _NODE),
}
_READ_FROM_VIEWS = frozenset({f.Request, f.Reply, f.Event})  # large messages of users; whoever reads others wants bytes
_TO_ANYONE = frozenset({f.Ping, f.Attach, f.Listen, f.Bye})
_WITH_PAYLOAD = frozenset(kind for kind in f.KINDS if "payload" in kind._fields)  # type: ignore[attr-defined]


class _Decoder(NamedTuple):
    """How a kind is read: most frames are legal if their types are one of ``shapes`` and the checks pass."""

    frame_class: type[Any]
    is_data: bool
    shapes: frozenset[tuple[type[Any], ...]]
    checks: tuple[tuple[int, Callable[[Any], bool]], ...]
    """Places in the frame, the kind being 0, and what is checked there."""
    with_payload: bool

    @classmethod
    def of(cls, frame_class: type[Any]) -> _Decoder:
        fields = _FIELDS[frame_class]
        shapes = frozenset(product((int,), *(item.types for item in fields)))
        checks = tuple((place, item.check) for place, item in enumerate(fields, 1) if item.check is not None)
        is_data = f.KINDS[frame_class] >= f.FIRST_DATA_KIND
        return cls(frame_class, is_data, shapes, checks, frame_class in _WITH_PAYLOAD)


_DECODERS = {number: _Decoder.of(frame_class) for frame_class, number in f.KINDS.items()}
