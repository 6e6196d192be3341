"""What is being done, on standard error: one line that is written over where somebody watches, else a line a row."""

from __future__ import annotations

import sys
import time
from typing import TextIO


class Progress:
    """Shows steps of a known total."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        self._total = total
        self._done = 0
        self._stream = sys.stderr if stream is None else stream
        self._watched = self._stream.isatty()
        self._begun_s = time.monotonic()
        self._subject = ""

    def step(self, subject: str, detail: str = "") -> None:
        """The next step begins."""
        self._done += 1
        seconds = time.monotonic() - self._begun_s
        text = f"[{self._done}/{self._total}] {seconds:4.0f} s  {subject}"
        if self._watched:
            self._write(f"\r\x1b[2K{text}{': ' if detail else ''}{detail}"[:200])
        elif subject != self._subject:
            self._write(f"{text}\n")
        self._subject = subject

    def end(self) -> None:
        """Nothing more is shown."""
        if self._watched:
            self._write("\r\x1b[2K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
