"""A type that several processes host: each agent lives in one of them, the same for everybody."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial

import pytest
from autogen_core import MessageContext, RoutedAgent, TopicId, message_handler, type_subscription
from autogen_core.exceptions import NotAccessibleError

from tests.integration.agents import agent
from tests.integration.clusters import Cluster, eventually, node_of, within
from tests.integration.messages import Text
from zmqagents import ZmqAgentRuntime

pytestmark = pytest.mark.integration

KEYS = [str(number) for number in range(100)]


@type_subscription("news")
class Home(RoutedAgent):
    """Answers with the process that it lives in, and counts the events that reach it."""

    def __init__(self, process: str, heard: Counter[str]) -> None:
        super().__init__("lives somewhere")
        self._process = process
        self._heard = heard

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        if not ctx.is_rpc:
            self._heard[f"{self.id.key} {message.content}"] += 1
        return Text(self._process)


async def hosts(cluster: Cluster, count: int) -> tuple[list[ZmqAgentRuntime], Counter[str]]:
    """That many processes which host the type and know each other, and what their agents have heard."""
    heard: Counter[str] = Counter()
    runtimes = []
    for number in range(count):
        runtime = cluster.make()
        await Home.register(runtime, "home", partial(Home, f"p{number}", heard))
        await within(runtime.start())
        runtimes.append(runtime)
    for runtime in runtimes:
        await within(runtime.wait_for_agents("home", count))
    return runtimes, heard


async def homes(runtime: ZmqAgentRuntime) -> list[str]:
    """Where each of the agents lives, by their own word, asked from there."""
    answers = await within(asyncio.gather(*(runtime.send_message(Text("?"), agent("home", key)) for key in KEYS)))
    return [answer.content for answer in answers]


async def test_every_process_finds_each_agent_in_the_same_place(cluster: Cluster) -> None:
    runtimes, _ = await hosts(cluster, 3)
    first, *others = [await homes(runtime) for runtime in runtimes]
    assert others == [first, first]


async def test_agents_are_spread_over_the_processes(cluster: Cluster) -> None:
    runtimes, _ = await hosts(cluster, 3)
    shares = Counter(await homes(runtimes[0]))
    assert len(shares) == 3
    assert min(shares.values()) > 10


async def test_event_reaches_each_agent_once_and_not_once_a_process(cluster: Cluster) -> None:
    runtimes, heard = await hosts(cluster, 3)
    for key in KEYS:
        await within(runtimes[0].publish_message(Text("hi"), TopicId("news", key)))
    await eventually(lambda: len(heard) == len(KEYS))
    for runtime in runtimes:
        await within(runtime.stop_when_idle())
    assert heard == Counter({f"{key} hi": 1 for key in KEYS})


async def test_agents_of_a_process_that_left_live_on_in_the_others(cluster: Cluster) -> None:
    runtimes, _ = await hosts(cluster, 3)
    before = await homes(runtimes[1])
    await within(runtimes[0].stop())
    after = await homes(runtimes[1])
    assert "p0" not in after
    assert [new for old, new in zip(before, after, strict=True) if old != "p0"] == [
        old for old in before if old != "p0"
    ]
    assert await homes(runtimes[2]) == after


async def test_agent_operations_go_to_the_agents_home(cluster: Cluster) -> None:
    runtimes, _ = await hosts(cluster, 2)
    own = [key for key, home in zip(KEYS, await homes(runtimes[0]), strict=True) if home == "p0"]
    for key in KEYS:
        if key in own:
            await within(runtimes[0].try_get_underlying_agent_instance(agent("home", key), Home))
        else:
            with pytest.raises(NotAccessibleError, match="node-2"):
                await within(runtimes[0].try_get_underlying_agent_instance(agent("home", key), Home))


async def test_pinned_agent_lives_where_it_is_pinned_whoever_hosts_what(cluster: Cluster) -> None:
    runtimes, heard = await hosts(cluster, 2)
    await Home("pinned", heard).register_instance(runtimes[1], agent("pinned", "one"))
    for runtime in runtimes:
        assert await within(runtime.send_message(Text("?"), agent("pinned", "one"))) == Text("pinned")
    assert node_of(runtimes[0]).directory.home("pinned/one") == node_of(runtimes[1]).node_id
