"""Clusters with a key: runtimes of one process over real sockets."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Iterator

import pytest
from autogen_core.exceptions import UndeliverableException

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, endpoint_of, eventually, node_of, within
from tests.integration.messages import Text
from zmqagents import ConfigError, ZmqAgentRuntime
from zmqagents.discovery.advert import write_txt
from zmqagents.discovery.base import Advertisement
from zmqagents.keys import curve_secret, make_key

pytestmark = pytest.mark.integration

KEY, OTHER_KEY = make_key(), make_key()


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The log's lines about connections that were not made, once the test asks for them."""
    caplog.set_level(logging.DEBUG)
    found: list[str] = []

    class Keeper(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.getMessage().startswith("no connection with"):
                found.append(record.getMessage())

    keeper = Keeper()
    logging.getLogger("zmqagents").addHandler(keeper)
    yield found
    logging.getLogger("zmqagents").removeHandler(keeper)


async def test_processes_with_one_key_call_each_other(cluster: Cluster, lines: list[str]) -> None:
    _, caller = await cluster.pair(Echo, cluster_key=KEY)
    assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")
    assert lines == []


@pytest.mark.parametrize(
    ("there", "here", "said_there", "said_here"),
    [
        (KEY, OTHER_KEY, "it has another cluster key", "has another cluster key"),
        (KEY, None, "it has no cluster key", "has a cluster key"),
        (None, KEY, "it has a cluster key", "cluster key"),
    ],
    ids=["another key", "none", "one where there is none"],
)
async def test_process_with_another_key_or_none_is_kept_out_with_a_line_on_each_side_and_starts(
    cluster: Cluster,
    lines: list[str],
    there: str | None,
    here: str | None,
    said_there: str,
    said_here: str,
) -> None:
    host = await cluster.host(Echo, cluster_key=there)
    stranger = await cluster.host(cluster_key=here, discovery_timeout_s=0.2, join_timeout_s=1.0)
    with pytest.raises(UndeliverableException):
        await within(stranger.send_message(Text("hi"), agent("echo")))
    await eventually(lambda: len(lines) >= 2)
    by_host = [line for line in lines if "a connection from it was refused: " in line]
    by_stranger = [line for line in lines if endpoint_of(host) in line]
    assert len(by_host) == len(by_stranger) == 1
    assert said_there in by_host[0]
    assert said_here in by_stranger[0]
    assert all(line.startswith("no connection with 127.0.0.1: ") or "before it could be seen" in line for line in lines)
    assert host.peers() == stranger.peers() == []
    assert [record.node_id for record in node_of(host).membership.live()] == [node_of(host).node_id]


async def test_one_key_in_two_clusters_does_not_join_them(cluster: Cluster) -> None:
    host = await cluster.host(Echo, cluster_key=KEY)
    stranger = await cluster.host(cluster="another", cluster_key=KEY, discovery_timeout_s=0.2, join_timeout_s=0.5)
    with pytest.raises(UndeliverableException):
        await within(stranger.send_message(Text("hi"), agent("echo")))
    assert host.peers() == []


async def test_key_is_changed_in_a_cluster_that_works_without_a_failed_call(cluster: Cluster, lines: list[str]) -> None:
    steps: list[dict[str, str | None]] = [
        {"cluster_key": KEY},
        {"cluster_key": KEY, "other_cluster_key": OTHER_KEY},
        {"cluster_key": OTHER_KEY, "other_cluster_key": KEY},
        {"cluster_key": OTHER_KEY},
    ]
    members = [
        await cluster.host(Echo, **steps[0]),
        await cluster.host(Echo, **steps[0]),
        await cluster.host(**steps[0]),
    ]
    callers = [members[2]]
    answered = 0

    async def keep_calling() -> None:
        nonlocal answered
        while True:
            key = f"key-{answered % 10}"
            assert await within(callers[0].send_message(Text(key), agent("echo", key))) == Text(key)
            answered += 1
            await asyncio.sleep(0.005)

    calling = asyncio.create_task(keep_calling())
    for step in steps[1:]:
        for number in range(3):
            old, new = members[number], await cluster.host(*([] if number == 2 else [Echo]), **step)
            members[number] = new
            if number == 2:
                callers[0] = new
            before = answered
            # What the old caller has called is answered before it stops.
            await eventually(lambda: len(new.peers()) == 3 and answered > before)  # noqa: B023 - over before the next
            await within(old.stop())
            await eventually(lambda: answered > before + 10 or calling.done())  # noqa: B023
            assert not calling.done(), calling.exception()
    calling.cancel()
    assert {each.config.cluster_key for each in members} == {OTHER_KEY}
    assert answered > 90
    assert lines == []


async def test_key_shows_nowhere_when_a_start_fails(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    taken = await cluster.host(cluster_key=KEY)
    port = int(endpoint_of(taken).rpartition(":")[2])
    failing = cluster.make(cluster_key=KEY, other_cluster_key=OTHER_KEY, port=port)
    with pytest.raises(ConfigError) as caught:
        await within(failing.start())
    error = caught.value
    shown = [repr(error), str(error), caplog.text, repr(failing), repr(failing.config), str(taken.peers())]
    assert not [text for text in shown if KEY in text or OTHER_KEY in text]
    secrets = [curve_secret(key, cluster.name) for key in (KEY, OTHER_KEY)]
    pickled = pickle.dumps(error)
    assert not [secret for secret in [KEY.encode(), OTHER_KEY.encode(), *secrets] if secret in pickled]


async def test_key_is_not_in_what_others_are_told(cluster: Cluster) -> None:
    runtime = await cluster.host(cluster_key=KEY)
    record = node_of(runtime).record
    told = repr(write_txt(Advertisement(record.cluster, record.node_id, record.instance_id, record.endpoints)))
    assert KEY not in told + repr(record)
    assert curve_secret(KEY, cluster.name).hex() not in told + repr(record)


@pytest.mark.parametrize("key", ["too-short-to-be-a-key", KEY[:-1]], ids=["short", "cut off"])
def test_wrong_key_is_an_error_that_does_not_show_it(key: str) -> None:
    with pytest.raises(ConfigError, match="zmqagents keygen") as caught:
        ZmqAgentRuntime(cluster_key=key)
    assert key not in str(caught.value)
    assert key.encode() not in pickle.dumps(caught.value)
