"""Envelopes and gossip to bytes and back (SPEC.md sections 3, 7 and 10).

Decoding meets hostile bytes. It promises: a value that keeps every rule of section 3, or RemoteProtocolError with the
wire code; at most some 80 bytes of memory for each byte received, and 64 MiB beside them (msgpack allots an array
before it has read it: it nests 1,024 of them, and the lengths that they may claim are bounded here).

An envelope as this version writes it is read in one step, by the types of ``frames``. Where that fails, it is read
again piece by piece: what a later version may have added is left out, and what is illegal is found and named.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeAlias

import msgpack
import msgspec

from zmqagents.errors import MessageTooLargeError, RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.bounds import (
    DIGEST_BYTES,
    MAX_AGENTS,
    MAX_ARRAY_ITEMS,
    MAX_FRAMES,
    MAX_MAP_ITEMS,
    MAX_UINT,
)
from zmqagents.protocol.ids import ANYONE, MAX_AGENT_ID_CHARS, NODE_ID_BYTES, NodeId

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

MAX_HEADER_BYTES = 1 << 20
INLINE_BYTES = 4_096  # a part of its own costs more than copying so much, on both sides
SPLIT_BYTES = 1 << 18  # ZMTP notices what has come part by part: each must come within its timeout, also on a slow line
MAX_SPLIT = 512  # parts of one payload: of 128 MiB, each is as large as that
MAX_TEXT_BYTES = 65_536  # of a text or byte string in a header
MAX_NESTING = 8
DEFAULT_MAX_PAYLOAD_BYTES = 128 << 20
GOSSIP_PREFIX = b"zmqagents/1"


def _exactly(value: object) -> object:
    """The ``str``, ``bytes`` or ``int`` that a subclass of these stands for, such as a text of numpy's, a user's id."""
    if isinstance(value, str):
        return str.__str__(value)  # which its class can't change
    if isinstance(value, bytes):
        return bytes(memoryview(value))
    if isinstance(value, int):
        return int.__int__(value)
    raise TypeError(f"{type(value).__name__} can't stand on the wire")


_packb = msgpack.Packer(use_bin_type=True, autoreset=True).pack
_write = msgspec.msgpack.Encoder(enc_hook=_exactly).encode
_read = msgspec.msgpack.Decoder(f.Envelope).decode
_READ_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError)


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


def encode_envelope(envelope: f.Envelope) -> list[f.Part]:
    """The parts of one multipart message: the header, then the payloads. MessageTooLargeError if the header is."""
    parts: list[f.Part] = [b""]
    for frame in envelope.frames:
        if type(frame) in _WITH_PAYLOAD and len(frame.payload) > INLINE_BYTES:  # type: ignore[union-attr]
            envelope = _outlined(envelope, parts)
            break
    parts[0] = _write(envelope)
    if len(parts[0]) > MAX_HEADER_BYTES:
        raise MessageTooLargeError(len(parts[0]), MAX_HEADER_BYTES)
    return parts


def _outlined(envelope: f.Envelope, parts: list[f.Part]) -> f.Envelope:
    """As ``envelope``, the large payloads moved from its frames to ``parts``."""
    frames: list[f.Frame] = []
    for whole in envelope.frames:
        frame: Any = whole
        if type(frame) in _WITH_PAYLOAD and len(frame.payload) > INLINE_BYTES:
            pieces = _split(frame.payload)
            parts += pieces
            frame = msgspec.structs.replace(frame, payload=None if len(pieces) == 1 else len(pieces))
        frames.append(frame)
    return msgspec.structs.replace(envelope, frames=frames)


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
    header = parts[0] if parts else b""
    if len(header) > MAX_HEADER_BYTES:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"a header of {len(header):,} bytes, over {MAX_HEADER_BYTES:,}")
    try:
        envelope = _read(header)
    except _READ_ERRORS:
        envelope = _read_leniently(header)
    if len(header) > MAX_TEXT_BYTES:
        _check_texts(envelope.frames)
    _check_head(envelope)
    _check_frames(envelope, parts, max_payload_bytes)
    return envelope


def _check_head(envelope: f.Envelope) -> None:
    """What the types of the fields don't say."""
    destination = envelope.destination
    if envelope.source[0] == 0:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "the source is not a node id")
    if not envelope.frames:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "an envelope has at least one frame")
    if envelope.first and not envelope.session:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "data frames need a session")
    if destination[0] == 0:
        if destination != ANYONE:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "the destination is not a node id")
        if any(type(frame) not in _TO_ANYONE for frame in envelope.frames):
            raise RemoteProtocolError(WireCode.BAD_FIELD, "only PING, ATTACH, LISTEN and BYE go to whoever reads them")


def _check_frames(envelope: f.Envelope, parts: Sequence[f.Part], max_payload_bytes: int) -> None:
    """Check each frame, and give it its payload if that has come in parts of its own."""
    data = envelope.first > 0
    payloads = iter(parts)
    next(payloads, None)  # the header
    for frame in envelope.frames:
        is_data, with_payload, check = _RULES[type(frame)]
        if is_data is not data and is_data is not None:
            raise RemoteProtocolError(WireCode.BAD_FIELD, f"{type(frame).__name__} in an envelope of the other class")
        if check is not None and not check(frame):
            raise RemoteProtocolError(WireCode.BAD_FIELD, f"{type(frame).__name__}: a field is not legal")
        if with_payload:
            payload = frame.payload  # type: ignore[union-attr]
            if type(payload) is bytes:
                if len(payload) > max_payload_bytes:
                    _check_size(len(payload), max_payload_bytes)
            else:
                _take_payload(frame, payloads, max_payload_bytes)
        elif type(frame) is f.Unknown and frame.kind in f.OPTIONAL_PAYLOAD_KINDS:
            _payload(payloads, 1, max_payload_bytes)
    left = sum(1 for _ in payloads) if len(parts) > 1 else 0
    if left:
        raise RemoteProtocolError(WireCode.MISSING_PAYLOAD, f"{left} payload parts that no frame asks for")


def _take_payload(frame: Any, payloads: Iterator[f.Part], limit: int) -> None:
    payload = _payload(payloads, 1 if frame.payload is None else frame.payload, limit)
    if type(frame) not in _READ_FROM_VIEWS:
        payload = bytes(payload)
    msgspec.structs.force_setattr(frame, "payload", payload)


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


def _check_texts(values: Iterable[Any]) -> None:
    """Bound the texts and byte strings of frames: those of a header that is no longer than one may be need no look."""
    for value in values:
        kind = type(value)
        if kind is str:
            if len(value) > MAX_TEXT_BYTES // 4 and len(value.encode()) > MAX_TEXT_BYTES:
                raise RemoteProtocolError(WireCode.TOO_LARGE, f"a text of over {MAX_TEXT_BYTES:,} bytes")
        elif kind is bytes:
            if len(value) > MAX_TEXT_BYTES:
                raise RemoteProtocolError(WireCode.TOO_LARGE, f"a byte string of over {MAX_TEXT_BYTES:,} bytes")
        elif kind is list:
            _check_texts(value)
        elif kind is dict:
            _check_texts(value)
            _check_texts(value.values())
        elif isinstance(value, f.Wired):
            _check_texts(msgspec.structs.astuple(value))


# -- envelopes that are not as this version writes them ----------------------------------------------------------------


def _read_leniently(header: f.Part) -> f.Envelope:
    """The envelope without what a later version has added. RemoteProtocolError, with the code of what is illegal."""
    fields = _unpack(header)
    if type(fields) is not list or len(fields) < _ENVELOPE_ITEMS:
        raise RemoteProtocolError(WireCode.BAD_FIELD, f"the header is not an array of {_ENVELOPE_ITEMS} fields")
    _check_nesting(fields[_ENVELOPE_ITEMS:], MAX_NESTING - 1)
    wire_frames = fields[_ENVELOPE_ITEMS - 1]
    if type(wire_frames) is not list:
        raise RemoteProtocolError(WireCode.BAD_FIELD, "the frames of an envelope are an array")
    if len(wire_frames) > MAX_FRAMES:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"{len(wire_frames)} frames, over {MAX_FRAMES}")
    known: list[list[Any]] = []
    unknown: list[tuple[int, f.Unknown]] = []
    for place, wire in enumerate(wire_frames):
        if type(wire) is not list or not wire or type(wire[0]) is not int:
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a frame is an array that starts with its kind")
        if wire[0] in _KINDS:
            known.append(_known(wire))
        else:
            unknown.append((place, _unknown(wire)))
    try:
        envelope = _read(_packb([*fields[: _ENVELOPE_ITEMS - 1], known]))
    except _READ_ERRORS as error:
        raise RemoteProtocolError(WireCode.BAD_FIELD, f"not an envelope: {error}") from error
    for place, frame in unknown:  # in their order, so that each place is right when its turn comes
        envelope.frames.insert(place, frame)
    return envelope


def _known(wire: list[Any]) -> list[Any]:
    """A frame of a kind that is known, without what a later version has added."""
    end = len(_KINDS[wire[0]].__struct_fields__) + 1
    _check_nesting(wire[end:], _NESTING_IN_FRAME)
    longest = max((len(value) for value in wire[:end] if type(value) is list), default=0)
    if wire[0] in _OF_MANY and longest > MAX_AGENTS:
        raise RemoteProtocolError(WireCode.TOO_LARGE, f"a list of {longest:,}, over {MAX_AGENTS:,}")
    return wire[:end]


def _unknown(wire: list[Any]) -> f.Unknown:
    kind = wire[0]
    if kind not in f.OPTIONAL_BARE_KINDS and kind not in f.OPTIONAL_PAYLOAD_KINDS:
        raise RemoteProtocolError(WireCode.UNKNOWN_KIND, f"frame kind {kind}")
    _check_nesting(wire[1:], _NESTING_IN_FRAME)
    return f.Unknown(kind)


_ENVELOPE_ITEMS = len(f.Envelope.__struct_fields__) + 1
_NESTING_IN_FRAME = MAX_NESTING - 3  # the header, its array of frames and the frame are three levels


def _check_nesting(values: Iterable[object], levels: int) -> None:
    """What this version ignores keeps the bound too; the checks of the fields see to the rest."""
    for value in values:
        if isinstance(value, (list, dict)):
            if not levels:
                raise RemoteProtocolError(WireCode.TOO_LARGE, f"nested deeper than {MAX_NESTING}")
            _check_nesting(value if isinstance(value, list) else value.values(), levels - 1)


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
        if len(fields) < 4 or not _is_heartbeat(*fields):
            raise RemoteProtocolError(WireCode.BAD_FIELD, "a HEARTBEAT has version, count, digest and load")
        return Heartbeat(body[1], *fields)
    if kind == _DELTA:
        if len(parts) != 3:
            raise RemoteProtocolError(WireCode.MISSING_PAYLOAD, "a DELTA has one payload part")
        if len(body) < 3 or not _are_deaths(body[2]):
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


# -- what types don't say ----------------------------------------------------------------------------------------------


def _is_agent(key: str) -> bool:
    return key.find("/") > 0 and len(key) <= MAX_AGENT_ID_CHARS


def _is_agent_or_none(key: str | None) -> bool:
    return key is None or _is_agent(key)


def _is_node(value: object) -> bool:
    return type(value) is bytes and len(value) == NODE_ID_BYTES and value[0] != 0


def _is_uint(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_UINT


def _are_versions(entries: list[f.VersionEntry]) -> bool:
    return all(_is_node(node) and _is_uint(version) and type(dead) is bool for node, version, dead in entries)


def _are_deaths(entries: object) -> bool:
    return type(entries) is list and all(
        type(entry) is list and len(entry) == 2 and _is_node(entry[0]) and _is_uint(entry[1]) for entry in entries
    )


def _is_heartbeat(version: object, live: object, digest: object, load: object) -> bool:
    is_digest = type(digest) is bytes and len(digest) == DIGEST_BYTES
    return is_digest and all(map(_is_uint, (version, live, load)))


def _is_request(frame: f.Request) -> bool:
    return _is_agent(frame.agent) and (frame.sender is None or _is_agent(frame.sender))


def _is_event(frame: f.Event) -> bool:
    recipients = frame.recipients
    return bool(recipients) and all(map(_is_agent, recipients)) and _is_agent_or_none(frame.sender)


def _is_agent_frame(frame: f.Agent) -> bool:
    return frame.agent == "" or _is_agent(frame.agent)


def _is_census(frame: f.Census) -> bool:
    return frame.agent_type != "" and "/" not in frame.agent_type and len(frame.agent_type) < MAX_AGENT_ID_CHARS


_CHECKS: dict[type[Any], Callable[[Any], bool]] = {
    f.SyncPull: lambda frame: _are_versions(frame.entries),
    f.SyncPush: lambda frame: _are_deaths(frame.dead),
    f.Probe: lambda frame: _is_node(frame.node),
    f.Probed: lambda frame: _is_node(frame.node),
    f.Roster: lambda frame: all(map(_is_node, frame.attached)) and all(map(_is_node, frame.gone)),
    f.Listen: lambda frame: all(map(_is_node, frame.nodes)) and all(map(_is_node, frame.dropped)),
    f.Seek: lambda frame: _is_node(frame.node) and _is_node(frame.seeker),
    f.Request: _is_request,
    f.Event: _is_event,
    f.Agent: _is_agent_frame,
    f.Census: _is_census,
    f.Claim: lambda frame: all(map(_is_agent, frame.agents)),
    f.Rival: lambda frame: _is_agent(frame.agent) and _is_node(frame.node),
    f.Yield: lambda frame: _is_agent(frame.agent),
    f.Disclaim: lambda frame: _is_agent(frame.agent),
    f.Moved: lambda frame: _is_agent(frame.agent) and _is_node(frame.node),
}

_KINDS: dict[int, type[Any]] = {number: kind for kind, number in f.KINDS.items()}
_WITH_PAYLOAD = frozenset(kind for kind in f.KINDS if "payload" in kind.__struct_fields__)
_READ_FROM_VIEWS = frozenset({f.Request, f.Reply, f.Event})  # large messages of users; whoever reads others wants bytes
_TO_ANYONE = frozenset({f.Ping, f.Attach, f.Listen, f.Bye})
_OF_MANY = frozenset(f.KINDS[kind] for kind in (f.Event, f.Claim, f.Roster, f.Listen))  # agents or nodes

_RULES: dict[type[Any], tuple[bool | None, bool, Callable[[Any], bool] | None]] = {
    kind: (number >= f.FIRST_DATA_KIND, kind in _WITH_PAYLOAD, _CHECKS.get(kind)) for kind, number in f.KINDS.items()
} | {f.Unknown: (None, False, None)}
"""Of each kind: whether it is a data frame, if it can't be either; whether it has a payload; its check."""
