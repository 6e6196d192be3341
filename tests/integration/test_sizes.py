"""Messages up to the limit on size, and beyond it."""

from __future__ import annotations

import pytest
from autogen_core import MessageContext, RoutedAgent, TopicId, TypeSubscription, message_handler

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, eventually, node_of, within
from tests.integration.messages import Number, Text
from zmqagents import MessageTooLargeError, RemoteCallError, SerializationError

pytestmark = pytest.mark.integration

MIB = 1 << 20
LIMIT = 100_000
OVERHEAD = len(b'{"content":""}')


class Talkative(RoutedAgent):
    """Answers with a text of the length asked for, raises one of it, or has a state of it."""

    def __init__(self) -> None:
        super().__init__("says much")

    @message_handler
    async def on_number(self, message: Number, ctx: MessageContext) -> Text:
        if message.value < 0:
            raise ValueError("x" * -message.value)
        return Text("x" * message.value)

    async def save_state(self) -> dict[str, str]:
        return {"much": "x" * LIMIT}


async def test_message_of_64_mib_passes_both_ways(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Echo)
    text = Text("0123456789abcdef" * (4 * MIB))
    answer = await within(caller.send_message(text, agent("echo")), 40)
    assert answer == text


async def test_default_limit_is_128_mib(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Echo)
    with pytest.raises(MessageTooLargeError) as refused:
        await within(caller.send_message(Text("x" * (128 * MIB)), agent("echo")), 40)
    assert refused.value.limit_bytes == 134_217_728
    assert refused.value.size_bytes == 134_217_728 + OVERHEAD
    assert "134,217,742 bytes, over the limit of 134,217,728 bytes" in str(refused.value)


async def test_message_at_the_limit_passes_and_one_byte_more_is_refused(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Echo, max_message_bytes=LIMIT)
    largest = Text("x" * (LIMIT - OVERHEAD))
    assert await within(caller.send_message(largest, agent("echo"))) == largest
    with pytest.raises(MessageTooLargeError, match=r"100,001 bytes, over the limit of 100,000 bytes"):
        await within(caller.send_message(Text(largest.content + "x"), agent("echo")))


async def test_limit_of_the_reader_holds_if_it_is_the_smaller(cluster: Cluster) -> None:
    await cluster.host(Echo, max_message_bytes=LIMIT)
    caller = await cluster.host()
    await caller.wait_for_agents("echo")
    with pytest.raises(MessageTooLargeError, match="over the limit of 100,000 bytes"):
        await within(caller.send_message(Text("x" * LIMIT), agent("echo")))
    assert await within(caller.send_message(Text("hi"), agent("echo"))) == Text("hi")


async def test_reply_over_the_limit_of_the_caller_is_an_error_and_disturbs_no_other(cluster: Cluster) -> None:
    await cluster.host(Talkative)
    caller = await cluster.host(max_message_bytes=LIMIT)
    await caller.wait_for_agents("talkative")
    with pytest.raises(SerializationError, match="over the limit of 100,000 bytes"):
        await within(caller.send_message(Number(LIMIT), agent("talkative")))
    assert await within(caller.send_message(Number(3), agent("talkative"))) == Text("xxx")


async def test_event_over_the_limit_is_refused_at_its_publisher(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Echo, max_message_bytes=LIMIT)
    await host.add_subscription(TypeSubscription("news", "echo"))
    await eventually(lambda: node_of(caller).directory.agent_types("news"))
    with pytest.raises(MessageTooLargeError, match="over the limit of 100,000 bytes"):
        await within(caller.publish_message(Text("x" * LIMIT), TopicId("news", "k")))


async def test_reply_over_the_limit_is_an_error_of_its_caller_with_both_figures(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Talkative, max_message_bytes=LIMIT)
    with pytest.raises(SerializationError, match=r"talkative/default.*100,014 bytes, over the limit of 100,000 bytes"):
        await within(caller.send_message(Number(LIMIT), agent("talkative")))
    assert await within(caller.send_message(Number(3), agent("talkative"))) == Text("xxx")


async def test_exception_over_the_limit_still_ends_its_call_and_disturbs_no_other(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Talkative, max_message_bytes=LIMIT)
    with pytest.raises((ValueError, RemoteCallError), match="xxx"):
        await within(caller.send_message(Number(-3 * LIMIT), agent("talkative")))
    assert await within(caller.send_message(Number(3), agent("talkative"))) == Text("xxx")
    assert node_of(caller).state.counters.resets == 0


async def test_state_over_the_limit_is_an_error_with_both_figures(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Talkative, max_message_bytes=LIMIT)
    with pytest.raises(SerializationError, match=r"over the limit of 100,000 bytes"):
        await within(caller.agent_save_state(agent("talkative")))
    assert await within(caller.send_message(Number(3), agent("talkative"))) == Text("xxx")
    assert node_of(caller).state.counters.resets == 0


async def test_state_over_the_limit_is_not_sent_to_be_loaded(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Talkative, max_message_bytes=LIMIT)
    with pytest.raises(MessageTooLargeError, match="over the limit of 100,000 bytes"):
        await within(caller.agent_load_state(agent("talkative"), {"much": "x" * LIMIT}))
