"""What the tests of runtimes in several processes start, and what ends it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.clusters import Cluster, new_cluster
from tests.integration.processes import Launch, programs


@pytest.fixture
async def launch() -> AsyncIterator[Launch]:
    """Starts programs of this suite; those that still run are killed after the test."""
    async with programs() as launch_program:
        yield launch_program


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """A cluster of nodes in this process."""
    async with new_cluster() as made:
        yield made
