"""The kinds of runtime that every test runs on, and benches that are closed after it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Protocol

import pytest

from .bench import Bench, Kind
from .messages import Received


class NewBench(Protocol):
    """Makes a bench; options go to its runtimes."""

    def __call__(self, **options: Any) -> Bench: ...


@pytest.fixture(params=["autogen", "single", pytest.param("pair", marks=pytest.mark.integration)])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Which kind of runtime; narrow it with ``parametrize("kind", LOCAL, indirect=True)``."""
    chosen: Kind = request.param
    return chosen


@pytest.fixture
async def new_bench(kind: Kind) -> AsyncIterator[NewBench]:
    """Makes benches of the test's kind."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        made.append(Bench(kind, **options))
        return made[-1]

    yield make
    for bench in made:
        await bench.close()


@pytest.fixture
async def bench(new_bench: NewBench) -> Bench:
    """A bench with the runtimes' defaults."""
    return new_bench()


@pytest.fixture
def log() -> list[Received]:
    """Where recorders write."""
    return []
