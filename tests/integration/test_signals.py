"""A process that is told to end: it finishes what it handles, says goodbye, and exits with 0."""

from __future__ import annotations

import asyncio
import signal

import pytest

from tests.integration.agents import agent
from tests.integration.clusters import Cluster, eventually, within
from tests.integration.messages import Number, Text
from tests.integration.processes import Launch, Program
from zmqagents import ZmqAgentRuntime

pytestmark = pytest.mark.integration


async def handling(
    cluster: Cluster, launch: Launch, milliseconds: int, agent_type: str = "slow"
) -> tuple[ZmqAgentRuntime, Program, asyncio.Future[Text]]:
    """A process in which a handler runs for that long, and the call that it serves."""
    caller = await cluster.host(discovery="mdns")
    member = await launch("member", cluster=cluster.name, agents=["slow", "delegating", "where"])
    await member.report("started")
    await within(caller.wait_for_agents(agent_type))
    call = asyncio.ensure_future(caller.send_message(Number(milliseconds), agent(agent_type)))
    await member.report("handling")
    return caller, member, call


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_lets_the_handler_that_runs_answer_its_caller(
    cluster: Cluster, launch: Launch, number: signal.Signals
) -> None:
    caller, member, call = await handling(cluster, launch, 300)
    member.signal(number)
    assert await within(call) == Text("done")
    await member.report("handled")
    await member.report("stopped")
    assert await member.exit_code() == 0
    await eventually(lambda: not caller.peers())


async def test_signal_lets_the_handler_that_runs_call_agents_of_its_own_process(
    cluster: Cluster, launch: Launch
) -> None:
    _, member, call = await handling(cluster, launch, 200, "delegating")
    member.signal(signal.SIGTERM)
    assert await within(call) == Text(str(member.pid))
    assert await member.exit_code() == 0


async def test_second_signal_interrupts(cluster: Cluster, launch: Launch) -> None:
    _, member, call = await handling(cluster, launch, 60_000)
    member.signal(signal.SIGINT)
    await member.log("SIGINT: leaving")
    member.signal(signal.SIGINT)
    assert await member.exit_code(5) in (-signal.SIGINT, 130)
    assert "KeyboardInterrupt" in member.stderr
    with pytest.raises(BaseException):  # noqa: B017, PT011 - however it ends: what matters is that it does
        await within(call)


async def test_second_sigterm_ends_the_process_at_once(cluster: Cluster, launch: Launch) -> None:
    _, member, call = await handling(cluster, launch, 60_000)
    member.signal(signal.SIGTERM)
    await member.log("SIGTERM: leaving")
    member.signal(signal.SIGTERM)
    assert await member.exit_code(5) == -signal.SIGTERM
    with pytest.raises(BaseException):  # noqa: B017, PT011
        await within(call)


async def test_calls_under_way_are_answered_or_certainly_not_executed_when_their_target_ends(
    cluster: Cluster, launch: Launch
) -> None:
    caller = await cluster.host(discovery="mdns", discovery_timeout_s=0.3)
    member = await launch("member", cluster=cluster.name, agents=["where"])
    await member.report("started")
    await within(caller.wait_for_agents("where"))
    answered = 0

    async def keep_calling() -> str:
        nonlocal answered
        try:
            while True:
                assert await caller.send_message(Text("?"), agent("where")) == Number(member.pid)
                answered += 1
        except Exception as error:  # noqa: BLE001 - which one is the question
            return type(error).__name__

    callers = asyncio.gather(*(keep_calling() for _ in range(64)))
    await eventually(lambda: answered > 500)
    member.signal(signal.SIGTERM)
    assert await within(callers) == ["AgentNotFound"] * 64
    assert await member.exit_code() == 0
