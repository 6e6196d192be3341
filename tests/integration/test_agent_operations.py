"""What AutoGen's runtime offers on an agent, for an agent that lives in another process."""

from __future__ import annotations

import pytest
from autogen_core import AgentId, RoutedAgent
from autogen_core.exceptions import NotAccessibleError, UndeliverableException

from tests.integration.agents import Counter, Echo, agent
from tests.integration.clusters import Cluster, instance_of, within
from tests.integration.messages import Number
from zmqagents import SerializationError, ZmqAgentRuntime

pytestmark = pytest.mark.integration


class Secretive(RoutedAgent):
    """Has a state that is no JSON."""

    def __init__(self) -> None:
        super().__init__("keeps to itself")

    async def save_state(self) -> dict[str, object]:
        return {"secret": object()}


@pytest.fixture
async def pair(cluster: Cluster) -> tuple[ZmqAgentRuntime, ZmqAgentRuntime]:
    """A host of a counter and a secretive agent, and a caller."""
    return await cluster.pair(Counter, Secretive, discovery_timeout_s=0.1)


async def test_metadata_of_a_remote_agent(pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime]) -> None:
    _, caller = pair
    metadata = await within(caller.agent_metadata(agent("counter", "k")))
    assert metadata == {"type": "counter", "key": "k", "description": "a counter"}


async def test_state_of_a_remote_agent_is_saved_and_loaded(pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime]) -> None:
    _, caller = pair
    await within(caller.send_message(Number(7), agent("counter", "one")))
    state = await within(caller.agent_save_state(agent("counter", "one")))
    assert state == {"total": 7}
    await within(caller.agent_load_state(agent("counter", "two"), state))
    assert await within(caller.send_message(Number(1), agent("counter", "two"))) == Number(8)


async def test_get_makes_a_remote_agent_unless_it_is_lazy(pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime]) -> None:
    host, caller = pair
    assert await within(caller.get("counter", "lazy")) == AgentId("counter", "lazy")
    assert await within(caller.get("counter", "eager", lazy=False)) == AgentId("counter", "eager")
    assert isinstance(instance_of(host, "counter/eager"), Counter)
    with pytest.raises(KeyError):
        instance_of(host, "counter/lazy")


async def test_remote_agent_is_not_accessible_as_an_object(pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime]) -> None:
    host, caller = pair
    with pytest.raises(NotAccessibleError, match="counter/k lives in another process: node-1"):
        await within(caller.try_get_underlying_agent_instance(agent("counter", "k"), Counter))
    assert isinstance(await within(host.try_get_underlying_agent_instance(agent("counter", "k"), Counter)), Counter)


async def test_state_of_the_runtime_is_that_of_its_own_agents(pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime]) -> None:
    host, caller = pair
    await Counter.register(caller, "own", Counter)
    await within(caller.send_message(Number(1), agent("own")))
    await within(caller.send_message(Number(2), agent("counter")))
    assert await within(caller.save_state()) == {"own/default": {"total": 1}}
    assert await within(host.save_state()) == {"counter/default": {"total": 2}}


async def test_states_of_agents_that_live_elsewhere_are_left_out_when_they_are_loaded(
    pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime],
) -> None:
    host, caller = pair
    state = {"counter/default": {"total": 5}, "nobody/default": {"total": 6}}
    await within(caller.load_state(state))
    await within(host.load_state(state))
    assert await within(caller.send_message(Number(1), agent("counter"))) == Number(6)


async def test_state_that_is_no_json_is_an_error_that_says_so(pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime]) -> None:
    _, caller = pair
    with pytest.raises(SerializationError, match=r"secretive/default.*not JSON serializable"):
        await within(caller.agent_save_state(agent("secretive")))
    with pytest.raises(SerializationError, match="has to be JSON"):
        await within(caller.agent_load_state(agent("secretive"), {"secret": object()}))


@pytest.mark.parametrize("operation", ["agent_metadata", "agent_save_state"])
async def test_operation_on_an_agent_that_nobody_hosts_is_a_lookup_error(
    pair: tuple[ZmqAgentRuntime, ZmqAgentRuntime], operation: str
) -> None:
    _, caller = pair
    with pytest.raises(LookupError, match="nobody") as failed:
        await within(getattr(caller, operation)(agent("nobody")))
    assert isinstance(failed.value, UndeliverableException)


async def test_operation_on_an_agent_whose_host_is_not_started_is_a_lookup_error(cluster: Cluster) -> None:
    runtime = cluster.make()
    await Echo.register(runtime, "echo", Echo)
    assert (await within(runtime.agent_metadata(agent("echo"))))["type"] == "echo"
    with pytest.raises(LookupError, match="nobody"):
        await within(runtime.agent_metadata(agent("nobody")))
