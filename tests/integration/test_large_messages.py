"""Messages about the size from which on they are not copied on their way in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from autogen_core import MessageContext, RoutedAgent, TopicId, TypeSubscription, message_handler

from tests.integration.agents import Echo, agent
from tests.integration.clusters import Cluster, eventually, instance_of, node_of, within
from tests.integration.messages import Text
from zmqagents import CborSerializer, MsgpackSerializer, ZmqAgentRuntime
from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import PathId
from zmqagents.transport.zeromq.reading import VIEWED_BYTES

pytestmark = pytest.mark.integration

OVERHEAD = len(b'{"content":""}')
ABOUT_THE_BOUND = range(VIEWED_BYTES - OVERHEAD - 2, VIEWED_BYTES - OVERHEAD + 3)


def text(size: int) -> Text:
    """A text of so many characters, no two stretches of which are alike."""
    return Text("".join(f"{number:08}" for number in range(size // 8 + 1))[:size])


class Keeper(RoutedAgent):
    """Keeps the events that it hears of, and has a state."""

    def __init__(self) -> None:
        super().__init__("keeps")
        self.heard: list[Text] = []
        self.state: Mapping[str, Any] = {}

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> None:
        self.heard.append(message)

    async def save_state(self) -> Mapping[str, Any]:
        return self.state

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self.state = state


async def test_text_about_the_bound_passes_both_ways_as_json(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Echo)
    for size in ABOUT_THE_BOUND:
        assert await within(caller.send_message(text(size), agent("echo"))) == text(size)


@pytest.mark.parametrize("serializer", [MsgpackSerializer, CborSerializer])
async def test_large_text_passes_both_ways_in_a_binary_format(
    cluster: Cluster, serializer: type[MsgpackSerializer[Text]]
) -> None:
    host = cluster.make()
    host.add_message_serializer(serializer(Text))
    await Echo.register(host, "echo", Echo)
    await within(host.start())
    caller = cluster.make()
    caller.add_message_serializer(serializer(Text))
    await within(caller.start())
    for size in (VIEWED_BYTES - 100, VIEWED_BYTES + 100, 1 << 20):
        assert await within(caller.send_message(text(size), agent("echo"))) == text(size)


async def test_large_event_reaches_its_subscribers(cluster: Cluster) -> None:
    host, caller = await cluster.pair(Keeper)
    await host.add_subscription(TypeSubscription("news", "keeper"))
    await eventually(lambda: node_of(caller).directory.agent_types("news"))
    for size in ABOUT_THE_BOUND:
        await within(caller.publish_message(text(size), TopicId("news", "k")))
    await within(caller.stop_when_idle())
    assert instance_of(host, "keeper/k").heard == [text(size) for size in ABOUT_THE_BOUND]


async def test_large_state_is_loaded_and_saved(cluster: Cluster) -> None:
    _, caller = await cluster.pair(Keeper)
    state = {"much": text(VIEWED_BYTES).content}
    await within(caller.agent_load_state(agent("keeper"), state))
    assert await within(caller.agent_save_state(agent("keeper"))) == state


async def test_large_messages_that_were_lost_are_sent_again_as_they_were(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, caller = await cluster.pair(Echo)
    await within(caller.send_message(Text("hello"), agent("echo")))
    lost = [_lose_next_large(runtime, monkeypatch) for runtime in (host, caller)]
    texts = [text(VIEWED_BYTES + number) for number in range(4)]
    assert [await within(caller.send_message(one, agent("echo"))) for one in texts] == texts
    assert lost == [[1], [1]]
    assert [node_of(runtime).state.counters.resets for runtime in (host, caller)] == [0, 0]


def _lose_next_large(runtime: ZmqAgentRuntime, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The transport will lose one message that has a large part; the list says how often that was."""
    running = runtime._lifecycle.running
    assert running is not None
    transport = running.driver._transport
    send, lost = transport.send, [0]

    def lossy(path: PathId, parts: Sequence[Part]) -> bool:
        if not lost[0] and len(parts) > 1:
            lost[0] += 1
            return True
        return send(path, parts)

    monkeypatch.setattr(transport, "send", lossy)
    return lost
