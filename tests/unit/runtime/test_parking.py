"""Futures whose awaiting task goes on within a callback, and tasks that wait for their work."""

from __future__ import annotations

import asyncio
import io
from asyncio import tasks as asyncio_tasks
from collections.abc import AsyncIterator, Callable, Coroutine
from contextvars import Context, ContextVar
from functools import partial
from typing import Any, cast

import pytest
from autogen_core import CancellationToken

from zmqagents.runtime.parking import PARKED, Parking, Prompt

name: ContextVar[str] = ContextVar("name", default="nobody's")


def in_callback(function: Callable[[], object]) -> asyncio.Future[None]:
    """Call it from the event loop, as a reader of a socket is; what it raises comes out of the future."""
    loop = asyncio.get_running_loop()
    called: asyncio.Future[None] = loop.create_future()

    def call() -> None:
        try:
            function()
        except BaseException as error:
            called.set_exception(error)
            raise
        called.set_result(None)

    loop.call_soon(call)
    return called


@pytest.fixture(params=["C", "Python"])
async def tasks(request: pytest.FixtureRequest) -> None:
    """Tasks of asyncio in C, and of its Python twin."""
    if request.param == "Python":

        def make(loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any) -> Any:
            return asyncio_tasks._PyTask(coroutine, loop=loop, **more)  # type: ignore[attr-defined]

        asyncio.get_running_loop().set_task_factory(make)


class Waiter:
    """A task that awaits a Prompt, and what became of it."""

    def __init__(self, prompt: Prompt[str]) -> None:
        self.prompt = prompt
        self.got: object = None
        self.current: asyncio.Task[Any] | None = None
        self.name = ""
        self.task = asyncio.get_running_loop().create_task(self._wait())

    async def _wait(self) -> None:
        name.set("the waiter's")
        try:
            self.got = await self.prompt
        except BaseException as error:
            self.got = error
            raise
        finally:
            self.current = asyncio.current_task()
            self.name = name.get()


@pytest.fixture
async def waiter(tasks: None) -> Waiter:
    waiter = Waiter(Prompt(loop=asyncio.get_running_loop()))
    await asyncio.sleep(0)
    assert waiter.prompt.is_awaited
    return waiter


# -- prompts ---------------------------------------------------------------------------------------------------------


async def test_awaiting_task_goes_on_within_resume(waiter: Waiter) -> None:
    def resume() -> None:
        name.set("the reader's")
        waiter.prompt.resume("news")
        assert waiter.got == "news"
        assert asyncio.current_task() is None
        assert name.get() == "the reader's"

    await in_callback(resume)
    assert waiter.current is waiter.task
    assert waiter.name == "the waiter's"
    assert waiter.task.done()


@pytest.mark.parametrize("end", ["set_result", "set_exception"])
async def test_prompt_whose_outcome_is_set_acts_as_any_future(waiter: Waiter, end: str) -> None:
    outcome: Any = "news" if end == "set_result" else ValueError("bad news")

    def set_it() -> None:
        getattr(waiter.prompt, end)(outcome)
        assert waiter.got is None

    await in_callback(set_it)
    await asyncio.gather(waiter.task, return_exceptions=True)
    assert waiter.got is outcome


async def test_second_outcome_is_refused_as_by_any_future(waiter: Waiter) -> None:
    waiter.prompt.set_result("news")
    with pytest.raises(asyncio.InvalidStateError):
        waiter.prompt.set_result("other news")
    await waiter.task


async def test_awaiting_task_can_be_cancelled(waiter: Waiter) -> None:
    waiter.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter.task
    assert waiter.prompt.cancelled()
    await in_callback(lambda: waiter.prompt.resume("too late"))


async def test_token_cancels_a_linked_prompt(waiter: Waiter) -> None:
    token = CancellationToken()
    token.link_future(waiter.prompt)
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter.task


async def test_task_that_awaits_what_is_done_goes_on_by_itself(tasks: None) -> None:
    prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
    await in_callback(lambda: prompt.resume("news"))
    assert not prompt.is_awaited
    assert await prompt == "news"


async def test_several_who_wait_are_called_in_their_order(waiter: Waiter) -> None:
    called: list[object] = []

    def note(number: int, done: asyncio.Future[str]) -> None:
        called.append((number, waiter.got, done.result()))

    for number in (1, 2):
        waiter.prompt.add_done_callback(partial(note, number))

    def resume() -> None:
        waiter.prompt.resume("news")
        assert waiter.got is None

    await in_callback(resume)
    await waiter.task
    assert called == [(1, "news", "news"), (2, "news", "news")]


async def test_callback_that_is_removed_is_not_called(tasks: None) -> None:
    prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())
    called: list[object] = []
    prompt.add_done_callback(called.append)
    assert prompt.remove_done_callback(called.append) == 1
    await in_callback(lambda: prompt.resume("news"))
    await asyncio.sleep(0)
    assert not called


async def test_task_keeps_its_context_when_that_is_empty(tasks: None) -> None:
    loop = asyncio.get_running_loop()
    first: Prompt[str] = Prompt(loop=loop)
    second: Prompt[str] = Prompt(loop=loop)

    async def wait() -> str:
        await first
        token = name.set("set after the first")
        await second
        name.reset(token)  # ValueError in any other context
        return name.get()

    task = Context().run(loop.create_task, wait())
    for prompt in (first, second):
        await asyncio.sleep(0)
        await in_callback(partial(prompt.resume, "done"))

    assert await task == "nobody's"


async def test_what_the_resumed_task_raises_is_its_own(tasks: None) -> None:
    prompt: Prompt[str] = Prompt(loop=asyncio.get_running_loop())

    async def fail() -> None:
        await prompt
        raise ValueError("its own fault")

    task = asyncio.get_running_loop().create_task(fail())
    await asyncio.sleep(0)
    await in_callback(lambda: prompt.resume("news"))
    with pytest.raises(ValueError, match="its own fault"):
        await task


async def test_waiting_task_can_be_shown(waiter: Waiter) -> None:
    stack = io.StringIO()
    waiter.task.print_stack(file=stack)
    assert "await self.prompt" in stack.getvalue()
    assert "Prompt pending" in repr(waiter.task)
    await in_callback(lambda: waiter.prompt.resume("news"))


# -- parking ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def parking(tasks: None) -> AsyncIterator[Parking]:
    """With a task that waits. Nothing is left of it in the end."""
    before = asyncio.all_tasks()
    name.set("the starter's")
    made = Parking()
    assert made.take() is None
    name.set("the test's")
    await asyncio.sleep(0)  # the task is made,
    await asyncio.sleep(0)  # and reaches its place
    yield made
    made.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert asyncio.all_tasks() <= before | {cast("asyncio.Task[Any]", asyncio.current_task())}


def begin(parking: Parking, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Begin the work in the parked task."""
    taken = parking.take()
    assert taken is not None
    task, go = taken
    go(work)
    return task


async def test_work_begins_at_once_in_a_task_of_its_own(parking: Parking) -> None:
    began: list[asyncio.Task[Any] | None] = []

    async def work() -> None:
        began.append(asyncio.current_task())
        await asyncio.sleep(0)
        began.append(asyncio.current_task())

    def start() -> None:
        task = begin(parking, work())
        assert began == [task]
        began.append(task)

    await in_callback(start)
    await asyncio.sleep(0)
    assert began[0] is began[1] is began[2]


async def test_each_work_has_a_context_of_its_own_like_that_of_the_start(parking: Parking) -> None:
    seen: list[str] = []

    async def work() -> None:
        seen.append(name.get())
        name.set("the work's")

    for _ in range(PARKED + 1):
        await in_callback(lambda: begin(parking, work()))
        await asyncio.sleep(0)
    assert seen == ["the starter's"] * (PARKED + 1)
    assert name.get() == "the test's"


async def test_work_that_is_cancelled_ends_and_others_go_on(parking: Parking) -> None:
    tasks: list[asyncio.Task[None]] = []
    await in_callback(lambda: tasks.append(begin(parking, asyncio.sleep(60))))
    tasks[0].cancel()
    await asyncio.wait(tasks)
    assert tasks[0].cancelled()
    await asyncio.sleep(0)
    await in_callback(lambda: begin(parking, asyncio.sleep(0)))


async def test_exception_of_the_work_is_that_of_its_task(parking: Parking) -> None:
    async def fail() -> None:
        raise ValueError("its own fault")

    tasks: list[asyncio.Task[None]] = []
    await in_callback(lambda: tasks.append(begin(parking, fail())))
    with pytest.raises(ValueError, match="its own fault"):
        await tasks[0]


async def test_tasks_that_others_have_cancelled_while_they_waited_are_replaced(parking: Parking) -> None:
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    for _ in range(2):  # they have yet to end; they have ended
        assert parking.take() is None
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    await in_callback(lambda: begin(parking, asyncio.sleep(0)))


async def test_nothing_waits_after_close(parking: Parking) -> None:
    tasks: list[asyncio.Task[None]] = []
    await in_callback(lambda: tasks.append(begin(parking, asyncio.sleep(0))))
    parking.close()
    await asyncio.wait(tasks)
    assert parking.take() is None
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert parking.take() is None


async def test_task_that_has_not_begun_to_wait_can_be_ended(tasks: None) -> None:
    before = asyncio.all_tasks()
    parking = Parking()
    parking.take()
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks() - before) == PARKED
    assert parking.take() is None
    parking.close()
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
