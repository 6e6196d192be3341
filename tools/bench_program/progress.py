"""What is being done, on standard error: one line, written over, where somebody watches; else a line a subject."""

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
        self._told = ""

    def step(self, subject: str, detail: str) -> None:
        """The next step begins."""
        self._done += 1
        if subject != self._told and not self._watched:
            self._told = subject
            self._write(f"{self._head()}  {subject}\n")
        self.prepare(subject, detail)

    def prepare(self, subject: str, detail: str) -> None:
        """What is done before the next step."""
        self._subject = subject
        self.detail(detail)

    def detail(self, detail: str) -> None:
        """What is being done within the step."""
        if self._watched:
            self._write(f"\r\x1b[2K{self._head()}  {self._subject}: {detail}"[:160])

    def end(self) -> None:
        """Take the line away."""
        if self._watched:
            self._write("\r\x1b[2K")

    def _head(self) -> str:
        return f"[{self._done}/{self._total}] {time.monotonic() - self._begun_s:4.0f} s"

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
