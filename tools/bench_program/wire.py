"""What the conductor and its processes say to each other: lines of JSON, a command and its answer in turn."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Json: TypeAlias = dict[str, Any]

# Longer than any answer (the samples of a profile), and what a StreamReader may hold of one line.
MAX_LINE_BYTES = 1 << 22


class BenchError(Exception):
    """The bench could not go on as it should. The text says what happened, for a reader who has no other clue."""


def line(value: Json) -> bytes:
    """One line."""
    return json.dumps(value).encode() + b"\n"


def parse(text: bytes) -> Json:
    """Raises BenchError if it is no JSON object."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise BenchError(f"no JSON ({error}): {text[:200]!r}") from None
    if not isinstance(value, dict):
        raise BenchError(f"no JSON object: {text[:200]!r}")
    return value
