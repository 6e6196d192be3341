"""The two programs of README's quick start, as they stand there."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ANSWER = "Answer(text='worker/default says HELLO')"

pytestmark = pytest.mark.integration


class Programs:
    """Starts the programs in a folder and ends what is left of them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self._running: list[subprocess.Popen[str]] = []

    def start(self, name: str) -> subprocess.Popen[str]:
        program = subprocess.Popen(
            [sys.executable, name], cwd=self._folder, env=self._environment, stdout=subprocess.PIPE, text=True
        )
        self._running.append(program)
        return program

    def end(self) -> None:
        for program in self._running:
            if program.poll() is None:
                program.kill()
            program.wait()
            if program.stdout is not None:
                program.stdout.close()


@pytest.fixture
def programs(tmp_path: Path) -> Iterator[Programs]:
    text = (ROOT / "README.md").read_text()
    cluster = f"readme-{uuid.uuid4().hex[:12]}"
    for name, code in re.findall(r"`(\w+\.py)`.*?```python\n(.*?)```", text, flags=re.DOTALL):
        (tmp_path / name).write_text(code.replace('"quickstart"', f'"{cluster}"'))
    started = Programs(tmp_path)
    yield started
    started.end()


@pytest.mark.parametrize("order", [("worker.py", "coordinator.py"), ("coordinator.py", "worker.py")])
def test_quick_start_answers_in_either_order_of_start(programs: Programs, order: tuple[str, str]) -> None:
    started = {name: programs.start(name) for name in order}
    answer, _ = started["coordinator.py"].communicate(timeout=30)
    assert answer.strip() == ANSWER
    assert started["coordinator.py"].returncode == 0
    started["worker.py"].send_signal(signal.SIGTERM)
    assert started["worker.py"].wait(timeout=15) == 0
