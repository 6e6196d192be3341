"""Runs the programs of examples/ as a reader of it does, and reads what they print."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# For all of a test, and under pytest's own limit, so that a test that hangs tells what its programs printed.
DEADLINE_S = 50.0


class Program:
    """One running program, and the lines that it has printed. What it writes to stderr goes to pytest's own."""

    def __init__(self, module: str, folder: Path, environment: dict[str, str], deadline_s: float) -> None:
        self.lines: list[str] = []
        self._module = module
        self._deadline_s = deadline_s
        self._ended = False
        self._changed = threading.Condition()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module], cwd=folder, env=environment, stdout=subprocess.PIPE, encoding="utf-8"
        )
        self._reader = threading.Thread(target=self._read, name=f"output of {module}", daemon=True)
        self._reader.start()

    def wait_for(self, line: str) -> None:
        """Return once it has printed ``line``. AssertionError if it ends or the time is up before that."""
        self._wait(lambda: line in self.lines or self._ended, f"{line!r}")
        assert line in self.lines, f"{self._module} ended without {line!r}, having printed {self.lines}"

    def finish(self) -> list[str]:
        """All lines, once it has ended by itself with exit code 0."""
        self._wait(lambda: self._ended, "its end")
        code = self._process.wait(max(0.0, self._deadline_s - time.monotonic()))
        assert code == 0, f"{self._module} ended with {code}, having printed {self.lines}"
        return self.lines

    def stop(self, number: signal.Signals = signal.SIGTERM) -> list[str]:
        """All lines, once it has ended with exit code 0 because of a signal."""
        self._process.send_signal(number)
        return self.finish()

    def kill(self) -> None:
        """End it at once, if it still runs, with nothing of it left behind."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            in_time = self._changed.wait_for(condition, max(0.0, self._deadline_s - time.monotonic()))
        assert in_time, f"{self._module} did not come to {what} within {DEADLINE_S:g} s, having printed {self.lines}"

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as output:
            for line in output:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class Stage:
    """Where one example plays: a cluster of its own, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: list[Program] = []
        self._deadline_s = time.monotonic() + DEADLINE_S
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("ZMQAGENTS_")}
        inherited.pop("BROKER_URL", None)
        inherited.pop("INSTANCE_ID", None)
        self._environment = inherited | {
            "ZMQAGENTS_CLUSTER": f"examples-{uuid.uuid4().hex}",
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }

    def start(self, program: str, **environment: str) -> Program:
        """Start ``folder.module`` of examples/, with these environment variables besides the stage's own."""
        started = Program(f"examples.{program}", self._folder, {**self._environment, **environment}, self._deadline_s)
        self._programs.append(started)
        return started

    def clear(self) -> None:
        """Kill whatever still runs."""
        for program in self._programs:
            program.kill()
