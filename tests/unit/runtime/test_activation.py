"""Agents being made: once for each id, whoever asks and however many do."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import AgentId, BaseAgent, SingleThreadedAgentRuntime

from tests.integration.agents import Counter, Echo, agent
from tests.integration.clusters import within
from zmqagents.runtime.activation import Agents
from zmqagents.runtime.event_log import EventLog
from zmqagents.runtime.serialization import PayloadRegistry

KEY = "echo/default"


class SlowFactory:
    """A factory that takes as long as the test wants, and counts."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.calls = 0
        self.errors: list[BaseException] = []

    async def __call__(self) -> Echo:
        self.calls += 1
        self.begun.set()
        await self.go_on.wait()
        if self.errors:
            raise self.errors.pop(0)
        return Echo()


@pytest.fixture
def agents() -> Agents:
    return Agents(SingleThreadedAgentRuntime(), EventLog(PayloadRegistry()))


@pytest.fixture
async def slow(agents: Agents) -> SlowFactory:
    """A slow factory for the type "echo"."""
    factory = SlowFactory()
    agents.add_factory("echo", factory, Echo)
    return factory


async def test_agent_is_made_once_for_all_who_ask_while_it_is_being_made(agents: Agents, slow: SlowFactory) -> None:
    asking = [asyncio.ensure_future(agents.get(KEY)) for _ in range(5)]
    await within(slow.begun.wait())
    slow.go_on.set()
    made = await within(asyncio.gather(*asking))
    assert slow.calls == 1
    assert all(one is made[0] for one in made)
    assert await agents.get(KEY) is made[0]


async def test_who_asked_first_goes_on_first(agents: Agents, slow: SlowFactory) -> None:
    order: list[int] = []

    async def ask(number: int) -> None:
        await agents.get(KEY)
        order.append(number)

    asking = [asyncio.ensure_future(ask(number)) for number in range(5)]
    await within(slow.begun.wait())
    slow.go_on.set()
    late = asyncio.ensure_future(ask(5))
    await within(asyncio.gather(*asking, late))
    assert order == list(range(6))


async def test_exception_of_a_factory_is_everybodys_who_waits_and_the_next_one_tries_again(
    agents: Agents, slow: SlowFactory
) -> None:
    slow.errors.append(PermissionError("not yet"))
    asking = [asyncio.ensure_future(agents.get(KEY)) for _ in range(3)]
    await within(slow.begun.wait())
    slow.go_on.set()
    outcomes = await within(asyncio.gather(*asking, return_exceptions=True))
    assert [type(outcome) for outcome in outcomes] == [PermissionError] * 3
    assert isinstance(await within(agents.get(KEY)), Echo)
    assert slow.calls == 2


async def test_agent_is_made_by_the_next_one_who_waits_if_the_first_gives_up(agents: Agents, slow: SlowFactory) -> None:
    first, *others = [asyncio.ensure_future(agents.get(KEY)) for _ in range(3)]
    await within(slow.begun.wait())
    first.cancel()
    slow.go_on.set()
    made = await within(asyncio.gather(*others))
    assert made[0] is made[1]
    assert slow.calls == 2
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_one_who_waits_and_gives_up_takes_the_agent_from_nobody(agents: Agents, slow: SlowFactory) -> None:
    first, second, third = [asyncio.ensure_future(agents.get(KEY)) for _ in range(3)]
    await within(slow.begun.wait())
    second.cancel()
    slow.go_on.set()
    assert await within(first) is await within(third)
    assert slow.calls == 1


async def test_system_exit_of_a_factory_is_an_error_for_the_others_who_wait(agents: Agents, slow: SlowFactory) -> None:
    slow.errors.append(SystemExit(3))

    async def first() -> type[BaseException]:
        try:
            await agents.get(KEY)
        except SystemExit as error:  # which would end the event loop, if it came out of a task
            return type(error)
        raise AssertionError

    asking = [asyncio.ensure_future(first()), asyncio.ensure_future(agents.get(KEY))]
    await within(slow.begun.wait())
    slow.go_on.set()
    outcomes = await within(asyncio.gather(*asking, return_exceptions=True))
    assert outcomes[0] is SystemExit
    assert isinstance(outcomes[1], RuntimeError)


async def test_agent_of_another_class_than_expected_is_a_value_error(agents: Agents) -> None:
    agents.add_factory("echo", Counter, Echo)
    with pytest.raises(ValueError, match="expected Echo, got Counter"):
        await agents.get(KEY)


async def test_type_that_is_not_here_is_a_lookup_error(agents: Agents) -> None:
    with pytest.raises(LookupError, match="echo"):
        await agents.get(KEY)


async def test_pinned_instance_is_found_and_no_other_of_its_type_is_made(agents: Agents) -> None:
    pinned = Echo()
    await agents.add_instance(pinned, agent("echo", "one"))
    assert await agents.get("echo/one") is pinned
    assert dict(agents.pinned) == {"echo/one": AgentId("echo", "one")}
    with pytest.raises(RuntimeError, match="Agent factory was invoked for an agent instance that was not registered"):
        await agents.get("echo/two")


@pytest.mark.parametrize("pinned_first", [True, False])
async def test_type_is_hosted_by_a_factory_or_pinned_and_not_both(agents: Agents, pinned_first: bool) -> None:
    if pinned_first:
        await agents.add_instance(Echo(), agent("echo", "one"))
        with pytest.raises(ValueError, match="already exists"):
            agents.add_factory("echo", Echo, Echo)
    else:
        agents.add_factory("echo", Echo, Echo)
        with pytest.raises(ValueError, match="cannot be registered to the same type"):
            await agents.add_instance(Echo(), agent("echo", "one"))


async def test_states_of_agents_that_are_not_there_yet_make_them(agents: Agents) -> None:
    agents.add_factory("counter", Counter, Counter)
    await agents.load_state({"counter/a": {"total": 1}, "nobody/b": {"total": 2}})
    assert await agents.save_state() == {"counter/a": {"total": 1}}


async def test_close_closes_every_agent(agents: Agents) -> None:
    closed: list[str] = []

    class Closing(BaseAgent):
        async def on_message_impl(self, message: object, ctx: object) -> None: ...

        async def close(self) -> None:
            closed.append(str(self.id))

    agents.add_factory("closing", lambda: Closing("closes"), None)
    await agents.get("closing/a")
    await agents.get("closing/b")
    await agents.close()
    assert sorted(closed) == ["closing/a", "closing/b"]
