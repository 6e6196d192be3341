"""Messages that wait for the start, or for intervention handlers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import Context, ContextVar

import pytest

from tests.integration.clusters import eventually, within
from zmqagents.runtime import waiting_room
from zmqagents.runtime.waiting_room import WaitingRoom

_place: ContextVar[str] = ContextVar("place", default="nowhere")


class Door:
    """A waiting room, and who went in and out of it."""

    def __init__(self) -> None:
        self.room = WaitingRoom(self._changed)
        self.out: list[str] = []
        self.refused: dict[str, BaseException] = {}
        self.changes = 0
        self.hold = asyncio.Event()
        self.hold.set()

    def _changed(self) -> None:
        self.changes += 1

    async def enter(self, name: str, error: BaseException | None = None) -> None:
        async def admit(context: Context) -> None:
            await self.hold.wait()
            if error is not None:
                raise error
            self.out.append(f"{name} from {context.run(_place.get)}")

        await self.room.enter(admit, lambda reason: self.refused.setdefault(name, reason))  # type: ignore[arg-type]


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    made = Door()
    yield made
    await made.room.close(RuntimeError("the test has ended"))


async def test_messages_wait_until_the_room_is_opened_and_leave_in_order(door: Door) -> None:
    for name in "abc":
        await door.enter(name)
    assert (len(door.room), door.room.busy, door.out) == (3, True, [])
    door.room.open()
    await eventually(lambda: not door.room.busy)
    assert door.out == ["a from nowhere", "b from nowhere", "c from nowhere"]
    assert door.changes == 3


async def test_message_leaves_in_the_context_of_who_sent_it(door: Door) -> None:
    _place.set("here")
    await door.enter("a")
    _place.set("there")
    door.room.open()
    await eventually(lambda: door.out == ["a from here"])


async def test_room_is_busy_while_a_message_is_on_its_way_out(door: Door) -> None:
    door.hold.clear()
    door.room.open()
    await door.enter("a")
    await eventually(lambda: not len(door.room))
    assert door.room.busy
    door.hold.set()
    await eventually(lambda: not door.room.busy)


async def test_message_that_cannot_leave_tells_its_sender_and_lets_the_next_one_go(door: Door) -> None:
    door.room.open()
    await door.enter("a", ValueError("no"))
    await door.enter("b")
    await eventually(lambda: door.out == ["b from nowhere"])
    assert str(door.refused["a"]) == "no"


async def test_closing_refuses_who_waits_and_who_is_on_the_way_out(door: Door) -> None:
    door.hold.clear()
    door.room.open()
    await door.enter("a")
    await eventually(lambda: not len(door.room))
    await door.enter("b")
    await within(door.room.close(RuntimeError("closed")))
    assert "stopped" in str(door.refused["a"])
    assert str(door.refused["b"]) == "closed"
    assert not door.room.busy


async def test_room_may_be_opened_again_after_it_was_closed(door: Door) -> None:
    door.room.open()
    await within(door.room.close(RuntimeError("closed")))
    await door.enter("a")
    assert door.out == []
    door.room.open()
    await eventually(lambda: door.out == ["a from nowhere"])


async def test_sender_waits_at_the_door_of_a_full_room(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_room, "MAX_WAITING", 2)
    await door.enter("a")
    await door.enter("b")
    third = asyncio.ensure_future(door.enter("c"))
    await asyncio.sleep(0)
    assert not third.done()
    door.room.open()
    await within(third)
    await eventually(lambda: len(door.out) == 3)
