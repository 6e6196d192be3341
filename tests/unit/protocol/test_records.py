"""What a record promises beside the vectors: legal once made, deterministic bytes, little memory for hostile ones."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from typing import Any

import cbor2
import pytest

from zmqagents.errors import LocalProtocolError, RemoteProtocolError, WireCode
from zmqagents.protocol.bounds import MAX_UINT
from zmqagents.protocol.codec import MAX_RECORD_BYTES
from zmqagents.protocol.records import (
    MAX_ENDPOINTS,
    HostedType,
    Phase,
    Record,
    SubscriptionEntry,
    SubscriptionKind,
    decode_record,
    encode_record,
)

MIB = 1 << 20
RECORD = Record(
    node_id=b"\xa1" * 16,
    version=5,
    phase=Phase.ACTIVE,
    instance_id="w",
    cluster="c",
    endpoints=("tcp://192.0.2.1:1",),
    gossip_endpoints=(),
    protocol=(1, 1),
    types={"b": HostedType("by_key", 1), "aa": HostedType("by_key", 2)},
    pinned=frozenset({"p/2", "p/1"}),
    subscriptions={"s": SubscriptionEntry(SubscriptionKind.PREFIX, "t.", "b")},
    readable={"T": ("j",)},
    load=300,
)


def subscribed(count: int) -> Record:
    """A record with so many subscriptions of about 90 bytes each."""
    entries = {
        f"{number:032x}": SubscriptionEntry(SubscriptionKind.EXACT, f"topic-{number:020}", "worker-agent")
        for number in range(count)
    }
    return replace(RECORD, subscriptions=entries)


# -- a record that exists is legal -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("node_id", bytes(16), "node id"),
        ("node_id", b"\xa1" * 15, "node id"),
        ("version", 0, "version"),
        ("version", MAX_UINT + 1, "version"),
        ("version", True, "version"),
        ("phase", 1, "phase"),
        ("instance_id", "é" * 128, "instance id"),
        ("cluster", "c" * 256, "cluster"),
        ("cluster", "\ud800", "surrogates"),
        ("cluster", b"c", "cluster"),
        ("endpoints", ("tcp://a:1",) * (MAX_ENDPOINTS + 1), "endpoints"),
        ("gossip_endpoints", (1,), "gossip endpoints"),
        ("protocol", (2, 1), "protocol"),
        ("protocol", (1, 2, 3), "protocol"),
        ("protocol", (-1, 1), "protocol"),
        ("types", {"": HostedType("by_key", 1)}, "types"),
        ("types", {"a/b": HostedType("by_key", 1)}, "types"),
        ("pinned", frozenset({"worker"}), "pinned"),
        ("pinned", frozenset({"/key"}), "pinned"),
        ("pinned", frozenset({"a/" + "k" * 1_023}), "pinned"),
        ("subscriptions", {1: SubscriptionEntry(SubscriptionKind.EXACT, "t", "a")}, "subscriptions"),
        ("readable", {"T": (b"j",)}, "readable"),
        ("readable", {b"T": ("j",)}, "readable"),
        ("load", -1, "load"),
        ("max_payload_bytes", MAX_UINT + 1, "largest payload"),
        ("started_ms", -1, "started"),
        ("started_ms", 1.5, "started"),
    ],
)
def test_record_is_not_made_when_a_field_breaks_a_rule(field: str, value: Any, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        replace(RECORD, **{field: value})


def test_hosted_type_is_not_made_when_its_weight_is_no_unsigned_integer() -> None:
    with pytest.raises(ValueError, match="weight"):
        HostedType("by_key", -1)


def test_hosted_type_is_not_made_when_an_idempotent_message_type_is_no_text() -> None:
    names: Any = frozenset({b"Task"})

    with pytest.raises(ValueError, match="idempotent"):
        HostedType("by_key", 1, names)


def test_subscription_is_not_made_when_its_agent_type_is_an_agent_id() -> None:
    with pytest.raises(ValueError, match="agent type"):
        SubscriptionEntry(SubscriptionKind.EXACT, "t", "worker/default")


@pytest.mark.parametrize("kind", [SubscriptionKind.EXACT, SubscriptionKind.PREFIX])
def test_subscription_is_not_made_when_others_would_evaluate_it_and_it_has_no_agent_type(
    kind: SubscriptionKind,
) -> None:
    with pytest.raises(ValueError, match="agent type"):
        SubscriptionEntry(kind, "t", "")


def test_subscription_has_no_agent_type_when_its_node_evaluates_it() -> None:
    record = replace(RECORD, subscriptions={"s": SubscriptionEntry(SubscriptionKind.OPAQUE, "", "")})

    assert decode_record(encode_record(record)) == record


def test_subscription_is_not_made_when_its_kind_is_a_plain_number() -> None:
    kind: Any = 0

    with pytest.raises(ValueError, match="kind"):
        SubscriptionEntry(kind, "t", "worker")


def test_record_does_not_change_once_it_is_made() -> None:
    with pytest.raises(FrozenInstanceError):
        RECORD.load = 4  # type: ignore[misc]


# -- bytes -------------------------------------------------------------------------------------------------------------


def test_record_has_the_bytes_that_the_specification_gives() -> None:
    written_by_hand = bytes.fromhex(
        "ad"  # map of 13
        " 01 50 a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1"  # node id
        " 02 05"  # version
        " 03 01"  # phase: active
        " 04 61 77"  # instance id: w
        " 05 61 63"  # cluster: c
        " 06 81 71 7463703a2f2f3139322e302e322e313a31"  # endpoints: tcp://192.0.2.1:1
        " 07 80"  # gossip endpoints
        " 08 82 01 01"  # protocol
        " 09 a2"  # types, the shorter key first
        " 61 62 82 66 62795f6b6579 01"  # b is [by_key, 1]
        " 62 6161 82 66 62795f6b6579 02"  # aa is [by_key, 2]
        " 0a 82 63 702f31 63 702f32"  # pinned: p/1, p/2
        " 0b a1 61 73 83 01 62 742e 61 62"  # subscriptions: s is [1, t., b]
        " 0c a1 61 54 81 61 6a"  # readable: T is [j]
        " 0d 19 012c"  # load: 300
    )

    assert encode_record(RECORD) == written_by_hand
    assert decode_record(written_by_hand) == RECORD


@pytest.mark.parametrize("phase", Phase)
def test_phase_comes_back_as_a_phase(phase: Phase) -> None:
    assert decode_record(encode_record(replace(RECORD, phase=phase))).phase is phase


@pytest.mark.parametrize("kind", SubscriptionKind)
def test_kind_of_a_subscription_comes_back_as_a_kind(kind: SubscriptionKind) -> None:
    record = replace(RECORD, subscriptions={"s": SubscriptionEntry(kind, "t", "a")})

    assert decode_record(encode_record(record)).subscriptions["s"].kind is kind


def test_idempotent_message_types_and_the_start_stand_where_the_specification_puts_them() -> None:
    types = {"b": HostedType("rebalance", 1, frozenset({"Task", "Ask"}))}

    wire = cbor2.loads(encode_record(replace(RECORD, types=types, started_ms=1_764_553_200_123)))

    assert wire[9] == {"b": ["rebalance", 1, ["Ask", "Task"]]}
    assert wire[15] == 1_764_553_200_123


def test_record_says_nothing_of_idempotent_message_types_and_the_start_when_there_are_none() -> None:
    wire = cbor2.loads(encode_record(replace(RECORD, types={"b": HostedType("by_key", 1)}, started_ms=0)))

    assert wire[9] == {"b": ["by_key", 1]}
    assert 15 not in wire


def test_order_of_endpoints_and_content_types_is_kept() -> None:
    record = replace(RECORD, endpoints=("z", "a", "m"), readable={"T": ("z", "a")})

    decoded = decode_record(encode_record(record))

    assert decoded.endpoints == ("z", "a", "m")
    assert decoded.readable["T"] == ("z", "a")


def test_record_of_40000_subscriptions_passes() -> None:
    record = subscribed(40_000)

    encoded = encode_record(record)

    assert len(encoded) < MAX_RECORD_BYTES
    assert decode_record(encoded) == record


def test_record_is_not_encoded_when_it_is_too_large_for_its_readers() -> None:
    with pytest.raises(LocalProtocolError, match="too many subscriptions"):
        encode_record(subscribed(60_000))


# -- hostile bytes -----------------------------------------------------------------------------------------------------


def with_key_20(value: bytes) -> bytes:
    """A legal record with one key more, whose value has these bytes."""
    encoded = encode_record(RECORD)
    return bytes([encoded[0] + 1]) + encoded[1:] + b"\x14" + value


def array_of(item: bytes, size_bytes: int) -> bytes:
    """A CBOR array of as many items as ``size_bytes`` hold."""
    count = size_bytes // len(item)
    return b"\x9a" + count.to_bytes(4, "big") + item * count


def peak_bytes(work: Callable[[], object]) -> int:
    """The most memory that Python held at once for ``work``."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def refusal_of(data: bytes) -> WireCode:
    """The code with which the decoder refuses the record."""
    with pytest.raises(RemoteProtocolError) as caught:
        decode_record(data)
    return caught.value.code


@pytest.mark.parametrize(
    "item",
    [b"\x80", b"\xa0", b"\x00", b"\x60", b"\x81\x00", b"\xa1\x60\x00", b"\x63\xe1\x88\xb4"],
    ids=["empty arrays", "empty maps", "numbers", "empty texts", "arrays", "maps", "wide texts"],
)
def test_memory_stays_in_proportion_when_a_record_is_made_of_small_values(item: bytes) -> None:
    data = with_key_20(array_of(item, MIB // 2))

    assert peak_bytes(lambda: decode_record(data)) < 100 * len(data)


@pytest.mark.parametrize(
    "claim", ["9affffffff", "9bffffffffffffffff", "baffffffff", "5affffffff", "7bffffffffffffffff"]
)
def test_memory_stays_small_when_a_record_claims_what_is_not_there(claim: str) -> None:
    data = with_key_20(bytes.fromhex(claim) + b"\x00" * 100)

    assert peak_bytes(lambda: refusal_of(data)) < MIB


def test_tag_is_refused_before_what_it_tags_is_read() -> None:
    hostile_regular_expression = cbor2.dumps(cbor2.CBORTag(35, "(" * 1_000))
    huge_number = b"\xc5\x82\x1a\x7f\xff\xff\xff\x01"  # 1 * 2^2147483647
    nothing_more = b"\xc5"

    for value in (hostile_regular_expression, huge_number, nothing_more):
        assert refusal_of(with_key_20(value)) is WireCode.MALFORMED


def test_keys_are_refused_when_they_are_of_a_type_whose_hashes_can_be_made_to_collide() -> None:
    colliding = {number * (2**61 - 1): 0 for number in range(8)}

    assert refusal_of(with_key_20(cbor2.dumps(colliding))) is WireCode.MALFORMED
    assert refusal_of(with_key_20(cbor2.dumps({(1, 2): 0}))) is WireCode.MALFORMED


@pytest.mark.parametrize("item", [b"\x80", b"\xa0", b"\x81\x00"], ids=["empty arrays", "empty maps", "arrays"])
def test_largest_record_is_read_in_little_time(item: bytes) -> None:
    data = with_key_20(array_of(item, MAX_RECORD_BYTES - 300))
    started_s = time.process_time()

    decode_record(data)

    assert time.process_time() - started_s < 10, "under 1.5 s where this was written"


def test_record_is_refused_when_its_bytes_go_on_after_its_end() -> None:
    assert refusal_of(encode_record(RECORD) + encode_record(RECORD)) is WireCode.MALFORMED
