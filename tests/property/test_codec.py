"""What is encoded comes back; what is anything else gives a typed error."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgpack
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.property import strategies as some
from zmqagents.errors import RemoteProtocolError
from zmqagents.protocol import codec
from zmqagents.protocol import frames as f

# Examples by the worth of finding more; a deadline would measure who else uses the machine.
quick = settings(max_examples=40, deadline=None)
thorough = settings(max_examples=120, deadline=None)

SOURCE, DESTINATION = b"\xa1" * 16, b"\xb2" * 16


def decode(parts: Sequence[f.Part]) -> f.Envelope | None:
    """The envelope, or None if the codec refused it as it should. Whatever else it raises fails the test."""
    try:
        envelope = codec.decode_envelope(parts)
    except RemoteProtocolError as error:
        event(f"refused: {error.code.name}")
        return None
    event("accepted")
    return envelope


def assert_legal(envelope: f.Envelope) -> None:
    """What the decoder lets through is encodable, and the same when it comes back."""
    known: list[f.Frame] = [frame for frame in envelope.frames if not isinstance(frame, f.Unknown)]
    if known:
        again = replace(envelope, frames=known)
        assert codec.decode_envelope(codec.encode_envelope(again)) == again


def test_strategies_cover_every_kind() -> None:
    assert {*some.control_kinds, *some.data_kinds} == {*f.KINDS}


@pytest.mark.parametrize("kind", f.KINDS, ids=lambda kind: str(kind.__name__))
@given(data=st.data())
@quick
def test_frame_of_each_kind_comes_back_as_it_was(kind: type[Any], data: st.DataObject) -> None:
    frames = {**some.control_kinds, **some.data_kinds}[kind]
    envelope = data.draw(some.envelopes_of(frames, data=f.KINDS[kind] >= f.FIRST_DATA_KIND))

    decoded = codec.decode_envelope(codec.encode_envelope(envelope))

    assert decoded == envelope
    assert [type(frame) for frame in decoded.frames] == [kind] * len(envelope.frames)


@given(some.envelopes)
@thorough
def test_envelope_of_many_frames_comes_back_as_it_was(envelope: f.Envelope) -> None:
    assert codec.decode_envelope(codec.encode_envelope(envelope)) == envelope


@given(some.gossip)
@quick
def test_gossip_comes_back_as_it_was(gossip: codec.Gossip) -> None:
    assert codec.decode_gossip(codec.encode_gossip(gossip)) == gossip


@given(st.lists(st.binary(max_size=300), max_size=40))
@quick
def test_packed_records_come_back_as_they_were(records: list[bytes]) -> None:
    assert codec.unpack_records(codec.pack_records(records)) == records


@given(st.lists(st.binary(max_size=200), max_size=4))
@thorough
def test_any_bytes_give_an_envelope_or_a_typed_error(parts: list[bytes]) -> None:
    decode(parts)


@given(st.lists(some.msgpack_values, max_size=10), st.lists(st.binary(max_size=4), max_size=3))
@thorough
def test_any_msgpack_gives_an_envelope_or_a_typed_error(header: list[object], payloads: list[bytes]) -> None:
    decode([msgpack.packb(header), *payloads])


@given(
    st.lists(st.lists(st.integers(0, 130) | some.msgpack_values, max_size=10), min_size=1, max_size=3),
    st.integers(0, 1),
    st.lists(st.binary(max_size=4), max_size=3),
)
@thorough
def test_any_frames_give_an_envelope_or_a_typed_error(
    frames: list[list[object]], first: int, payloads: list[bytes]
) -> None:
    envelope = decode([msgpack.packb([1, SOURCE, DESTINATION, 1, first, 0, 0, frames]), *payloads])

    if envelope is not None:
        assert_legal(envelope)


@given(st.data())
@thorough
def test_damaged_envelope_gives_a_legal_one_or_a_typed_error(data: st.DataObject) -> None:
    parts = codec.encode_envelope(data.draw(some.envelopes))
    header = data.draw(some.damaged(st.just(bytes(parts[0]))))

    envelope = decode([header, *parts[1:]])

    if envelope is not None:
        assert_legal(envelope)


@given(some.envelopes, st.data())
@thorough
def test_envelope_with_any_value_in_a_field_is_legal_or_gives_a_typed_error(
    envelope: f.Envelope, data: st.DataObject
) -> None:
    parts = codec.encode_envelope(envelope)
    header = msgpack.unpackb(parts[0])
    fields = data.draw(st.sampled_from([header, *header[7]]))
    fields[data.draw(st.integers(0, len(fields) - 1))] = data.draw(some.msgpack_values)

    decoded = decode([msgpack.packb(header), *parts[1:]])

    if decoded is not None:
        assert_legal(decoded)


@given(some.envelopes, st.data())
@thorough
def test_envelope_read_in_one_step_is_what_it_is_piece_by_piece(envelope: f.Envelope, data: st.DataObject) -> None:
    whole = bytes(codec.encode_envelope(envelope)[0])
    header = data.draw(st.just(whole) | some.damaged(st.just(whole)))
    try:
        at_once = codec._read(header)
    except codec._READ_ERRORS:
        event("not as this version writes it")
        return

    assert codec._read_leniently(header) == at_once


@given(st.data())
@quick
def test_envelope_with_other_payload_parts_gives_a_typed_error(data: st.DataObject) -> None:
    parts = codec.encode_envelope(data.draw(some.envelopes))
    count = data.draw(st.integers(0, 8).filter(lambda number: number != len(parts) - 1))

    assert decode([parts[0], *[b"payload"] * count]) is None


@given(st.data())
@thorough
def test_damaged_gossip_gives_legal_gossip_or_a_typed_error(data: st.DataObject) -> None:
    parts = codec.encode_gossip(data.draw(some.gossip))
    hurt = data.draw(st.integers(0, len(parts) - 1))
    parts[hurt] = data.draw(some.damaged(st.just(parts[hurt])))

    try:
        gossip = codec.decode_gossip(parts)
    except RemoteProtocolError:
        return
    if gossip is not None:
        assert codec.decode_gossip(codec.encode_gossip(gossip)) == gossip


@given(st.one_of(st.binary(max_size=200), some.msgpack_values.map(msgpack.packb)))
@thorough
def test_any_bytes_give_records_or_a_typed_error(payload: bytes) -> None:
    try:
        records = codec.unpack_records(payload)
    except RemoteProtocolError:
        return
    assert codec.unpack_records(codec.pack_records(records)) == records


@given(st.lists(st.binary(max_size=100), max_size=4))
@quick
def test_any_bytes_give_gossip_or_a_typed_error(parts: list[bytes]) -> None:
    for message in (parts, [codec.GOSSIP_PREFIX, *parts]):
        try:
            codec.decode_gossip(message)
        except RemoteProtocolError as error:
            event(f"refused: {error.code.name}")
