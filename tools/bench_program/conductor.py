"""Goes through the rows: each contender in turn, round after round, so that a busy moment of the machine hits all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from .contenders import CONTENDERS, Contender
from .measures import Bench, Sample, Settings
from .processes import Workers
from .progress import Progress
from .results import Result, RowResult
from .rows import Row
from .stages import Stage, open_stage


class Conductor:
    """Measures rows. A contender's processes are started for the first row that needs them and end after the last."""

    def __init__(self, workers: Workers, settings: Settings, rows: Sequence[Row], peers: Collection[str]) -> None:
        """``peers`` are the names of the contenders that take part."""
        self._workers = workers
        self._settings = settings
        self._rows = rows
        self._peers = peers
        self._stages: dict[str, Stage] = {}
        self._warm: set[tuple[str, str]] = set()
        self._progress = Progress(sum(len(self._present(row)) * self._rounds(row) for row in rows))
        self._subject = ""
        self._bench = Bench(workers, settings, self._shown, [])

    def _shown(self, detail: str) -> None:
        self._progress.detail(detail)

    def _taking_part(self, row: Row) -> list[Contender]:
        return [CONTENDERS[name] for name in row.contenders if name in self._peers]

    def _present(self, row: Row) -> list[Contender]:
        return [contender for contender in self._taking_part(row) if not contender.absent()]

    def _rounds(self, row: Row) -> int:
        return min(self._settings.rounds, row.most_rounds)

    async def run(self, done: Callable[[RowResult], None]) -> list[RowResult]:
        """All rows; ``done`` is told of each when it is measured. Raises BenchError if something can't be measured."""
        results = []
        for index, row in enumerate(self._rows):
            results.append(await self._measure(row))
            done(results[-1])
            await self._close_all_but(
                {name for later in self._rows[index + 1 :] if later.how for name in later.contenders}
            )
        self._progress.end()
        return results

    async def _measure(self, row: Row) -> RowResult:
        taking_part = self._taking_part(row)
        results = {each.name: Result(each.name, each.title, absent=each.absent()) for each in taking_part}
        present = self._present(row)
        if row.how is not None:
            await self._open(present)
        for number in range(self._rounds(row)):
            for contender in present:
                self._progress.step(row.name, f"round {number + 1} of {self._rounds(row)}, {contender.name}")
                sample = await self._one(row, contender)
                results[contender.name].add(sample.value, sample.details)
        title = row.title.format(nodes=self._settings.nodes, agents=f"{self._settings.agents:,}")
        return RowResult(row.name, title, row.unit, row.better, list(results.values()), row.goals)

    async def _one(self, row: Row, contender: Contender) -> Sample:
        if row.how_alone is not None:
            return await row.how_alone(self._bench, contender)
        how = row.how
        if how is None:
            raise ValueError(f"row {row.name} can't be measured")
        stage = self._stages[contender.name]
        if (contender.name, row.name) not in self._warm:
            self._warm.add((contender.name, row.name))
            await how(stage, self._settings.warm_seconds)
        return await how(stage, self._settings.seconds)

    async def _open(self, contenders: Sequence[Contender]) -> None:
        missing = [contender for contender in contenders if contender.name not in self._stages]
        if missing:
            self._shown(f"starting {', '.join(contender.name for contender in missing)}")
        opened = await asyncio.gather(*(open_stage(self._workers, contender) for contender in missing))
        self._stages.update((stage.contender.name, stage) for stage in opened)

    async def _close_all_but(self, needed: Collection[str]) -> None:
        ending = [name for name in self._stages if name not in needed]
        await asyncio.gather(*(self._stages.pop(name).close() for name in ending))
