"""A worker and a coordinator as in AutoGen's documentation, which find each other by mDNS."""

from __future__ import annotations

import asyncio

import pytest

from tests.integration.clusters import new_name
from tests.integration.processes import Launch

pytestmark = pytest.mark.integration

ANSWER_WITHIN_S = 3.0


async def test_coordinator_is_answered_soon_after_it_joins_its_worker(launch: Launch) -> None:
    cluster = new_name()
    worker = await launch("worker", cluster=cluster)
    await worker.report("started")
    coordinator = await launch("coordinator", cluster=cluster)
    started = await coordinator.report("started")
    answered = await coordinator.report("answered")
    assert answered["text"] == "HELLO"
    assert answered["at_s"] - started["first_line_s"] < ANSWER_WITHIN_S
    assert await coordinator.exit_code() == 0
    await worker.stop()
    await worker.report("stopped")


async def test_coordinator_that_was_first_is_answered_soon_after_its_worker_joins(launch: Launch) -> None:
    cluster = new_name()
    coordinator = await launch("coordinator", cluster=cluster)
    await coordinator.report("started")
    worker = await launch("worker", cluster=cluster)
    started = await worker.report("started")
    answered = await coordinator.report("answered")
    assert answered["text"] == "HELLO"
    assert answered["at_s"] - started["first_line_s"] < ANSWER_WITHIN_S
    assert await coordinator.exit_code() == 0
    await worker.stop()


async def test_two_that_start_at_once_meet(launch: Launch) -> None:
    cluster = new_name()
    worker, coordinator = await asyncio.gather(
        launch("worker", cluster=cluster), launch("coordinator", cluster=cluster)
    )
    assert (await coordinator.report("answered"))["text"] == "HELLO"
    assert await coordinator.exit_code() == 0
    await worker.stop()
