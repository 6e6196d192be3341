"""The results as a picture, PNG or SVG by the file's name."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .results import RowResult
from .table import number
from .wire import BenchError

FORMATS = (".png", ".svg")
_OWN, _OTHER, _GOAL = "#1f77b4", "#b8b8b8", "#d62728"
_COLUMNS = 2
_HEADING_WIDTH = 150
_LEAST_BARS = 3  # of room in a panel, so that one bar doesn't fill it


def check_chart(path: Path) -> None:
    """Raises BenchError, saying what to write or to install, if no chart can be drawn there."""
    if path.suffix not in FORMATS:
        raise BenchError(f"--chart {path}: write a name that ends in {' or '.join(FORMATS)}")
    _figure()


def draw(rows: Sequence[RowResult], heading: str, path: Path) -> None:
    """One panel for each row, one bar for each contender that was measured; dotted is what must be reached."""
    measured = [row for row in rows if any(result.values for result in row.results)]
    height = (len(measured) + _COLUMNS - 1) // _COLUMNS
    figure = _figure()(figsize=(14, 0.8 + 2.3 * height), layout="constrained")
    figure.suptitle(textwrap.fill(heading, _HEADING_WIDTH), fontsize=9)
    for position, row in enumerate(measured):
        _panel(figure.add_subplot(height, _COLUMNS, position + 1), row)
    figure.savefig(path)


def draw_curves(title: str, sizes: Sequence[int], curves: dict[str, dict[str, Sequence[float]]], path: Path) -> None:
    """One panel for each entry of ``curves``, with its lines over the sizes of the cluster."""
    figure = _figure()(figsize=(4.5 * len(curves), 4), layout="constrained")
    figure.suptitle(textwrap.fill(title, _HEADING_WIDTH), fontsize=9)
    for position, (label, lines) in enumerate(curves.items()):
        axes = figure.add_subplot(1, len(curves), position + 1)
        for name, values in lines.items():
            axes.plot(sizes, values, marker="o", label=name)
        axes.set_xlabel("processes")
        axes.set_title(label, fontsize=9)
        axes.set_ylim(bottom=0)
        if len(lines) > 1:
            axes.legend(fontsize=8)
    figure.savefig(path)


def _panel(axes: Any, row: RowResult) -> None:
    bars = [(result.title, result.median) for result in reversed(row.results) if result.median is not None]
    colours = [_OWN if title.startswith("zmqagents") else _OTHER for title, _ in bars]
    drawn = axes.barh([title for title, _ in bars], [median for _, median in bars], color=colours)
    axes.bar_label(drawn, [number(median) for _, median in bars], padding=3, fontsize=7)
    for goal in row.goals:
        reference = row.result(goal.reference)
        unit = 1.0 if not goal.reference else reference.median if reference is not None else None
        if unit is not None:
            axes.axvline(goal.must * unit, color=_GOAL, linestyle=":")
    axes.margins(x=0.15)
    axes.set_ylim(-0.6, max(len(bars), _LEAST_BARS) - 0.4)
    axes.tick_params(labelsize=7)
    axes.set_title(f"{row.title}: {row.unit}, {row.better.value} is better", fontsize=8, loc="left")


def _figure() -> Any:
    try:
        from matplotlib.figure import Figure  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise BenchError("--chart needs matplotlib: pip install 'zmqagents[bench]'") from None
    return Figure
