"""Goes through the rows: each contender in turn, round after round, so that a busy moment of the machine hits all."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Coroutine, Iterable, Sequence
from typing import Any

from .contenders import CONTENDERS, Contender
from .measures import Bench, Settings
from .processes import Workers
from .progress import Progress
from .results import Result, RowResult
from .rows import Row
from .stages import Stage, open_stage
from .wire import BenchError


class Conductor:
    """Measures rows. A contender's processes are started for the first row that needs them and end after the last."""

    def __init__(self, workers: Workers, settings: Settings, rows: Sequence[Row], peers: Collection[str]) -> None:
        """``peers`` are the names of the contenders that take part."""
        self._workers = workers
        self._settings = settings
        self._rows = rows
        self._peers = peers
        self._stages: dict[str, Stage] = {}
        self._progress = Progress(sum(len(self._present(row)) * self._rounds(row) for row in rows))
        self._bench = Bench(workers, settings, self._progress.detail, [])
        self.failures: list[str] = []

    def _taking_part(self, row: Row) -> list[Contender]:
        return [CONTENDERS[name] for name in row.contenders if name in self._peers]

    def _present(self, row: Row) -> list[Contender]:
        return [contender for contender in self._taking_part(row) if not contender.absent()]

    def _rounds(self, row: Row) -> int:
        return min(self._settings.rounds, row.most_rounds)

    async def run(self) -> list[RowResult]:
        """All rows. Who fails in one is left out of it and noted in ``failures``."""
        results = []
        for index, row in enumerate(self._rows):
            results.append(await self._measure(row))
            later = self._rows[index + 1 :]
            needed = {name for row in later if row.how is not None for name in row.contenders}
            await self._close(name for name in list(self._stages) if name not in needed)
        self._progress.end()
        return results

    async def _measure(self, row: Row) -> RowResult:
        results = {each.name: Result(each.name, each.title, absent=each.absent()) for each in self._taking_part(row)}
        present = self._present(row)
        if row.how is not None:
            self._progress.prepare(row.name, f"starting {', '.join(contender.name for contender in present)}")
            await asyncio.gather(*(self._attempt(self._ready(row, each), row, results[each.name]) for each in present))
        for number in range(self._rounds(row)):
            for contender in present:
                self._progress.step(row.name, f"round {number + 1} of {self._rounds(row)}, {contender.name}")
                result = results[contender.name]
                if not result.absent:
                    await self._attempt(self._one(row, contender, result), row, result)
        title = row.title.format(nodes=self._settings.nodes, agents=f"{self._settings.agents:,}")
        return RowResult(row.name, title, row.unit, row.better, list(results.values()), row.goals)

    async def _attempt(self, work: Coroutine[Any, Any, None], row: Row, result: Result) -> None:
        """Do a contender's work; if it fails, it takes no more part in the row, and starts anew for the next."""
        try:
            await work
        except BenchError as error:
            self.failures.append(f"{row.name}: {error}")
            result.absent = f"failed: {str(error).splitlines()[0]}"
            result.values.clear()
            await self._close([result.contender])

    async def _ready(self, row: Row, contender: Contender) -> None:
        if contender.name not in self._stages:
            self._stages[contender.name] = await open_stage(self._workers, contender)
        if row.prepare is not None:
            await row.prepare(self._stages[contender.name])

    async def _one(self, row: Row, contender: Contender, result: Result) -> None:
        if row.how is not None:
            stage = self._stages[contender.name]
            if not result.values:
                await row.how(stage, self._settings.warm_seconds)
            sample = await row.how(stage, self._settings.seconds)
            result.add(sample.value, sample.details)
        if row.how_alone is not None:
            sample = await row.how_alone(self._bench, contender)
            result.add(sample.value, sample.details)

    async def _close(self, names: Iterable[str]) -> None:
        stages = [self._stages.pop(name) for name in names if name in self._stages]
        await asyncio.gather(*(stage.close() for stage in stages))
