"""The deadline that calls inherit from what is around them."""

from __future__ import annotations

import asyncio

import pytest

from zmqagents.runtime.deadlines import call_timeout, current_deadline_s, earliest, set_deadline, until


@pytest.mark.parametrize(
    ("one_s", "other_s", "expected_s"), [(None, None, None), (1.0, None, 1.0), (None, 2.0, 2.0), (2.0, 1.0, 1.0)]
)
def test_earliest_takes_none_for_no_deadline(
    one_s: float | None, other_s: float | None, expected_s: float | None
) -> None:
    assert earliest(one_s, other_s) == expected_s


@pytest.mark.parametrize(
    ("own_s", "default_s", "expected_s"),
    [(None, None, None), (5.0, None, 105.0), (None, 7.0, 107.0), (5.0, 7.0, 105.0)],
)
def test_own_timeout_of_a_call_comes_before_the_default(
    own_s: float | None, default_s: float | None, expected_s: float | None
) -> None:
    assert current_deadline_s(own_s, default_s, 100.0) == expected_s


async def test_timeout_holds_within_its_block_only() -> None:
    loop = asyncio.get_running_loop()
    with call_timeout(5):
        deadline_s = current_deadline_s(None, None, loop.time())
        assert deadline_s is not None
        assert 0 < deadline_s - loop.time() <= 5
    assert current_deadline_s(None, None, loop.time()) is None


async def test_inner_timeout_cannot_outlast_the_outer_one() -> None:
    now_s = asyncio.get_running_loop().time()
    with call_timeout(5), call_timeout(60):
        deadline_s = current_deadline_s(90, None, now_s)
    assert deadline_s is not None
    assert deadline_s <= now_s + 5.1


async def test_timeout_is_inherited_by_tasks_that_are_started_within_it() -> None:
    async def deadline() -> float | None:
        return current_deadline_s(None, None, 0.0)

    with call_timeout(5):
        task = asyncio.create_task(deadline())
    assert await task is not None


async def test_until_replaces_whatever_deadline_is_around_it() -> None:
    with call_timeout(5):
        with until(10.0**9):
            assert current_deadline_s(None, None, 0.0) == 10.0**9
        with until(None):
            assert current_deadline_s(None, None, 0.0) is None


async def test_task_that_forgets_its_deadline_leaves_that_of_its_starter_alone() -> None:
    async def forgetful() -> float | None:
        set_deadline(None)
        return current_deadline_s(None, None, 0.0)

    with call_timeout(5):
        assert await asyncio.create_task(forgetful()) is None
        assert current_deadline_s(None, None, 0.0) is not None


@pytest.mark.parametrize("timeout_s", [0, -1])
async def test_timeout_that_leaves_no_time_is_a_value_error(timeout_s: float) -> None:
    with pytest.raises(ValueError, match="must be above 0"), call_timeout(timeout_s):
        raise AssertionError("it was entered")
