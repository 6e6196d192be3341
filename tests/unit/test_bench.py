"""The bench: what it makes of what was measured, whom it leaves out, what it refuses, and that nothing of it stays."""

from __future__ import annotations

import asyncio
import io
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

from tools.bench_program import chart, load, main, processes, profile, scale
from tools.bench_program.conductor import Conductor
from tools.bench_program.contenders import CONTENDERS, INSTALL_EXTRA, NO_CLUSTER_KEYS, Contender
from tools.bench_program.measures import QUICK, Bench, Sample, Settings
from tools.bench_program.processes import Workers
from tools.bench_program.progress import Progress
from tools.bench_program.results import Better, Goal, Result, RowResult, Verdict
from tools.bench_program.rows import ROWS, Row
from tools.bench_program.table import make_table, number
from tools.bench_program.wire import BenchError
from zmqagents.protocol.overlay import FULL_MESH_MAX


def row(better: Better = Better.MORE, goal: Goal | None = None, **values: list[float]) -> RowResult:
    results = [Result(name, name.title(), list(found)) for name, found in values.items()]
    return RowResult("work", "Some work", "calls/s", better, results, (goal,) if goal else ())


# -- results -------------------------------------------------------------------------------------------------------


def test_result_is_the_median_of_its_rounds() -> None:
    result = Result("a", "A")
    for value in (30.0, 10.0, 20.0):
        result.add(value, {"p99": value * 2})

    assert (result.median, result.detail("p99")) == (20.0, 40.0)


@pytest.mark.parametrize(
    ("better", "ours", "verdict"),
    [
        (Better.MORE, 150.0, Verdict.AIM),
        (Better.MORE, 80.0, Verdict.MUST),
        (Better.MORE, 79.9, Verdict.MISSED),
        (Better.LESS, 150.0, Verdict.MUST),
        (Better.LESS, 80.0, Verdict.AIM),
        (Better.LESS, 150.1, Verdict.MISSED),
    ],
)
def test_goal_is_judged_by_the_ratio_to_its_reference(better: Better, ours: float, verdict: Verdict) -> None:
    must, aim = (8, 15) if better is Better.MORE else (15, 8)
    goal = Goal("ours", "theirs", must, aim)

    assert row(better, goal, ours=[ours], theirs=[10.0]).verdict(goal) is verdict


def test_goal_without_a_reference_is_judged_by_the_value() -> None:
    goal = Goal("ours", "", 0.5, 0.2)

    assert row(Better.LESS, goal, ours=[0.3]).verdict(goal) is Verdict.MUST


@pytest.mark.parametrize("theirs", [[], [0.0]])
def test_goal_is_open_when_its_reference_has_no_value(theirs: list[float]) -> None:
    goal = Goal("ours", "theirs", 8, 15)

    assert row(Better.MORE, goal, ours=[1.0], theirs=theirs).verdict(goal) is Verdict.UNKNOWN
    assert row(Better.MORE, goal, ours=[1.0]).verdict(goal) is Verdict.UNKNOWN


def test_json_has_values_ratios_and_verdicts() -> None:
    goal = Goal("ours", "theirs", 8, 15)
    measured = json.loads(json.dumps(row(Better.MORE, goal, ours=[90.0, 110.0, 100.0], theirs=[10.0]).to_json()))

    assert measured["results"][0]["median"] == 100.0
    assert measured["results"][0]["values"] == [90.0, 110.0, 100.0]
    assert measured["goals"] == [
        {"subject": "ours", "reference": "theirs", "achieved": 10.0, "must": 8, "aim": 15, "verdict": "reached"}
    ]


def test_table_shows_medians_ranges_ratios_and_who_is_missing() -> None:
    measured = row(Better.MORE, Goal("ours", "theirs", 8, 15), ours=[900.0, 1100.0, 1000.0], theirs=[200.0])
    measured.results.append(Result("third", "Third", absent=INSTALL_EXTRA))
    console = Console(file=io.StringIO(), width=200)
    console.print(make_table([measured]))
    shown = console.file.getvalue()  # type: ignore[attr-defined]  # it is a StringIO

    for text in ("1,000 calls/s (900-1,100)", "5x Theirs", "8x (15x)", "MISSED", INSTALL_EXTRA):
        assert text in shown


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0"), (0.2345, "0.23"), (12.34, "12.3"), (123_456.7, "123,457")])
def test_number_is_shown_with_the_digits_that_mean_something(value: float, shown: str) -> None:
    assert number(value) == shown


@pytest.mark.parametrize("suffix", chart.FORMATS)
def test_chart_is_drawn_from_rows_with_and_without_values(suffix: str, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / f"run{suffix}"
    goal = Goal("ours", "theirs", 8, 15)

    chart.draw([row(Better.MORE, goal, ours=[90.0], theirs=[]), row(ours=[])], "a run", path)
    assert path.stat().st_size > 1_000

    chart.draw_curves("growth", [2, 5], {"CPU": {"measured": [1.0, 2.0], "expected": [1.0, 2.0]}}, path)
    assert path.stat().st_size > 1_000


# -- rows and contenders -------------------------------------------------------------------------------------------


def test_every_row_names_contenders_that_exist_and_can_be_measured() -> None:
    for each in ROWS.values():
        assert set(each.contenders) <= CONTENDERS.keys()
        assert {name for goal in each.goals for name in (goal.subject, goal.reference) if name} <= set(each.contenders)
        assert (each.how is None) != (each.how_alone is None)
        assert all((goal.aim > goal.must) == (each.better is Better.MORE) for goal in each.goals)


def test_every_contender_is_in_a_row() -> None:
    used = {name for each in ROWS.values() for name in each.contenders} | {"plain-agents"}

    assert used == CONTENDERS.keys()


@pytest.mark.parametrize(
    ("contender", "why"),
    [
        (Contender("a", "A", "a"), ""),
        (Contender("a", "A", "a", imports=("json", "no_such_module")), INSTALL_EXTRA),
        (Contender("a", "A", "a", program="no-such-program", package="its-package"), "apt install its-package"),
        (Contender("a", "A", "a", setting="no_such_setting"), NO_CLUSTER_KEYS),
        (Contender("a", "A", "a", setting="cluster"), ""),
    ],
)
def test_contender_tells_why_it_cannot_run(contender: Contender, why: str) -> None:
    assert contender.absent() == why or (why and contender.absent().endswith(why))


# -- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--rows calls,juggling", "juggling is none of calls"),
        ("--rows ,", "nothing is none of"),
        ("--peers carrier-pigeon", "carrier-pigeon is none of zmqagents"),
        ("--rounds 0", "0 is not above 0"),
        ("--rounds many", "'many' is no number"),
        ("--seconds nan", "nan is not above 0"),
        ("--rows start --peers pyzmq", "none of these peers is in one of these rows"),
        ("--chart run.gif", "write a name that ends in .png or .svg"),
        ("--json no/such/folder/run.json", "no/such/folder is no folder"),
        ("scale --sizes 2,few", "write numbers separated by commas"),
        ("scale --sizes 1", "write numbers from 2 to"),
        ("scale --quick", "unrecognized arguments: --quick"),
        ("profile --peers nats", "nats is none of zmqagents"),
    ],
)
def test_wrong_arguments_are_refused_with_what_to_write(
    arguments: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(arguments.split())

    assert ended.value.code == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [[], ["scale"], ["profile"]])
def test_help_explains_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main([*arguments, "--help"])

    assert ended.value.code == 0
    assert " ".join(["usage: tools/bench", *arguments]) in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "settings"),
    [
        ([], Settings()),
        (["--quick"], QUICK),
        (["--rounds", "5", "--seconds", "0.5"], Settings(rounds=5, seconds=0.5)),
        (["--quick", "--nodes", "2"], Settings(QUICK.rounds, QUICK.seconds, QUICK.warm_seconds, 2, QUICK.agents)),
    ],
)
def test_settings_are_the_defaults_with_what_was_asked_for(arguments: list[str], settings: Settings) -> None:
    assert main.settings_of(main.make_parser().parse_args(arguments)) == settings


def test_required_peers_that_are_missing_are_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = Contender("nats", "NATS", "nats_broker", program="no-such-program", package="nats-server")
    monkeypatch.setitem(CONTENDERS, "nats", absent)

    with pytest.raises(BenchError, match="nats: not installed: apt install nats-server"):
        main.check_present(["calls"], ["zmqagents", "nats"])
    main.check_present(["start"], ["zmqagents", "nats"])  # it takes no part there


# -- the work ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "value"), [(0.0, 1), (0.5, 50), (0.99, 99), (1.0, 100)])
def test_quantile_is_the_nearest_rank(share: float, value: int) -> None:
    assert load.quantile(list(range(1, 101)), share) == value


def test_quantile_of_one_value_is_that_value() -> None:
    assert load.quantile([7], 0.99) == 7


@pytest.mark.parametrize("size", [1, 64, 1 << 20])
def test_payload_has_the_size_and_nothing_to_escape(size: int) -> None:
    text = load.payload(size)

    assert len(text.encode()) == size
    assert json.dumps(text) == f'"{text}"'


async def test_concurrent_load_keeps_as_many_calls_on_their_way_as_it_says() -> None:
    running = most = 0

    async def call(_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1

    done = await load.concurrent(call, None, 8, 0.05)

    assert most == 8
    assert done["calls"] >= 8
    assert done["seconds"] >= 0.05


async def test_calls_that_hang_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "CALL_TIMEOUT_S", 0.05)

    with pytest.raises(BenchError, match="calls hang: 0 were answered"):
        await load.concurrent(lambda _: asyncio.Future(), None, 2, 0.01)


async def test_sequential_load_makes_a_call_even_when_there_is_no_time() -> None:
    async def call(_: Any) -> None:
        await asyncio.sleep(0.002)

    done = await load.sequential(call, None, 0.0)

    assert done["calls"] == 1
    assert done["p99_us"] == done["p50_us"] >= 1_900


async def test_events_are_published_once_each_by_all_tasks_together() -> None:
    sent: list[str] = []

    async def send(message_id: str) -> None:
        await asyncio.sleep(0)
        sent.append(message_id)

    await load.publish(send, 10, 5, 2)

    assert sorted(sent) == ["10", "11", "12", "13", "14"]


async def test_inbox_tells_what_was_lost_repeated_or_strange() -> None:
    inbox = load.Inbox()
    for message_id in ("3", "4", "4", "99"):
        inbox.add(message_id)

    got = await inbox.received(first=3, count=3, within_s=0.0)

    assert {name: got[name] for name in ("received", "lost", "repeated", "strange")} == {
        "received": 2,
        "lost": 1,
        "repeated": 1,
        "strange": 1,
    }


async def test_inbox_waits_for_what_is_on_its_way_and_then_starts_anew() -> None:
    inbox = load.Inbox()
    asyncio.get_running_loop().call_soon(inbox.add, "0")

    assert (await inbox.received(0, 1, 5.0))["lost"] == 0
    assert (await inbox.received(0, 1, 0.0))["lost"] == 1


# -- scale and profile ---------------------------------------------------------------------------------------------


def test_expected_gossip_grows_with_the_others_until_the_overlay() -> None:
    one = scale.expected_bytes_per_s(2, 1.0)

    assert one > 20
    assert scale.expected_bytes_per_s(FULL_MESH_MAX, 1.0) == pytest.approx((FULL_MESH_MAX - 1) * one, rel=0.01)
    assert scale.expected_bytes_per_s(4 * FULL_MESH_MAX, 1.0) < 20 * one
    assert scale.expected_bytes_per_s(2, 2.0) == one / 2


def test_profile_splits_the_threads_time_like_its_samples() -> None:
    samples = {
        "seconds": 1.0,
        "main_thread_s": 0.5,
        "other_threads_s": 0.1,
        "functions": [
            ["/x/zmqagents/protocol/codec.py", "decode", 30],
            ["/x/zmqagents/protocol/node.py", "receive", 10],
            ["/usr/lib/python3/selectors.py", "select", 60],
        ],
    }

    side = profile.side_profile(samples, calls=10_000)

    assert side.groups["codec: frames and bytes"] == pytest.approx(30.0)
    assert side.groups["core: node, calls, directory, membership"] == pytest.approx(10.0)
    assert side.groups[profile.LOOP] == pytest.approx(10.0)  # the thread was busy for half of the time
    assert side.groups[profile.OTHER_THREADS] == pytest.approx(10.0)
    assert side.total_us == pytest.approx(60.0)
    assert side.waiting == pytest.approx(0.5)


def test_profile_of_no_calls_is_an_error() -> None:
    with pytest.raises(BenchError, match="no call was made"):
        profile.side_profile({"functions": []}, calls=0)


# -- the conductor and its processes -------------------------------------------------------------------------------


def alone(row_name: str, done: list[str], failing: str = "") -> Row:
    """A row that notes who was measured."""

    async def measure(_: Bench, contender: Contender) -> Sample:
        if contender.name == failing:
            raise BenchError("it broke\nin its second line")
        done.append(contender.name)
        return Sample(float(len(done)), {})

    return Row(row_name, "work of {nodes}", "s", Better.LESS, ("zmqagents", "pyzmq", "nats"), how_alone=measure)


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    async with processes.running() as started:
        yield started


async def test_conductor_measures_all_contenders_in_turn_round_after_round(workers: Workers) -> None:
    done: list[str] = []
    conductor = Conductor(workers, Settings(rounds=2, nodes=7), [alone("a", done)], ["zmqagents", "pyzmq"])

    [measured] = await conductor.run()

    assert done == ["zmqagents", "pyzmq", "zmqagents", "pyzmq"]
    assert measured.title == "work of 7"
    assert [result.values for result in measured.results] == [[1.0, 3.0], [2.0, 4.0]]
    assert not conductor.failures


async def test_conductor_goes_on_without_a_contender_that_fails(workers: Workers) -> None:
    done: list[str] = []
    rows = [alone("a", done, failing="zmqagents"), alone("b", done)]
    conductor = Conductor(workers, Settings(rounds=1), rows, ["zmqagents", "pyzmq"])

    first, second = await conductor.run()

    assert done == ["pyzmq", "zmqagents", "pyzmq"]
    assert first.results[0].absent == "failed: it broke"
    assert second.results[0].values
    assert conductor.failures == ["a: it broke\nin its second line"]


def python(program: str) -> list[str]:
    return ["-c", f"import json, os, sys, time\n{program}"]


SAYS_READY = 'print(\'{"value": "ready"}\', flush=True)\n'
ANSWERS = SAYS_READY + "for line in sys.stdin: print(json.dumps({'value': json.loads(line)}), flush=True)"


async def test_worker_answers_commands_in_turn(workers: Workers) -> None:
    worker = await (await workers.start("echo", python(ANSWERS))).ready()

    answers = list(await asyncio.gather(worker.ask("one", number=1), worker.ask("two")))

    assert answers == [{"do": "one", "number": 1}, {"do": "two"}]


async def test_worker_that_ends_early_is_an_error_with_its_last_words(workers: Workers) -> None:
    worker = await workers.start("quitter", python("sys.exit('no luck')"))

    with pytest.raises(BenchError, match=r"quitter ended with status 1 during 'imports'; its last words:\n    no luck"):
        await worker.ready()


async def test_worker_that_says_no_json_is_an_error(workers: Workers) -> None:
    worker = await workers.start("babbler", python("print('la la', flush=True); sys.stdin.read()"))

    with pytest.raises(BenchError, match="la la"):
        await worker.ready()


async def test_worker_that_does_not_answer_is_an_error(workers: Workers) -> None:
    worker = await (await workers.start("mute", python(SAYS_READY + "sys.stdin.read()"))).ready()

    with pytest.raises(BenchError, match=r"mute did not answer 'work' within 0\.05 s"):
        await worker.ask("work", timeout_s=0.05)


async def test_cancellation_that_comes_together_with_an_answer_is_not_lost(workers: Workers) -> None:
    worker = await (await workers.start("mute", python(SAYS_READY + "sys.stdin.read()"))).ready()
    asking = asyncio.create_task(worker.ask("work"))
    while not worker._answers._getters:  # type: ignore[attr-defined]  # noqa: ASYNC110 - it waits for the answer
        await asyncio.sleep(0)

    worker._answers.put_nowait({"value": 1})
    await asyncio.sleep(0)  # the answer is taken out, and who asked is about to be told
    asking.cancel()

    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_nothing_of_a_worker_that_will_not_leave_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LEAVE_TIMEOUT_S", 0.2)
    child = f"import subprocess\nchild = subprocess.Popen([{sys.executable!r}, '-c', 'import time; time.sleep(600)'])\n"
    stays = python(child + "print(json.dumps({'value': child.pid}), flush=True)\ntime.sleep(600)")
    leaves = python(child + "print(json.dumps({'value': child.pid}), flush=True)\nsys.stdin.read()")
    async with processes.running() as started:
        pids = []
        for name, program in (("stays", stays), ("leaves its child", leaves)):
            worker = await started.start(name, program)
            pids += [worker.pid, await worker.answer("its child")]
    assert started.left_badly == ["stays left with status -9"]
    _, left = psutil.wait_procs([psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)], timeout=5)
    assert not [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


async def test_workers_do_not_get_the_settings_of_the_callers_environment(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZMQAGENTS_SEEDS", "tcp://10.0.0.1:1")
    program = "print(json.dumps({'value': [name for name in os.environ if name.startswith('ZMQ')]}), flush=True)"

    worker = await workers.start("a", python(program))

    assert await worker.answer("environment") == []
    assert os.environ["ZMQAGENTS_SEEDS"]


class Watched(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


def test_progress_is_a_line_for_each_subject_where_nobody_watches() -> None:
    stream = io.StringIO()
    progress = Progress(3, stream)
    for subject in ("calls", "calls", "echo"):
        progress.step(subject, "a detail")
    progress.end()

    assert [line.split("  ")[-1] for line in stream.getvalue().splitlines()] == ["calls", "echo"]


def test_progress_is_one_line_written_over_where_somebody_watches() -> None:
    stream = Watched()
    progress = Progress(2, stream)
    progress.step("calls", "round 1")
    progress.detail("round 2")
    progress.end()

    assert "\n" not in stream.getvalue()
    assert "[1/2]" in stream.getvalue()
    assert stream.getvalue().endswith("\r\x1b[2K")
