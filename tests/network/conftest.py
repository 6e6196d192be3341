"""What the tests on networks of their own start, and what ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.processes import Launch, programs


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Starts programs; those that still run are killed after the test."""
    async with programs() as launch_program:
        yield launch_program
