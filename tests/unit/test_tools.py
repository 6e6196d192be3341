"""The scripts in tools/ and .ci/, run in a copy of the tree whose .venv holds stand-ins for the tools."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.requirements import all_required, require, require_root, require_tool

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ["tools/test", "tools/demo", ".ci/run"]
LIBRARIES = [f"tools/lib/{name}.sh" for name in ("run", "system", "venv")]
SETTINGS = {"PYTHON", "CI", "ZMQAGENTS_REQUIRE_ALL"}

BESIDE = f"-n {min((os.cpu_count() or 1) + 1, 4)} --dist loadfile --no-loadscope-reorder"


def run(command: list[str], cwd: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name not in SETTINGS}
    return subprocess.run(
        command, cwd=cwd, env=inherited | environ, capture_output=True, text=True, timeout=50, check=False
    )


def bash(program: str) -> list[str]:
    """The command that runs ``program`` with the scripts' shared functions."""
    sources = "".join(f"source '{ROOT / library}'\n" for library in LIBRARIES)
    return ["bash", "-c", f"set -euo pipefail\n{sources}{program}"]


def write_program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with the scripts and a good environment, in which every tool prints its name and arguments."""
    tree = tmp_path / "a tree"
    for name in [*SCRIPTS, *LIBRARIES, "setup.cfg", "pyproject.toml", "zmqagents/_version.py"]:
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tree / name)
    for name in ("python", "ruff", "mypy", "lint-imports"):
        write_program(tree / ".venv/bin" / name, f'echo "called {name} $*"')
    definition = run(bash(f"ROOT='{tree}'\ndefinition_hash \"$(find_python)\""), tree)
    assert definition.returncode == 0, definition.stderr
    (tree / ".venv/.installed-test").write_text(definition.stdout)
    return tree


def called(output: str) -> list[str]:
    return [line.removeprefix("called ") for line in output.splitlines() if line.startswith("called ")]


def test_scripts_pass_shellcheck() -> None:
    checked = run([require_tool("shellcheck"), "--external-sources", "--check-sourced", *SCRIPTS], ROOT)

    assert checked.stdout == ""


@pytest.mark.parametrize("script", ["tools/test", "tools/demo"])
def test_help_explains_the_script_when_called_from_anywhere(script: str, tmp_path: Path) -> None:
    shown = run([str(ROOT / script), "--help"], tmp_path)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith(f"Usage: {script}")


def test_test_script_runs_every_step_and_sums_up(tree: Path, tmp_path: Path) -> None:
    ran = run([str(tree / "tools/test")], tmp_path)

    assert ran.returncode == 0, ran.stderr
    steps = ["ruff check", "ruff format --check", "mypy ", "lint-imports ", f"python -m pytest {BESIDE}"]
    assert called(ran.stdout) == steps
    assert ran.stdout.count("passed") == 2 * len(steps)


def test_test_script_runs_the_other_steps_and_fails_when_one_fails(tree: Path) -> None:
    write_program(tree / ".venv/bin/mypy", "exit 3")

    ran = run(["tools/test"], tree)

    assert ran.returncode == 1
    assert called(ran.stdout)[-1] == f"python -m pytest {BESIDE}"
    assert "mypy                0 s  FAILED (exit 3)" in ran.stdout


def test_test_script_passes_arguments_to_pytest(tree: Path) -> None:
    ran = run(["tools/test", "-k", "link or call", "--only-tests", "-n", "0"], tree)

    assert called(ran.stdout) == [f"python -m pytest {BESIDE} -k link or call -n 0"]


@pytest.mark.parametrize("change", ["setup.cfg", "pyproject.toml", "zmqagents/_version.py"])
def test_environment_is_built_anew_when_its_definition_changed(tree: Path, change: str) -> None:
    (tree / change).write_text((tree / change).read_text() + "\n# changed\n")
    python = write_program(
        tree / "python3", '[[ $1 != -m ]] || { echo "no space left for $2"; exit 1; }; exec python3 "$@"'
    )

    ran = run(["tools/test"], tree, PYTHON=str(python))

    assert ran.returncode == 1
    assert not called(ran.stdout)
    assert "no space left for venv" in ran.stderr
    assert "could not be made" in ran.stderr


@pytest.mark.parametrize(
    ("python", "says"),
    [
        ("[[ $2 == *%d.%d* ]] && echo 3.9", "is Python 3.9; zmqagents needs 3.10 or newer"),
        ("exit 1", "does not run"),
        ('[[ $2 != *ensurepip* ]] && exec python3 "$@"', "sudo apt-get install python3-venv"),
    ],
)
def test_script_says_what_to_do_when_python_does_not_serve(tree: Path, python: str, says: str) -> None:
    interpreter = write_program(tree / "python3", python)

    ran = run(["tools/demo"], tree, PYTHON=str(interpreter))

    assert ran.returncode == 1
    assert says in ran.stderr


def test_script_says_what_to_install_when_there_is_no_python(tree: Path) -> None:
    ran = run(["tools/demo"], tree, PYTHON="python-that-is-not-there")

    assert ran.returncode == 1
    assert "sudo apt-get install python3 python3-venv" in ran.stderr


def test_script_installs_the_venv_module_where_root_runs_it_and_debian_left_it_out(tree: Path) -> None:
    require_root("to be allowed to install packages")
    installed = tree / "installed"
    write_program(
        tree / "bin/python3",
        f'[[ $1 != -m && ( $2 != *ensurepip* || -e "{installed}" ) ]] && exec "{sys.executable}" "$@"',
    )
    write_program(tree / "bin/dpkg-query", "[[ ${@: -1} == python3-venv ]] || echo installed")
    write_program(tree / "bin/apt-get", f'echo "$*" >> "{installed}"')

    ran = run(["tools/demo"], tree, PATH=f"{tree / 'bin'}:{os.environ['PATH']}")

    assert "could not be made" in ran.stderr  # by a Python that stops there; it was asked after the installation
    assert installed.read_text().splitlines() == ["update", "install --yes --no-install-recommends python3-venv"]


def test_demo_refuses_arguments(tree: Path) -> None:
    ran = run(["tools/demo", "--fast"], tree)

    assert ran.returncode == 1
    assert "takes no arguments (got: --fast)" in ran.stderr


def test_demo_starts_the_conductor_in_its_own_environment(tree: Path) -> None:
    ran = run(["tools/demo"], tree)

    assert called(ran.stdout) == ["python -m tools.demo_program.main"]


def test_clean_environment_forgets_what_changes_the_result_and_keeps_the_way_to_the_index(tmp_path: Path) -> None:
    caller = {
        "PIP_TARGET": "/x",
        "PIP_NO_DEPS": "1",
        "PYTHONPATH": "/x",
        "PYTHONOPTIMIZE": "2",
        "PYTEST_ADDOPTS": "-x",
        "VIRTUAL_ENV": "/x",
        "BROKER_URL": "tcp://x",
    }
    kept = {"PIP_INDEX_URL": "https://index", "PIP_CERT": "/cert", "PYTHON": "python3", "ZMQAGENTS_REQUIRE_ALL": "1"}

    cleaned = run(bash("clean_environment\nenv"), tmp_path, **caller, **kept)

    names = dict(line.split("=", 1) for line in cleaned.stdout.splitlines() if "=" in line)
    assert not caller.keys() & names.keys()
    assert kept.items() <= names.items()


def test_quiet_command_shows_its_output_only_when_it_fails(tmp_path: Path) -> None:
    fine = run(bash("run_quietly bash -c 'echo words; echo more >&2'"), tmp_path)
    broken = run(bash("run_quietly bash -c 'echo words; echo more >&2; exit 7'"), tmp_path)

    assert (fine.returncode, fine.stdout, fine.stderr) == (0, "", "")
    assert (broken.returncode, broken.stdout) == (7, "")
    assert broken.stderr.endswith("words\nmore\n")


@pytest.fixture
def job(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], psutil.Process]]:
    """A script that runs a job, and the job, which is known to have started."""
    program = bash(f"handle_signals\nrun_job '{sys.executable}' -c {shlex.quote(request.param)} 2>&1\necho unreachable")
    with subprocess.Popen(program, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True) as script:
        assert script.stdout is not None
        child = psutil.Process(int(script.stdout.readline()))
        try:
            yield script, child
        finally:
            script.kill()
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()


# Programs for python -c that say their process id first.
ENDS_ON_CTRL_C = "import os, signal; print(os.getpid(), flush=True); signal.pause()"
IGNORES_CTRL_C = """
import os, signal
signal.signal(signal.SIGINT, lambda number, frame: os.write(1, b"asked\\n"))  # print may be under way
print(os.getpid(), flush=True)
while True:
    signal.pause()
"""


# Starts a process that ignores the signal and says that one's id; ends on the signal itself.
LEAVES_A_CHILD = f"""
import signal, subprocess, sys
subprocess.Popen([sys.executable, "-c", {IGNORES_CTRL_C!r}])
signal.pause()
"""


@pytest.mark.parametrize("job", [LEAVES_A_CHILD], indirect=True)
def test_signal_ends_what_its_job_left_behind(job: tuple[subprocess.Popen[str], psutil.Process]) -> None:
    script, grandchild = job

    script.send_signal(signal.SIGTERM)

    assert script.wait(timeout=20) == 143
    psutil.wait_procs([grandchild], timeout=5)
    assert not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE


@pytest.mark.parametrize("job", [ENDS_ON_CTRL_C], indirect=True)
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signal_to_the_script_alone_ends_its_job(
    job: tuple[subprocess.Popen[str], psutil.Process], number: signal.Signals, status: int
) -> None:
    script, child = job

    script.send_signal(number)

    output, _ = script.communicate(timeout=20)
    assert script.returncode == status
    assert "KeyboardInterrupt" in output
    assert "unreachable" not in output
    assert not child.is_running()


@pytest.mark.parametrize("job", [IGNORES_CTRL_C], indirect=True)
def test_second_signal_kills_a_job_that_ignores_the_first(job: tuple[subprocess.Popen[str], psutil.Process]) -> None:
    script, child = job
    assert script.stdout is not None

    script.send_signal(signal.SIGINT)
    assert script.stdout.readline() == "asked\n"
    end = time.monotonic() + 20
    while script.poll() is None and time.monotonic() < end:
        script.send_signal(signal.SIGINT)  # bash takes note of one that comes just as it begins to wait with the next
        with contextlib.suppress(subprocess.TimeoutExpired):
            script.wait(timeout=1)

    assert script.poll() == 130
    assert not child.is_running()


def test_continuous_integration_requires_every_part(tree: Path) -> None:
    write_program(tree / "bin/apt-get", "exit 1")
    write_program(tree / "bin/dpkg-query", "echo installed")
    write_program(tree / ".venv/bin/python", 'echo "called with $ZMQAGENTS_REQUIRE_ALL: $*"')

    ran = run([".ci/run", "--only-tests"], tree, PATH=f"{tree / 'bin'}:{os.environ['PATH']}")

    assert ran.returncode == 0, ran.stderr
    assert called(ran.stdout) == [f"with 1: -m pytest {BESIDE}"]


def test_missing_part_skips_unless_all_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQAGENTS_REQUIRE_ALL", "0")
    with pytest.raises(pytest.skip.Exception, match="needs the program no-such-tool"):
        require_tool("no-such-tool")

    monkeypatch.setenv("ZMQAGENTS_REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="needs the program no-such-tool"):
        require_tool("no-such-tool")


def test_part_that_is_there_is_fine_when_all_is_required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZMQAGENTS_REQUIRE_ALL", "1")

    require(present=True, reason="needs nothing")
    assert Path(require_tool("bash")).name == "bash"


@pytest.mark.parametrize(
    ("environ", "required"),
    [
        ({}, False),
        ({"CI": "true"}, True),
        ({"CI": "false"}, False),
        ({"ZMQAGENTS_REQUIRE_ALL": "1"}, True),
        ({"CI": "true", "ZMQAGENTS_REQUIRE_ALL": "0"}, False),
    ],
)
def test_all_is_required_where_the_environment_says_so(environ: dict[str, str], required: bool) -> None:
    assert all_required(environ) is required


SHORT = ["--nodes", "3", "--seconds", "1"]


def simulate(*arguments: str, cwd: Path = ROOT, **environ: str) -> subprocess.CompletedProcess[str]:
    return run([sys.executable, str(ROOT / "tools/simulate"), *arguments], cwd, **environ)


def test_simulate_explains_itself_with_examples_when_called_from_anywhere(tmp_path: Path) -> None:
    shown = simulate("--help", cwd=tmp_path)

    assert (shown.returncode, shown.stderr) == (0, "")
    assert "tools/simulate --seed 7 --trace" in shown.stdout
    assert "gossip-loss" in shown.stdout


def test_simulate_runs_seeds_on_all_cores_and_sums_up() -> None:
    ran = simulate("--seeds", "0-3", *SHORT, "--faults", "gentle")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("runs          4, 0 of them with a violation")
    assert [line.split()[0] for line in ran.stdout.splitlines()] == [
        "runs", "virtual", "faults", "calls", "outcomes", "events", "agents", "all"
    ]  # fmt: skip


def test_simulate_traces_one_run_and_gives_its_fingerprint() -> None:
    one, again = (simulate("--seed", "7", *SHORT, "--trace") for _ in range(2))

    assert one.returncode == 0
    assert "p0.0 sees p1.1 JOINED" in one.stdout
    assert "seed 7 has the fingerprint" in one.stdout
    assert one.stdout == again.stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--faults", "thunder"], "argument --faults: 'thunder' is not a valid Fault; see --help for their names"),
        (["--seeds", "9-1"], "argument --seeds: invalid seeds_in value: '9-1'"),
        (["--nodes", "1"], "at least 2 nodes"),
        (["--trace"], "say which with --seed"),
    ],
)
def test_simulate_refuses_what_makes_no_sense(arguments: list[str], says: str) -> None:
    ran = simulate(*arguments)

    assert ran.returncode == 2
    assert says in ran.stderr


def test_simulate_fails_and_says_how_to_replay_when_an_invariant_does_not_hold(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "from tests.simulation.invariants.calls import HandlersEnd\n"
        "HandlersEnd.check_end = lambda self: (_ for _ in ()).throw(self.fail('on purpose'))\n"
    )

    ran = simulate("--seeds", "0-4", *SHORT, "--jobs", "1", PYTHONPATH=f"{tmp_path}:{ROOT}")

    assert ran.returncode == 1
    assert ran.stdout.count("breaks the invariant 'handlers end': on purpose\nlast events:\n") == 3
    assert "replay with: tools/simulate --nodes 3 --seconds 1 --faults all --seed 0 --trace" in ran.stdout
    assert "\ntools/simulate --nodes 3 --seconds 1 --faults all --seed 4: handlers end\n" in ran.stdout
    assert "runs          5, 5 of them with a violation" in ran.stdout


def test_simulate_ends_on_ctrl_c_with_all_its_processes() -> None:
    command = [sys.executable, str(ROOT / "tools/simulate"), "--seeds", "0-99999", *SHORT, "--fingerprints"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            assert "fingerprint" in program.stdout.readline()
            children = psutil.Process(program.pid).children(recursive=True)
            program.send_signal(signal.SIGINT)
            _, errors = program.communicate(timeout=20)
        finally:
            program.kill()

    assert program.returncode == 130
    assert errors.strip() == "Interrupted."
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
