"""Events that are unfinished at a peer (SPEC.md sections 5 and 8.5)."""

from __future__ import annotations

from tests.unit.protocol.builders import event
from zmqagents.protocol.events import EventLimits, EventOutbox


def outbox_with(*sizes_bytes: int, window_events: int = 3, window_bytes: int = 100) -> EventOutbox:
    outbox = EventOutbox(EventLimits(window_events=window_events, window_bytes=window_bytes))
    for number, size_bytes in enumerate(sizes_bytes, 1):
        outbox.sent(number, event(f"e{number}", text="x" * size_bytes))
    return outbox


def test_outbox_keeps_events_until_they_are_finished() -> None:
    outbox = outbox_with(1, 1, 1)
    assert outbox.done([1, 3]) == 2
    assert len(outbox) == 1
    assert [kept.message_id for kept in outbox.drain()] == ["e2"]


def test_outbox_takes_a_finish_once() -> None:
    outbox = outbox_with(60, 60)
    assert outbox.done([1, 1, 9]) == 1
    assert outbox.done([1]) == 0
    assert outbox.has_room(), "the bytes were given back once"


def test_outbox_has_no_room_when_its_window_is_full_of_events() -> None:
    outbox = outbox_with(0, 0, 0)
    assert not outbox.has_room()
    outbox.done([2])
    assert outbox.has_room()


def test_outbox_has_no_room_when_its_window_is_full_of_bytes() -> None:
    outbox = outbox_with(60, 60)
    assert not outbox.has_room()
    outbox.done([1])
    assert outbox.has_room()


def test_empty_outbox_has_room_for_an_event_of_any_size() -> None:
    assert outbox_with(window_events=1, window_bytes=0).has_room()


def test_drained_outbox_gives_its_events_in_order_and_starts_anew() -> None:
    outbox = outbox_with(50, 50, 50)
    assert [kept.message_id for kept in outbox.drain()] == ["e1", "e2", "e3"]
    assert (len(outbox), outbox.has_room(), outbox.drain()) == (0, True, [])
