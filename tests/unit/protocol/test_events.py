"""Events that are unfinished at a peer, or here (SPEC.md sections 5 and 8.5)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from tests.unit.protocol.builders import event
from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol.bounds import MAX_EVENT_HOPS
from zmqagents.protocol.events import EventInbox, EventLimits, EventOutbox
from zmqagents.protocol.windows import weight_bytes

EMPTY_WEIGHT = weight_bytes(event("e1", text=""))


def outbox_with(*sizes_bytes: int, window_events: int = 3, payload_bytes: int = 100) -> EventOutbox:
    """``payload_bytes``: of two events in a window."""
    window_bytes = 2 * EMPTY_WEIGHT + payload_bytes
    outbox = EventOutbox(EventLimits(window_events=window_events, window_bytes=window_bytes))
    for number, size_bytes in enumerate(sizes_bytes, 1):
        outbox.sent(number, event(f"e{number}", text="x" * size_bytes))
    return outbox


def test_outbox_keeps_events_until_they_are_finished() -> None:
    outbox = outbox_with(1, 1, 1)
    assert [sent.event.message_id for sent in outbox.done([1, 3])] == ["e1", "e3"]
    assert len(outbox) == 1
    assert [kept.event.message_id for kept in outbox.drain()] == ["e2"]


def test_outbox_takes_a_finish_once() -> None:
    outbox = outbox_with(60, 60)
    assert len(outbox.done([1, 1, 9])) == 1
    assert outbox.done([1]) == []
    assert outbox.has_room(), "the bytes were given back once"


def test_outbox_has_no_room_when_its_window_is_full_of_events() -> None:
    outbox = outbox_with(0, 0, 0, payload_bytes=10_000)
    assert not outbox.has_room()
    outbox.done([2])
    assert outbox.has_room()


def test_outbox_has_no_room_when_its_window_is_full_of_bytes() -> None:
    outbox = outbox_with(60, 60)
    assert not outbox.has_room()
    outbox.done([1])
    assert outbox.has_room()


def test_empty_outbox_has_room_for_an_event_of_any_size() -> None:
    assert outbox_with(window_events=1, payload_bytes=-2 * EMPTY_WEIGHT).has_room()


def test_events_of_no_size_fill_a_window_too() -> None:
    assert not outbox_with(0, 0, window_events=9, payload_bytes=0).has_room()


def test_drained_outbox_gives_its_events_in_order_and_starts_anew() -> None:
    outbox = outbox_with(50, 50, 50)
    assert [kept.event.message_id for kept in outbox.drain()] == ["e1", "e2", "e3"]
    assert (len(outbox), outbox.has_room(), outbox.drain()) == (0, True, [])


def test_one_event_of_each_count_of_hops_has_room_if_none_has_come_farther() -> None:
    outbox = outbox_with(0, 0, 0, payload_bytes=10_000)
    rooms = []
    for number, hops in enumerate((3, 1, 2, 5, 4), 4):
        rooms.append([hops for hops in range(7) if outbox.has_room(hops)])
        outbox.sent(number, replace(event(f"e{number}"), hops=hops))
    assert rooms == [[1, 2, 3, 4, 5, 6], [4, 5, 6], [4, 5, 6], [4, 5, 6], [6]]
    outbox.done([4, 7])
    assert [hops for hops in range(7) if outbox.has_room(hops)] == [5, 6]


def test_that_one_has_room_whatever_it_weighs() -> None:
    outbox = outbox_with(10_000)
    outbox.sent(2, replace(event("e2", text="x" * 10_000), hops=1))
    assert (outbox.has_room(1), outbox.has_room(2)) == (False, True)


def test_of_events_that_have_to_wait_those_that_have_come_farthest_go_first() -> None:
    outbox = outbox_with(0, 0, 0, payload_bytes=10_000)
    for hops in (0, 1, 2, 1):
        outbox.keep(replace(event(f"hops {hops}"), hops=hops), 1)
    assert not outbox.has_room(1), "it would overtake"
    taken = []
    while (sent := outbox.take()) is not None:
        taken.append(sent.event.message_id)
        outbox.sent(10 + len(taken), *sent)
    assert (taken, len(outbox)) == (["hops 2"], 7)
    outbox.done([1, 2, 3])
    while (sent := outbox.take()) is not None:
        taken.append(sent.event.message_id)
        outbox.sent(10 + len(taken), *sent)
    assert taken == ["hops 2", "hops 1", "hops 1"]
    assert [sent.event.message_id for sent in outbox.drain()] == ["hops 2", "hops 1", "hops 1", "hops 0"]


def test_inbox_takes_what_such_an_outbox_sends_and_no_more() -> None:
    inbox = EventInbox(EventLimits(window_events=3))
    for receipt in range(6):
        inbox.came(receipt, receipt, 1)
    for receipt, hops in ((6, 1), (7, 2), (8, MAX_EVENT_HOPS)):
        inbox.came(receipt, receipt, 1, hops=hops)
    for hops in (0, 1, 2, MAX_EVENT_HOPS, MAX_EVENT_HOPS + 1):
        with pytest.raises(RemoteProtocolError, match="the window is 3"):
            inbox.came(9, 9, 1, hops=hops)
    assert inbox.finished(8) == 8
    inbox.came(9, 9, 1, hops=3)


def test_event_that_has_to_wait_is_taken_in_its_turn_when_there_is_room() -> None:
    outbox = outbox_with(0, 0, 0, payload_bytes=10_000)
    for message_id in ("e4", "e5"):
        outbox.keep(event(message_id), 1)
    assert (outbox.take(), len(outbox)) == (None, 5)
    outbox.done([1, 2])
    assert not outbox.has_room(), "it would overtake"
    for number in (4, 5):
        kept = outbox.take()
        assert kept is not None
        assert kept.event.message_id == f"e{number}"
        outbox.sent(number, *kept)
    assert outbox.take() is None
    assert len(outbox) == 3


def test_drained_outbox_gives_what_waited_behind_what_was_sent() -> None:
    outbox = outbox_with(0, 0, 0)
    outbox.keep(event("e4"), 1)
    assert [sent.event.message_id for sent in outbox.drain()] == ["e1", "e2", "e3", "e4"]
    assert (len(outbox), outbox.take(), outbox.has_room()) == (0, None, True)


def inbox_with(count: int, *, weight: int = 0) -> EventInbox:
    inbox = EventInbox(EventLimits(window_events=3, window_bytes=1_000))
    for number in range(1, count + 1):
        inbox.came(100 + number, number, weight)
    return inbox


def test_inbox_gives_back_the_number_of_an_event_once() -> None:
    inbox = inbox_with(2)
    assert (inbox.finished(102), inbox.finished(102), len(inbox)) == (2, None, 1)


def test_inbox_finishes_nothing_of_an_earlier_life_of_the_link() -> None:
    inbox = inbox_with(2)
    inbox.clear()
    assert (inbox.finished(101), len(inbox)) == (None, 0)


def test_inbox_takes_what_a_sender_that_keeps_to_its_window_may_send() -> None:
    inbox_with(3).came(1, 1, 0)
    inbox_with(1, weight=1_500).came(1, 1, 0)


@pytest.mark.parametrize("inbox", [inbox_with(6), inbox_with(2, weight=1_000)])
def test_inbox_refuses_a_sender_that_ignores_its_window(inbox: EventInbox) -> None:
    with pytest.raises(RemoteProtocolError, match="unfinished events") as caught:
        inbox.came(1, 1, 0)
    assert caught.value.code is WireCode.TOO_LARGE
    inbox.finished(101)
    inbox.came(1, 1, 0)
