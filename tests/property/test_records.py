"""Records come back from CBOR, their bytes are deterministic, and anything else gives a typed error."""

from __future__ import annotations

from dataclasses import replace

import cbor2
from hypothesis import event, given, settings
from hypothesis import strategies as st

from tests.property import strategies as some
from zmqagents.errors import RemoteProtocolError
from zmqagents.protocol.records import Record, decode_record, encode_record

quick = settings(max_examples=60, deadline=None)
thorough = settings(max_examples=120, deadline=None)


def assert_legal_or_refused(data: bytes) -> None:
    """What the decoder lets through is encodable, and the same when it comes back."""
    try:
        record = decode_record(data)
    except RemoteProtocolError as error:
        event(f"refused: {error.code.name}")
        return
    event("accepted")
    assert decode_record(encode_record(record)) == record


def deterministic_end(data: bytes, at: int = 0) -> int:
    """Where the item at ``at`` ends. AssertionError if it isn't in core deterministic form (RFC 8949 section 4.2.1)."""
    major, information = data[at] >> 5, data[at] & 0x1F
    size = 0 if information < 24 else 1 << information - 24
    assert information < 28
    argument = int.from_bytes(data[at + 1 : at + 1 + size], "big") if size else information
    assert argument >= {0: 0, 1: 24, 2: 1 << 8, 4: 1 << 16, 8: 1 << 32}[size], "the head is as short as can be"
    at += 1 + size
    if major in {2, 3}:
        return at + argument
    if major == 4:
        for _ in range(argument):
            at = deterministic_end(data, at)
    elif major == 5:
        previous = b""
        for _ in range(argument):
            end = deterministic_end(data, at)
            assert previous < data[at:end], "the keys ascend bytewise, none twice"
            previous = data[at:end]
            at = deterministic_end(data, end)
    else:
        assert major == 0, "a record holds unsigned integers, strings, arrays and maps"
    return at


@given(some.records)
@thorough
def test_record_comes_back_as_it_was(record: Record) -> None:
    assert decode_record(encode_record(record)) == record


@given(some.records)
@thorough
def test_bytes_of_a_record_are_in_deterministic_form(record: Record) -> None:
    encoded = encode_record(record)

    assert deterministic_end(encoded) == len(encoded)


@given(some.records)
@quick
def test_equal_records_have_equal_bytes_when_their_maps_were_filled_in_another_order(record: Record) -> None:
    other = replace(
        record,
        types=dict(reversed([*record.types.items()])),
        subscriptions=dict(reversed([*record.subscriptions.items()])),
        readable=dict(reversed([*record.readable.items()])),
    )

    assert other == record
    assert encode_record(other) == encode_record(record)


@given(some.records, some.records)
@quick
def test_different_records_have_different_bytes(one: Record, other: Record) -> None:
    assert (encode_record(one) == encode_record(other)) is (one == other)


@given(some.records, st.permutations(range(1, 16)))
@quick
def test_record_is_read_when_its_keys_stand_in_another_order(record: Record, order: list[int]) -> None:
    wire = cbor2.loads(encode_record(record))

    assert decode_record(cbor2.dumps({key: wire[key] for key in order if key in wire})) == record


@given(some.records, st.dictionaries(st.integers(16, 2**63 - 1), some.uints | some.texts | st.floats(), max_size=5))
@quick
def test_record_is_read_when_a_later_version_added_keys(record: Record, added: dict[int, object]) -> None:
    wire = {**cbor2.loads(encode_record(record)), **added}

    assert decode_record(cbor2.dumps(wire)) == record


@given(st.binary(max_size=300))
@thorough
def test_any_bytes_give_a_record_or_a_typed_error(data: bytes) -> None:
    assert_legal_or_refused(data)


@given(st.dictionaries(st.integers(0, 20), some.cbor_values, max_size=16))
@thorough
def test_any_cbor_map_gives_a_record_or_a_typed_error(wire: dict[int, object]) -> None:
    assert_legal_or_refused(cbor2.dumps(wire))


@given(some.records, st.integers(1, 15), some.cbor_values)
@thorough
def test_record_with_any_value_in_a_field_is_legal_or_gives_a_typed_error(
    record: Record, key: int, value: object
) -> None:
    wire = {**cbor2.loads(encode_record(record)), key: value}

    assert_legal_or_refused(cbor2.dumps(wire))


@given(some.damaged(some.records.map(encode_record)))
@thorough
def test_damaged_record_is_legal_or_gives_a_typed_error(data: bytes) -> None:
    assert_legal_or_refused(data)
