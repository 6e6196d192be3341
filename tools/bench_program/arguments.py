"""What the command lines of the bench have in common."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path


def names_in(known: Sequence[str]) -> Callable[[str], list[str]]:
    """A type for argparse: names separated by commas, all of them known."""

    def parse(text: str) -> list[str]:
        names = [name.strip() for name in text.split(",") if name.strip()]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown) or 'nothing'} is none of {', '.join(known)}")
        return list(dict.fromkeys(names))

    return parse


def positive(kind: type[int | float]) -> Callable[[str], int | float]:
    """A type for argparse: a number above 0."""

    def parse(text: str) -> int | float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
        if not value > 0:
            raise argparse.ArgumentTypeError(f"{text} is not above 0")
        return value

    return parse


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """The files that can be written."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--chart", type=Path, metavar="FILE", help="draw them there: .svg or .png")
