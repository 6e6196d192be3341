"""What commands print: tables for people, aligned text for pipes, JSON for programs.

Texts that come from other processes are shown with their control characters escaped: a label must not write to the
reader's terminal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import typer


def print_json(document: Any) -> None:
    """One JSON document, alone on the standard output."""
    typer.echo(json.dumps(document, indent=2))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table: drawn on a terminal, aligned columns where the output goes elsewhere."""
    shown = [[printable(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _draw(headings, shown)
        return
    lines = [list(headings), *shown]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def print_note(text: str) -> None:
    """A line for people, beside the output."""
    typer.echo(printable(text, lines=True), err=True)


def printable(text: str, *, lines: bool = False) -> str:
    """The text with its control characters escaped; with ``lines``, all but line ends and tabs."""
    kept = "\n\t" if lines else ""
    return "".join(
        character if character.isprintable() or character in kept else _escaped(character) for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _draw(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console  # noqa: PLC0415 - only where there is a terminal to draw on
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(*headings)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
