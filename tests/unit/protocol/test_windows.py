"""What frames weigh in the windows (SPEC.md section 5)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.unit.protocol.builders import event, request
from zmqagents.protocol import frames as f
from zmqagents.protocol.windows import FRAME_WEIGHT_BYTES, weight_bytes

REPLY = f.Reply(1, "", "", b"")


@pytest.mark.parametrize(
    ("frame", "weight"),
    [
        (REPLY, FRAME_WEIGHT_BYTES),
        (replace(REPLY, payload=bytes(1_000)), FRAME_WEIGHT_BYTES + 1_000),
        (replace(REPLY, type_name="Text", content_type="json"), FRAME_WEIGHT_BYTES + 8),
        (f.Cancel(7), FRAME_WEIGHT_BYTES),
        (f.EventDone([1, 2, 3]), FRAME_WEIGHT_BYTES),
    ],
)
def test_frame_weighs_its_payload_its_texts_and_a_constant(frame: f.DataFrame, weight: int) -> None:
    assert weight_bytes(frame) == weight


def test_trace_context_is_weighed() -> None:
    bare = replace(request(1), context=None)
    assert weight_bytes(replace(bare, context={"traceparent": "x" * 89})) == weight_bytes(bare) + 100


def test_each_recipient_of_an_event_is_weighed() -> None:
    one = replace(event("e"), recipients=["worker/a"])
    many = replace(one, recipients=["worker/a"] * 128)
    assert weight_bytes(many) - weight_bytes(one) == 127 * (8 + FRAME_WEIGHT_BYTES // 4)
