"""Where a process's time goes: which function runs, asked a thousand times a second, while a load is on.

Sampling, not cProfile, whose cost per function call makes small functions look several times as dear as they are. A
sample is taken between two bytecodes of the main thread, so the time within a C function counts for the Python
function that called it. What other threads use (libzmq's I/O thread) is the process's CPU time beyond the main
thread's.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from types import FrameType
from typing import Any

from .wire import Json

INTERVAL_S = 0.001


class Sampler:
    """Samples the main thread between ``sample`` and ``samples``."""

    def __init__(self) -> None:
        self._functions: Counter[tuple[str, str]] = Counter()
        self._thread_s = 0.0
        self._process_s = 0.0
        self._begun_s = 0.0
        self._before: Any = None

    def commands(self) -> dict[str, Any]:
        """What the conductor can ask for."""
        return {"sample": self.sample, "samples": self.samples}

    async def sample(self) -> None:
        """Begin."""
        self._functions.clear()
        self._before = signal.signal(signal.SIGALRM, self._take)
        self._thread_s, self._process_s = time.thread_time(), time.process_time()
        self._begun_s = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, INTERVAL_S, INTERVAL_S)

    async def samples(self) -> Json:
        """End; how often each function was running, and the CPU time used meanwhile."""
        signal.setitimer(signal.ITIMER_REAL, 0)
        thread_s, process_s = time.thread_time() - self._thread_s, time.process_time() - self._process_s
        signal.signal(signal.SIGALRM, self._before)
        return {
            "seconds": time.monotonic() - self._begun_s,
            "main_thread_s": thread_s,
            "other_threads_s": max(0.0, process_s - thread_s),
            "functions": [[file, name, count] for (file, name), count in self._functions.items()],
        }

    def _take(self, _number: int, frame: FrameType | None) -> None:
        while frame is not None and frame.f_code.co_filename.startswith("<") and frame.f_back is not None:
            frame = frame.f_back  # the constructor of a dataclass or a named tuple counts for who makes one
        if frame is not None:
            code = frame.f_code
            self._functions[code.co_filename, code.co_name] += 1
