"""Every example does what it says, as separate processes of this machine."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.example_runner import ROOT, Stage

pytestmark = pytest.mark.integration

EXAMPLES = ROOT / "examples"


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage(tmp_path)
    try:
        yield stage
    finally:
        stage.clear()


@pytest.mark.parametrize("first", ["worker", "coordinator"])
def test_coordinator_gets_its_job_done_whoever_starts_first(stage: Stage, first: str) -> None:
    programs = {}
    for name in sorted(["worker", "coordinator"], key=lambda name: name != first):
        programs[name] = stage.start(f"worker_and_coordinator.{name}")
        programs[name].wait_for(f"{name}: started")

    assert programs["coordinator"].finish() == ["coordinator: started", "coordinator: HELLO FROM ANOTHER PROCESS"]
    assert sorted(programs["worker"].stop()) == sorted(
        [
            "worker: started",
            "worker: 'hello' from coordinator/default",
            "worker: 'from' from coordinator/default",
            "worker: 'another' from coordinator/default",
            "worker: 'process' from coordinator/default",
            "worker: stopped",
        ]
    )


def test_subscriber_hears_each_source_in_order_though_it_starts_last(stage: Stage) -> None:
    publisher = stage.start("publisher_and_subscriber.publisher")
    subscriber = stage.start("publisher_and_subscriber.subscriber")
    subscriber.wait_for("subscriber: started")

    assert publisher.finish() == ["publisher: 5 events handled"]
    lines = subscriber.stop(signal.SIGINT)
    assert [line for line in lines if "tea" in line] == [
        "subscriber: tea was None, now 250",
        "subscriber: tea was 250, now 240",
        "subscriber: tea was 240, now 260",
    ]
    assert [line for line in lines if "coffee" in line] == [
        "subscriber: coffee was None, now 310",
        "subscriber: coffee was 310, now 330",
    ]


def test_three_workers_share_the_keys_and_each_key_stays_with_one(stage: Stage) -> None:
    names = ["red", "green", "blue"]
    workers = [stage.start("three_workers.worker", INSTANCE_ID=name) for name in names]
    for name, worker in zip(names, workers, strict=True):
        worker.wait_for(f"{name}: started")

    first, *homes = stage.start("three_workers.client").finish()

    assert first == "client: each of 30 keys was answered twice by the same process"
    found = dict(re.findall(r"client: (\w+) is the home of (\d+) of them", "\n".join(homes)))
    assert sorted(found) == sorted(names)
    assert sum(map(int, found.values())) == 30
    for name, worker in zip(names, workers, strict=True):
        assert worker.stop() == [f"{name}: started", f"{name}: stopped"]


def test_remote_handler_is_told_to_stop_when_its_caller_gives_up(stage: Stage) -> None:
    worker = stage.start("timeout_and_cancellation.worker")
    worker.wait_for("worker: started")

    assert stage.start("timeout_and_cancellation.client").finish() == [
        "client: the note is done",
        "client: timeout_s ended the report",
        "client: call_timeout ended the survey",
        "client: wait_for ended the review",
        "client: the token ended the letter",
    ]
    worker.wait_for("worker: told to stop letter")
    assert worker.stop() == [
        "worker: started",
        "worker: finished note",
        "worker: told to stop report",
        "worker: told to stop survey",
        "worker: told to stop review",
        "worker: told to stop letter",
    ]


def test_warehouse_reads_orders_of_the_old_version_and_of_the_new_one(stage: Stage) -> None:
    warehouse = stage.start("versioned_serializer.warehouse")
    warehouse.wait_for("warehouse: started")
    old_shop = stage.start("versioned_serializer.old_shop")
    new_shop = stage.start("versioned_serializer.new_shop")

    assert old_shop.finish() == ["old shop: 1 x coffee, 310 cents"]
    assert new_shop.finish() == ["new shop: 4 x tea, 1000 cents"]
    assert sorted(warehouse.stop()) == [
        "warehouse: Order(item='coffee', cents=310, pieces=1)",
        "warehouse: Order(item='tea', cents=250, pieces=4)",
        "warehouse: started",
    ]


def test_protobuf_messages_go_there_and_back(stage: Stage) -> None:
    station = stage.start("protobuf.station")
    station.wait_for("station: started")

    assert stage.start("protobuf.thermometer").finish() == ["thermometer: roof from -1.5 to 7.25 degrees"]
    assert station.stop() == ["station: started", "station: 3 readings of roof"]


def test_watcher_hears_the_whole_conversation_of_a_team_elsewhere(stage: Stage) -> None:
    watcher = stage.start("agentchat_team.watcher")
    watcher.wait_for("watcher: started")

    assert stage.start("agentchat_team.team").finish() == [
        "team: 5 messages, ended because: Maximum number of turns 4 reached."
    ]
    watcher.wait_for("watcher: the team has ended")
    assert watcher.stop() == [
        "watcher: started",
        "watcher: the task is: Write a poem.",
        "watcher: writer says: Roses are red.",
        "watcher: critic says: Not new. Go on.",
        "watcher: writer says: Violets are blue.",
        "watcher: critic says: It will do.",
        "watcher: the team has ended",
    ]


def test_saved_state_goes_on_in_a_new_process_after_the_old_one_was_killed(stage: Stage, tmp_path: Path) -> None:
    worker = stage.start("saved_state.worker")
    assert stage.start("saved_state.save").finish() == [
        "save: the notebook has ['buy tea', 'call Ann']",
        "save: saved to notebook.json",
    ]
    assert (tmp_path / "notebook.json").exists()
    worker.kill()

    worker = stage.start("saved_state.worker")
    worker.wait_for("worker: started")
    assert stage.start("saved_state.load").finish() == [
        "load: the notebook has ['buy tea', 'call Ann', 'water the plants']"
    ]
    assert worker.stop() == ["worker: started"]


def test_readme_of_the_examples_gives_the_command_of_each_program_and_no_other() -> None:
    programs = {
        f"examples.{path.parent.name}.{path.stem}"
        for path in EXAMPLES.glob("*/*.py")
        if "__main__" in path.read_text(encoding="utf-8")
    }
    readme = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"python -m (examples\.[\w.]+)", readme)) == programs
