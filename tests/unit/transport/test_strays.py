"""Log lines about what was dropped: enough to see who does what, and no flood."""

from __future__ import annotations

import logging

import pytest

from zmqagents.transport.strays import EVERY_S, MAX_SENDERS, TURNED_AWAY_EVERY_S, StrayLog


@pytest.fixture
def strays() -> StrayLog:
    return StrayLog(logging.getLogger("zmqagents.test"))


def test_first_one_of_a_sender_is_reported_at_once_with_who_and_why(
    strays: StrayLog, caplog: pytest.LogCaptureFixture
) -> None:
    strays.report("node-1", "not msgpack", 0.0)
    assert caplog.messages == ["dropped a message of node-1: not msgpack"]
    assert caplog.records[0].levelno == logging.WARNING


def test_flood_of_one_sender_is_one_line_and_later_its_count(
    strays: StrayLog, caplog: pytest.LogCaptureFixture
) -> None:
    for number in range(1_000):
        strays.report("node-1", "not msgpack", number / 1_000)
    assert len(caplog.messages) == 1
    strays.report("node-1", "still not", EVERY_S)
    assert caplog.messages[1] == "dropped a message of node-1: still not (999 more since the last report)"


def test_flood_of_one_sender_does_not_hide_another(strays: StrayLog, caplog: pytest.LogCaptureFixture) -> None:
    for label in ("node-1", "node-1", "node-2"):
        strays.report(label, "not msgpack", 0.0)
    assert [line.split()[4] for line in caplog.messages] == ["node-1:", "node-2:"]


def test_senders_beyond_the_bound_share_one_line(strays: StrayLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(10 * MAX_SENDERS):
        strays.report(f"node-{number}", "not msgpack", 0.0)
    assert len(caplog.messages) == MAX_SENDERS + 1
    assert caplog.messages[-1] == "dropped a message of other senders: not msgpack"
    assert len(strays._senders) == MAX_SENDERS + 1


def test_host_that_was_turned_away_gets_one_line_a_minute(strays: StrayLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(3):
        strays.report_turned_away("10.0.0.2", "it has another key", float(number))
    strays.report_turned_away("10.0.0.3", "it has none", 3.0)
    strays.report_turned_away("10.0.0.2", "it has none", TURNED_AWAY_EVERY_S)
    assert caplog.messages == [
        "no connection with 10.0.0.2: it has another key",
        "no connection with 10.0.0.3: it has none",
        "no connection with 10.0.0.2: it has none (2 more since the last report)",
    ]


def test_hosts_beyond_the_bound_share_one_line(strays: StrayLog, caplog: pytest.LogCaptureFixture) -> None:
    for number in range(2 * MAX_SENDERS):
        strays.report_turned_away(f"10.0.{number >> 8}.{number & 255}", "it has another key", 0.0)
    assert len(caplog.messages) == MAX_SENDERS + 1
    assert caplog.messages[-1].startswith("no connection with other hosts: ")
