"""Starting and stopping, where the integration tests can't look."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest
from autogen_core import DefaultTopicId

from tests.integration.agents import Echo, Patient, agent
from tests.integration.clusters import eventually, node_of, within
from tests.integration.messages import Text
from tests.unit.runtime.wired import WiredCluster
from zmqagents import ConfigError
from zmqagents.errors import ForkedProcessError, RuntimeNotStartedError


async def test_starting_twice_is_a_runtime_error(wired: WiredCluster) -> None:
    runtime = await wired.host()
    with pytest.raises(RuntimeError, match="already started"):
        runtime.start()


async def test_what_needs_a_running_runtime_says_so_before_start(wired: WiredCluster) -> None:
    runtime = wired.make()
    with pytest.raises(RuntimeNotStartedError, match=r"call runtime.start\(\) first"):
        runtime.peers()
    for use in (
        runtime.wait_for_agents("echo"),
        runtime.stop(),
        runtime.stop_when_idle(),
        runtime.wait_until_stopped(),
    ):
        with pytest.raises(RuntimeNotStartedError, match="Runtime is not started"):
            await use


async def test_failed_start_is_the_reason_that_later_errors_give(wired: WiredCluster) -> None:
    await wired.host(port=7_000)
    runtime = wired.make(port=7_000)
    with pytest.raises(ConfigError, match="taken"):
        await within(runtime.start())
    with pytest.raises(RuntimeNotStartedError, match=r"Runtime is not started: .*taken") as failed:
        await runtime.stop()
    assert isinstance(failed.value.__cause__, ConfigError)


async def test_call_after_a_failed_start_raises_and_does_not_wait_for_another(wired: WiredCluster) -> None:
    await wired.host(port=7_000)
    runtime = wired.make(port=7_000)
    with pytest.raises(ConfigError):
        await within(runtime.start())
    with pytest.raises(RuntimeNotStartedError, match=r"could not be started: .*taken"):
        await within(runtime.send_message(Text("hi"), agent("echo")))


async def test_stop_when_signal_stops_at_one_of_its_signals_and_gives_them_back(wired: WiredCluster) -> None:
    runtime = await wired.host(Echo)
    before = signal.getsignal(signal.SIGUSR1)
    stopped = asyncio.ensure_future(runtime.stop_when_signal((signal.SIGUSR1,)))
    await eventually(lambda: signal.getsignal(signal.SIGUSR1) is not before)
    os.kill(os.getpid(), signal.SIGUSR1)
    await within(stopped)
    with pytest.raises(RuntimeNotStartedError):
        runtime.peers()
    assert signal.getsignal(signal.SIGUSR1) is before


async def test_call_after_close_raises(wired: WiredCluster) -> None:
    runtime = await wired.host(Echo)
    await runtime.close()
    with pytest.raises(RuntimeNotStartedError, match="closed"):
        await within(runtime.send_message(Text("hi"), agent("echo")))


async def test_call_before_start_says_that_it_waits_and_is_answered_after_it(
    wired: WiredCluster, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = wired.make()
    await Echo.register(runtime, "echo", Echo)
    call = asyncio.ensure_future(runtime.send_message(Text("hi"), agent("echo")))
    await eventually(lambda: "call runtime.start()" in caplog.text)
    await within(runtime.start())
    assert await within(call) == Text("hi")


async def test_failure_of_a_start_that_nobody_awaits_is_logged(
    wired: WiredCluster, caplog: pytest.LogCaptureFixture
) -> None:
    await wired.host(port=7_000)
    wired.make(port=7_000).start()
    await eventually(lambda: "the runtime could not be started" in caplog.text)


async def test_failure_of_a_start_that_is_awaited_is_not_logged_as_well(
    wired: WiredCluster, caplog: pytest.LogCaptureFixture
) -> None:
    await wired.host(port=7_000)
    with pytest.raises(ConfigError):
        await within(wired.make(port=7_000).start())
    assert "could not be started" not in caplog.text


async def test_uses_in_another_process_than_that_of_the_start_are_refused(wired: WiredCluster) -> None:
    runtime = await wired.host(Echo)
    runtime._lifecycle.process_id += 1  # as after a fork
    uses = [
        runtime.send_message(Text("hi"), agent("echo")),
        runtime.publish_message(Text("hi"), DefaultTopicId()),
        runtime.get("echo", lazy=False),
        runtime.wait_for_agents("echo"),
        runtime.stop(),
    ]
    for use in uses:
        with pytest.raises(ForkedProcessError, match="make a new one in this process"):
            await within(use)
    for synchronous in (runtime.start, runtime.peers):
        with pytest.raises(ForkedProcessError):
            synchronous()
    runtime._lifecycle.process_id -= 1


async def test_seed_that_does_not_answer_is_told_of_and_not_waited_for_for_ever(
    wired: WiredCluster, caplog: pytest.LogCaptureFixture
) -> None:
    await wired.host()
    second = await wired.host()
    third = wired.make(join_timeout_s=0.2)
    wired.hub.freeze(node_of(second).node_id)
    await within(third.start(), 3)
    wired.hub.thaw(node_of(second).node_id)
    assert "a seed did not answer within 0.2 s; going on without what they know" in caplog.text
    assert "node-1" in {peer.instance_id for peer in third.peers()}


async def test_process_is_announced_when_it_joins_and_when_it_leaves(
    wired: WiredCluster, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="zmqagents")
    host, caller = await wired.pair()
    await within(host.stop())
    await eventually(lambda: not caller.peers())
    said = [record.getMessage() for record in caplog.records if record.name == "zmqagents"]
    assert any(line.startswith("node-2 (") and line.endswith("joined") for line in said)
    assert any(line.startswith("node-1 (") and line.endswith("left") for line in said)


async def test_stop_that_is_cancelled_goes_on(wired: WiredCluster) -> None:
    host, caller = await wired.pair(Patient, drain_timeout_s=0.3)
    call = asyncio.ensure_future(caller.send_message(Text("hi"), agent("patient")))
    await eventually(lambda: "patient/default" in host._parts.agents.instances)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(host.stop(), 0.01)
    await eventually(lambda: not host._lifecycle.started)
    await asyncio.wait([call], timeout=5)
    assert call.done()
    call.cancelled() or call.exception()
