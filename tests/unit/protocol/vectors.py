"""Reads tests/vectors/*.json and turns their values into what the codec takes and gives.

Each file is a list of vectors: ``clause`` of SPEC.md, ``name``, ``form`` (which decoder reads it: envelope, gossip,
records or record), ``parts`` and either ``value`` or the name of the wire code in ``error``. A part is hexadecimal
text, or a list of [hexadecimal text, times] to be joined. In a value, bytes are ``{"hex": text}``. ``decode_only``
marks what no encoder of version 1 produces. ``tools/make_vectors`` fills in the parts of the others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from zmqagents.protocol import codec
from zmqagents.protocol import frames as f
from zmqagents.protocol.records import (
    HostedType,
    Phase,
    Record,
    SubscriptionEntry,
    SubscriptionKind,
    decode_record,
    encode_record,
)

FOLDER = Path(__file__).parents[2] / "vectors"
VALID_FILES = ("control", "data", "gossip", "records")


@dataclass(frozen=True)
class Vector:
    """One case of a vector file."""

    clause: str
    name: str
    form: str
    parts: list[bytes]
    value: Any = None
    error: str | None = None
    decode_only: bool = False

    def __str__(self) -> str:
        return f"{self.clause} {self.name}"


def load(file: str) -> list[Vector]:
    """The vectors of one file."""
    cases: list[dict[str, Any]] = json.loads((FOLDER / f"{file}.json").read_text(encoding="utf-8"))
    return [Vector(**{**case, "parts": [read_part(part) for part in case["parts"]]}) for case in cases]


def read_part(part: str | list[tuple[str, int]]) -> bytes:
    """The bytes of a part."""
    segments = [(part, 1)] if isinstance(part, str) else part
    return b"".join(bytes.fromhex(text) * times for text, times in segments)


def encode(form: str, value: Any) -> list[bytes]:
    """The parts that the value in a vector stands for."""
    if form == "envelope":
        return [bytes(part) for part in codec.encode_envelope(_envelope(value))]
    if form == "gossip":
        return codec.encode_gossip(_gossip(value))
    return [encode_record(_record(value))]


def decode(form: str, parts: list[bytes]) -> Any:
    """What the decoder for ``form`` makes of the parts, as the value in a vector. Raises RemoteProtocolError."""
    if form == "envelope":
        envelope = codec.decode_envelope(parts)
        return {**_plain(asdict(envelope)), "frames": [_from_frame(frame) for frame in envelope.frames]}
    if form == "gossip":
        gossip = codec.decode_gossip(parts)
        return None if gossip is None else _from_frame(gossip)
    if form == "records":
        return _plain(codec.unpack_records(parts[0]))
    return _plain(decode_record(parts[0]))


def kind_name(kind: type) -> str:
    """``SyncPull`` as SPEC.md writes it: ``SYNC_PULL``."""
    return re.sub(r"(?<=.)(?=[A-Z])", "_", kind.__name__).upper()


_KINDS: dict[str, type[Any]] = {kind_name(kind): kind for kind in (*f.KINDS, codec.Heartbeat, codec.Delta)}


def _from_frame(frame: Any) -> dict[str, Any]:
    if isinstance(frame, f.Unknown):
        return {"kind": frame.kind}
    fields = asdict(frame) if isinstance(frame, f.Wired) else frame._asdict()
    return {"kind": kind_name(type(frame)), **_plain(fields)}


def _to_frame(value: dict[str, Any]) -> Any:
    named = {name: _bytes_in(item) for name, item in value.items() if name != "kind"}
    return _KINDS[value["kind"]](**named)


def _envelope(value: dict[str, Any]) -> f.Envelope:
    named = {name: _bytes_in(item) for name, item in value.items() if name != "frames"}
    return f.Envelope(frames=[_to_frame(frame) for frame in value["frames"]], **named)


def _gossip(value: dict[str, Any]) -> codec.Gossip:
    gossip: codec.Gossip = _to_frame(value)
    return gossip


def _record(value: dict[str, Any]) -> Record:
    named = _bytes_in(value)
    return Record(
        **{
            **named,
            "phase": Phase[named["phase"]],
            "endpoints": tuple(named["endpoints"]),
            "gossip_endpoints": tuple(named["gossip_endpoints"]),
            "protocol": tuple(named["protocol"]),
            "types": {name: HostedType(**item) for name, item in named["types"].items()},
            "pinned": frozenset(named["pinned"]),
            "subscriptions": {name: _subscription(item) for name, item in named["subscriptions"].items()},
            "readable": {name: tuple(item) for name, item in named["readable"].items()},
        }
    )


def _subscription(value: dict[str, Any]) -> SubscriptionEntry:
    return SubscriptionEntry(**{**value, "kind": SubscriptionKind[value["kind"]]})


def _plain(value: Any) -> Any:
    """The value with nothing in it but what JSON has."""
    if isinstance(value, bytes):
        return {"hex": value.hex()}
    if isinstance(value, (Phase, SubscriptionKind)):
        return value.name
    if isinstance(value, (Record, HostedType, SubscriptionEntry)):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, frozenset):
        return sorted(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _bytes_in(value: Any) -> Any:
    """The value with its ``{"hex": text}`` made bytes."""
    if isinstance(value, dict):
        return bytes.fromhex(value["hex"]) if value.keys() == {"hex"} else {k: _bytes_in(v) for k, v in value.items()}
    return [_bytes_in(item) for item in value] if isinstance(value, list) else value
