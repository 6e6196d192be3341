"""What waits for slow readers is bounded, for each and for all."""

from __future__ import annotations

import pytest
import zmq

from zmqagents.transport.zeromq.backlog import MAX_WAITING, Backlog

A, B, C = (bytes([number]) * 16 for number in (1, 2, 3))
LARGE = [b"x" * 1_000]


class Tracker(zmq.MessageTracker):
    """Of a message that libzmq has until the test says that it has left."""

    left = False

    @property
    def done(self) -> bool:
        return self.left


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(each_bytes=5_000, all_bytes=12_000)


def fill(backlog: Backlog, node: bytes) -> int:
    """How many messages of 1,000 bytes it takes for the node."""
    count = 0
    while backlog.keep(node, LARGE, 1_000):
        count += 1
    return count


def test_messages_wait_in_order(backlog: Backlog) -> None:
    for text in (b"1", b"2"):
        assert backlog.keep(A, [text], 1)
    assert A in backlog
    assert B not in backlog
    assert backlog.first(A) == [b"1"]
    backlog.gone(A)
    assert backlog.first(A) == [b"2"]
    backlog.gone(A)
    assert (A in backlog, backlog.waiting, backlog.size_bytes, backlog.destinations()) == (False, 0, 0, [])


def test_destination_has_its_bound_and_later_ones_what_is_left(backlog: Backlog) -> None:
    assert fill(backlog, A) == 4
    assert fill(backlog, B) == 3
    assert fill(backlog, C) == 2
    assert backlog.size_bytes <= 12_000
    assert backlog.forget(A) == 4
    assert fill(backlog, C) == 2
    assert backlog.forget(A) == 0


def test_one_message_is_always_taken_whatever_its_size(backlog: Backlog) -> None:
    assert backlog.keep(A, LARGE, 11_000)
    assert not backlog.keep(A, LARGE, 1)
    assert backlog.keep(B, LARGE, 11_000)
    assert not backlog.keep(C, LARGE, 1)  # there is nothing left at all


def test_small_messages_are_bounded_in_number() -> None:
    backlog = Backlog(each_bytes=1 << 30, all_bytes=1 << 30)
    taken = sum(backlog.keep(A, [b""], 0) for _ in range(MAX_WAITING + 5))
    assert taken == MAX_WAITING


def test_large_messages_count_until_libzmq_is_done_with_them(backlog: Backlog) -> None:
    first, second = Tracker(), Tracker()
    assert backlog.may_fly(A, 9_000)
    backlog.flies(A, first, 2_000)
    assert not backlog.may_fly(A, 2_000)
    assert backlog.may_fly(A, 500)
    backlog.flies(A, second, 500)
    assert fill(backlog, A) == 2
    first.left = True
    assert backlog.may_fly(A, 2_000)
    second.left = True
    assert backlog.forget(A) == 2
    assert backlog.size_bytes == 0


def test_reap_forgets_what_has_left(backlog: Backlog) -> None:
    tracker = Tracker()
    backlog.flies(A, tracker, 12_000)
    assert not backlog.has_room(B, 1)
    tracker.left = True
    assert backlog.has_room(B, 1)
    assert backlog.size_bytes == 0
