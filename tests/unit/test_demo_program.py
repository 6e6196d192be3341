"""The demo's conductor: what it does with processes that end, hang or talk nonsense, and what counts as a good end."""

from __future__ import annotations

import io
import sys

import psutil
import pytest
from rich.console import Console

from tools.demo_program import children, reports
from tools.demo_program.children import Children, DemoError
from tools.demo_program.messages import NUMBERS
from tools.demo_program.reports import Answered, AnyReport, Found, Peer, Published, Received, Up
from tools.demo_program.story import PROCESSES, Story
from tools.demo_program.worker import prime_factors

LEAVES = 'import sys; print(\'{"type": "Up", "pid": 7}\', flush=True); sys.stdin.read()'
STAYS = 'import signal; print(\'{"type": "Up", "pid": 7}\', flush=True); signal.pause()'


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


async def test_children_are_heard_and_leave_when_the_block_ends() -> None:
    async with children.running() as started:
        pid = await started.start("a", python(LEAVES))

        name, report = await started.next_report()

        assert (name, report) == ("a", Up(pid=7, at_s=report.at_s))
    assert not psutil.pid_exists(pid)


async def test_child_that_stays_is_killed_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "LEAVE_TIMEOUT_S", 0.2)
    pid = 0
    with pytest.raises(DemoError, match="stubborn did not leave"):
        async with children.running() as started:
            pid = await started.start("stubborn", python(STAYS))
            await started.next_report()
    assert pid
    assert not psutil.pid_exists(pid)


async def test_children_are_ended_when_the_block_fails() -> None:
    pid = 0
    with pytest.raises(KeyError):
        async with children.running() as started:
            pid = await started.start("a", python(LEAVES))
            raise KeyError
    assert pid
    assert not psutil.pid_exists(pid)


async def test_child_that_ends_early_is_an_error_with_its_last_words() -> None:
    with pytest.raises(DemoError, match=r"a ended with status 3; its last words:\n    no luck"):
        async with children.running() as started:
            await started.start("a", python("import sys; print('no luck', file=sys.stderr); sys.exit(3)"))
            await started.next_report()


async def test_child_that_leaves_badly_is_an_error() -> None:
    with pytest.raises(DemoError, match="a ended with status 4"):
        async with children.running() as started:
            await started.start("a", python(f"{LEAVES}; sys.exit(4)"))
            await started.next_report()


async def test_line_that_is_no_report_is_an_error_that_shows_it() -> None:
    with pytest.raises(DemoError, match=r"a wrote something that is no report .*surprise"):
        async with children.running() as started:
            await started.start("a", python("print('surprise', flush=True); input()"))
            await started.next_report()


async def test_kill_names_the_children_that_were_left() -> None:
    started = Children()
    await started.start("a", python(STAYS))

    assert started.kill() == ["a"]

    with pytest.raises(DemoError, match="a ended with status -9"):
        await started.end()


def test_report_is_the_same_after_its_way_through_a_pipe(capfd: pytest.CaptureFixture[str]) -> None:
    sent = Found(peers=[Peer(name="a", endpoint="tcp://127.0.0.1:1", agent_types=["t"], source="mdns")])

    reports.send(sent)

    assert reports.parse(capfd.readouterr().out.encode()) == sent


def peers_of(name: str) -> Found:
    others = [Peer(other, f"tcp://{other}", [part], "mdns") for other, part in PROCESSES.items() if other != name]
    return Found(peers=others)


def good_story() -> list[tuple[str, AnyReport]]:
    told: list[tuple[str, AnyReport]] = [(name, peers_of(name)) for name in PROCESSES]
    told += [("coordinator", Answered(number, prime_factors(number), "worker-1", 2.0)) for number in NUMBERS]
    told.append(("coordinator", Published(answers=len(NUMBERS))))
    told += [(name, Received(agent=f"{name}/demo", answers=len(NUMBERS))) for name in ("worker-1", "worker-2")]
    return told


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=120)


def test_story_is_complete_once_all_was_told_and_shows_it(console: Console) -> None:
    story = Story(console, "demo-1")
    for name, report in good_story():
        assert not story.complete
        story.tell(name, report)

    assert story.complete
    story.conclude()
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert "worker-2 found coordinator by mdns" in shown
    assert "8051 = 83 x 97" in shown
    assert "8 calls, all answered, by 1 process, median 2.0 ms" in shown
    assert "1 event to 2 processes" in shown


@pytest.mark.parametrize("left_out", range(len(good_story())))
def test_story_is_not_complete_when_one_report_is_missing(console: Console, left_out: int) -> None:
    story = Story(console, "demo-1")
    for number, (name, report) in enumerate(good_story()):
        if number != left_out:
            story.tell(name, report)

    assert not story.complete
    assert story.missing


@pytest.mark.parametrize(
    ("report", "says"),
    [
        (Found(peers=[]), "worker-1 does not know coordinator, worker-2"),
        (Answered(15, [3, 4], "worker-2", 1.0), r"worker-2 answered \[3, 4\] for 15"),
    ],
)
def test_story_fails_when_a_report_says_something_wrong(console: Console, report: AnyReport, says: str) -> None:
    with pytest.raises(DemoError, match=says):
        Story(console, "demo-1").tell("worker-1", report)


def test_story_fails_when_a_process_receives_the_event_twice(console: Console) -> None:
    story = Story(console, "demo-1")
    story.tell("worker-1", Received(agent="archive/demo", answers=8))

    with pytest.raises(DemoError, match="worker-1 received the event twice"):
        story.tell("worker-1", Received(agent="archive/demo", answers=8))


@pytest.mark.parametrize(("number", "factors"), [(1, []), (2, [2]), (12, [2, 2, 3]), (8051, [83, 97]), (97, [97])])
def test_prime_factors_multiply_to_the_number(number: int, factors: list[int]) -> None:
    assert prime_factors(number) == factors
