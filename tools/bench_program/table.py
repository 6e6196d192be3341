"""The results as tables."""

from __future__ import annotations

from collections.abc import Iterable

from rich.markup import escape
from rich.table import Table

from .results import Goal, Result, RowResult, Verdict

_COLOURS = {Verdict.AIM: "green", Verdict.MUST: "cyan", Verdict.MISSED: "bold red", Verdict.UNKNOWN: "dim"}


def number(value: float) -> str:
    """With as many digits as mean something."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def make_table(rows: Iterable[RowResult]) -> Table:
    """Each row's contenders with medians and ranges, and how its goals stand."""
    table = Table(title="Medians; in brackets the range over the rounds", title_justify="left")
    table.add_column("work", ratio=3, overflow="fold")
    table.add_column("who")
    table.add_column("result", justify="right")
    table.add_column("against", justify="right")
    table.add_column("must reach (aim)", justify="right")
    table.add_column("")
    for row in rows:
        table.add_section()
        title = row.title
        for result in row.results:
            goals: list[Goal | None] = [goal for goal in row.goals if goal.subject == result.contender]
            shown = result.title, _value(row, result)
            for goal in goals or [None]:
                table.add_row(title, *shown, *_compared(row, goal))
                title, shown = "", ("", "")
    return table


def _value(row: RowResult, result: Result) -> str:
    if result.median is None:
        return f"[dim]{escape(result.absent or 'not measured')}[/]"
    spread = f" ({number(min(result.values))}-{number(max(result.values))})" if len(result.values) > 1 else ""
    details = "".join(f", {name} {number(result.detail(name))}" for name in result.details)
    return f"{number(result.median)} {row.unit}{spread}{details}"


def _compared(row: RowResult, goal: Goal | None) -> tuple[str, str, str]:
    if goal is None:
        return "", "", ""
    verdict = row.verdict(goal)
    achieved = row.achieved(goal)
    reference = row.result(goal.reference)
    if achieved is None or not goal.reference:
        against = ""
    else:
        against = f"{number(achieved)}x {goal.reference if reference is None else reference.title}"
    unit = "x" if goal.reference else f" {row.unit}"
    required = f"{goal.must:g}{unit} ({goal.aim:g}{unit})"
    return against, required, f"[{_COLOURS[verdict]}]{verdict.value}[/]"
