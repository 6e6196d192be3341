"""The bench as a user runs it: every row has its figures, whatever they are, and nothing of it stays afterwards."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from tools.bench_program.contenders import CONTENDERS
from tools.bench_program.rows import ROWS

ROOT = Path(__file__).resolve().parents[2]

# Far beyond what each takes on a busy machine.
QUICK_DEADLINE_S = 180.0
DEADLINE_S = 60.0

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def bench(*arguments: str, deadline_s: float = DEADLINE_S) -> str:
    """What it prints. AssertionError unless it ends well and quietly."""
    ran = subprocess.run(
        [sys.executable, ROOT / "tools/bench", *arguments],
        capture_output=True,
        text=True,
        timeout=deadline_s,
        check=False,
        start_new_session=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert "note:" not in ran.stderr, ran.stderr
    return ran.stdout


def listing(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.timeout(QUICK_DEADLINE_S + 20)
def test_quick_run_has_every_row_with_figures_and_writes_nothing_but_what_is_named(tmp_path: Path) -> None:
    before = listing(ROOT / "tools")

    shown = bench("--quick", "--json", str(tmp_path / "run.json"), deadline_s=QUICK_DEADLINE_S)

    rows: list[dict[str, Any]] = json.loads((tmp_path / "run.json").read_text())["rows"]
    assert [row["name"] for row in rows] == list(ROWS)
    for row in rows:
        assert [result["contender"] for result in row["results"]] == list(ROWS[row["name"]].contenders)
        for result in row["results"]:
            contender = CONTENDERS[result["contender"]]
            assert result["absent"] == contender.absent()
            assert contender.absent() or result["median"] > 0, f"{row['name']}: {result}"
    assert all(row.unit in shown for row in ROWS.values())
    words = set(shown.split())
    assert all(words >= set(contender.absent().split()) for contender in CONTENDERS.values())
    assert listing(ROOT / "tools") == before
    assert listing(tmp_path) == {tmp_path / "run.json"}


def test_scale_shows_each_size_and_gossip_as_the_specification_says(tmp_path: Path) -> None:
    bench("scale", "--sizes", "2,3", "--seconds", "2", "--json", str(tmp_path / "scale.json"))

    scales = json.loads((tmp_path / "scale.json").read_text())["scale"]
    assert [scale["processes"] for scale in scales] == [2, 3]
    for scale in scales:
        assert scale["start_s"] > 0
        assert scale["change_s"] > 0
        # Two seconds have two heartbeats of each process, give or take one at either end.
        assert 0.4 <= scale["gossip_bytes_per_s"] / scale["expected_bytes_per_s"] <= 1.6


def test_profile_shows_where_the_time_of_both_sides_goes(tmp_path: Path) -> None:
    bench("profile", "--seconds", "0.5", "--json", str(tmp_path / "profile.json"))

    found = json.loads((tmp_path / "profile.json").read_text())["profiles"]["zmqagents"]
    assert found["calls_per_s"] > 0
    for side in ("caller", "server"):
        assert found[side]["groups"]["runtime"] > 0
        assert found[side]["groups"]["transport: sockets"] > 0


@pytest.fixture
def measuring() -> Iterator[tuple[subprocess.Popen[str], Sequence[psutil.Process]]]:
    """A bench that is in the middle of a measurement that takes long, and its processes."""
    command = [
        sys.executable,
        str(ROOT / "tools/bench"),
        "--rows",
        "publish,calls",
        "--peers",
        "zmqagents",
        "--seconds",
        "50",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as conductor:
        try:
            assert conductor.stderr is not None
            while "[1/" not in conductor.stderr.readline():
                assert conductor.poll() is None
            children = psutil.Process(conductor.pid).children(recursive=True)
            assert len(children) == 5
            yield conductor, children
        finally:
            conductor.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bench_leaves_no_process_behind_when_it_is_asked_to_end(
    measuring: tuple[subprocess.Popen[str], Sequence[psutil.Process]], number: signal.Signals
) -> None:
    conductor, children = measuring

    conductor.send_signal(number)

    _, said = conductor.communicate(timeout=30)
    assert conductor.returncode == 128 + number, said
    assert f"Ended by {number.name}" in said
    assert not [child for child in children if child.is_running()]


def test_bench_leaves_no_process_behind_when_it_is_killed(
    measuring: tuple[subprocess.Popen[str], Sequence[psutil.Process]],
) -> None:
    conductor, children = measuring

    conductor.kill()

    _, left = psutil.wait_procs(children, timeout=20)
    with contextlib.suppress(psutil.NoSuchProcess):
        assert not [child for child in left if child.status() != psutil.STATUS_ZOMBIE]
