"""A team of one process and agents of another: who listens to its output, and who asks it for work."""

from __future__ import annotations

import asyncio

from autogen_agentchat.messages import StructuredMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_agentchat.teams._group_chat._events import GroupChatMessage, GroupChatStart, GroupChatTermination
from autogen_core import MessageContext, RoutedAgent, TypePrefixSubscription, event, rpc

from .bench import Bench, within
from .messages import Text
from .speakers import Speaker, Thinker, Verdict, fails, said

Step = tuple[str, str, str]  # kind, source, text
OUTPUT_TOPICS = "output_topic_"  # every team has its own, with its id behind this


class Listener(RoutedAgent):
    """Writes down what a team publishes on its output topic."""

    def __init__(self, heard: list[Step], ended: asyncio.Event) -> None:
        super().__init__("listens to teams")
        self._heard = heard
        self._ended = ended

    @event
    async def on_start(self, message: GroupChatStart, ctx: MessageContext) -> None:
        for task in message.messages or []:
            self._heard.append(("task", task.source, task.to_text()))

    @event
    async def on_output(self, message: GroupChatMessage, ctx: MessageContext) -> None:
        said_now = message.message
        self._heard.append((type(said_now).__name__, said_now.source, said_now.to_text()))

    @event
    async def on_termination(self, message: GroupChatTermination, ctx: MessageContext) -> None:
        text = message.message.content if message.error is None else message.error.error_message
        self._heard.append(("end", message.message.source, text))
        self._ended.set()


class Manager(RoutedAgent):
    """Gives each task that it is called with to a team of its own."""

    def __init__(self) -> None:
        super().__init__("has a team")

    @rpc
    async def on_task(self, message: Text, ctx: MessageContext) -> Text:
        team = RoundRobinGroupChat([Speaker("ann"), Speaker("bob")], max_turns=2, runtime=self.runtime)
        result = await team.run(task=message.content, cancellation_token=ctx.cancellation_token)
        return Text("; ".join(f"{source}: {text}" for source, text in said(result)))


async def listened(bench: Bench, *speakers: Speaker) -> list[Step]:
    """Run a team of ``speakers`` for a turn each on the host, and tell what the caller's listener heard."""
    heard: list[Step] = []
    ended = asyncio.Event()
    await Listener.register(bench.caller, "listener", lambda: Listener(heard, ended))
    await bench.caller.add_subscription(TypePrefixSubscription(OUTPUT_TOPICS, "listener"))
    await bench.start("listener")
    team = RoundRobinGroupChat(list(speakers), max_turns=len(speakers), runtime=bench.host)
    try:
        await within(team.run(task="begin"))
    except RuntimeError as error:
        heard.append(("raised", "run", str(error).splitlines()[0]))
    await within(ended.wait())
    return heard


async def test_listener_hears_the_whole_run_in_order(bench: Bench) -> None:
    assert await listened(bench, Speaker("ann"), Speaker("bob")) == [
        ("task", "user", "begin"),
        ("TextMessage", "ann", "ann 1"),
        ("TextMessage", "bob", "bob 1"),
        ("end", "RoundRobinGroupChatManager", "Maximum number of turns 2 reached."),
    ]


async def test_listener_hears_inner_events_and_chunks_as_what_they_are(bench: Bench) -> None:
    heard = await listened(bench, Thinker("ann"))
    assert [step[::2] for step in heard[1:-1]] == [
        ("ThoughtEvent", "hm"),
        ("ModelClientStreamingChunkEvent", "a"),
        ("ModelClientStreamingChunkEvent", "b"),
        ("TextMessage", "ann 1"),
    ]


async def test_listener_hears_a_structured_message_with_its_content(bench: Bench) -> None:
    verdict = Verdict(passed=False, reasons=["too long"])
    judge = Speaker("judge", lambda speaker: StructuredMessage[Verdict](content=verdict, source=speaker.name))
    heard = await listened(bench, judge)
    assert heard[1][:2] == ("StructuredMessage[Verdict]", "judge")
    assert Verdict.model_validate_json(heard[1][2]) == verdict


async def test_listener_hears_the_error_that_ended_a_run(bench: Bench) -> None:
    heard = await listened(bench, Speaker("ann", fails))
    assert sorted(heard) == [
        ("end", "RoundRobinGroupChatManager", "ann has lost its voice"),
        ("raised", "run", "ValueError: ann has lost its voice"),
        ("task", "user", "begin"),
    ]


async def test_team_works_for_a_caller_of_another_process(bench: Bench) -> None:
    await Manager.register(bench.host, "manager", Manager)
    await bench.start("manager")
    assert await bench.call(Text("begin"), "manager") == Text("user: begin; ann: ann 1; bob: bob 1")


async def test_teams_work_for_several_callers_at_once(bench: Bench) -> None:
    await Manager.register(bench.host, "manager", Manager)
    await bench.start("manager")
    replies = await asyncio.gather(*(bench.call(Text(f"task {n}"), "manager") for n in range(5)))
    assert list(replies) == [Text(f"user: task {n}; ann: ann 1; bob: bob 1") for n in range(5)]
