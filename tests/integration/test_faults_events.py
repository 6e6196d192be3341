"""Events to a type on three processes: each agent gets its own, once and in order, and all of them if one is killed."""

from __future__ import annotations

import asyncio

import pytest
from autogen_core import TopicId

from tests.integration.actors import ask, ask_all, start
from tests.integration.clusters import Cluster, eventually, node_of, within
from tests.integration.messages import Text
from tests.integration.processes import Launch, Program
from zmqagents import ZmqAgentRuntime

pytestmark = pytest.mark.integration

SOURCES = ["ann", "bob", "cy", "dee", "eve"]
LISTENING = ["l1", "l2", "l3"]
EVENTS = 200


async def publish(publisher: ZmqAgentRuntime, count: int = EVENTS) -> None:
    """That many events, from the sources in turn."""
    for number in range(count):
        source = SOURCES[number % len(SOURCES)]
        await within(publisher.publish_message(Text(f"{source} {number}"), TopicId("news", source)))


def expected(source: str, count: int = EVENTS) -> list[str]:
    """The events of that source, in their order."""
    return [f"{source} {number}" for number in range(count) if SOURCES[number % len(SOURCES)] == source]


async def test_each_agent_gets_the_events_of_its_source_once_and_in_order(cluster: Cluster, launch: Launch) -> None:
    publisher, listening = await asyncio.gather(
        cluster.host(discovery="mdns"),
        start(
            launch, cluster.name, "l1", "l2", "l3", count=False, kinds={"ear": "listener"}, subscribe={"ear": "news"}
        ),
    )
    await within(publisher.wait_for_agents("ear", 3))
    await ask_all(listening, "wait_for", agent_type="ear", count=3)
    await publish(publisher)
    await eventually(lambda: not node_of(publisher).unfinished_events)

    heard = [event for actor in listening for event in await ask(actor, "heard")]
    assert len(heard) == EVENTS
    for source in SOURCES:
        assert [text for agent, text in heard if agent == f"ear/{source}"] == expected(source)
    assert publisher.dead_letters_count == 0


async def test_events_of_a_killed_process_go_to_the_next_home_of_their_agents(cluster: Cluster, launch: Launch) -> None:
    publisher, listening = await asyncio.gather(
        cluster.host(discovery="mdns"),
        start(
            launch, cluster.name, "l1", "l2", "l3", count=False, kinds={"ear": "reporter"}, subscribe={"ear": "news"}
        ),
    )
    await within(publisher.wait_for_agents("ear", 3))
    publishing = asyncio.ensure_future(publish(publisher, 20 * EVENTS))
    killed = await first_that_hears(listening)
    killed.kill()
    await within(publishing, 20.0)
    await eventually(lambda: not node_of(publisher).unfinished_events)

    assert publisher.dead_letters_count == 0
    await killed.exit_code()  # all that it has reported is read then
    await ask_all([actor for actor in listening if actor is not killed], "peers")  # as it is when they answer this
    for source in SOURCES:
        texts = [[text for agent, text in events_of(actor) if agent == f"ear/{source}"] for actor in listening]
        everything = expected(source, 20 * EVENTS)
        assert set().union(*texts) == set(everything)
        for heard in texts:  # in order, and never twice in one process
            assert heard == [text for text in everything if text in set(heard)]


async def first_that_hears(listening: list[Program]) -> Program:
    """One that has reported an event."""
    await eventually(lambda: any(events_of(actor) for actor in listening))
    return next(actor for actor in listening if events_of(actor))


def events_of(actor: Program) -> list[tuple[str, str]]:
    """The events that it has reported, as agent and text."""
    return [(report["agent"], report["text"]) for report in actor._reports if report["what"] == "event"]
