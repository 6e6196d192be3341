"""AgentChat's RoundRobinGroupChat on a runtime that the user brings."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from autogen_agentchat.base import Response, TaskResult
from autogen_agentchat.conditions import (
    ExternalTermination,
    MaxMessageTermination,
    TextMentionTermination,
)
from autogen_agentchat.messages import BaseChatMessage, StructuredMessage, TextMessage
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken

from .bench import LOCAL, Bench, within
from .speakers import Speaker, Thinker, Verdict, fails, said

pytestmark = pytest.mark.parametrize("kind", LOCAL, indirect=True)


class Held(Speaker):
    """Speaks only once it is let go, or its token is cancelled."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.saw_cancellation = False

    async def on_messages(self, messages: Sequence[BaseChatMessage], cancellation_token: CancellationToken) -> Response:
        cancellation_token.add_callback(self.go_on.set)
        self.begun.set()
        await self.go_on.wait()
        self.saw_cancellation = cancellation_token.is_cancelled()
        return await super().on_messages(messages, cancellation_token)


async def test_participants_speak_in_turn_until_the_limit(bench: Bench) -> None:
    team = RoundRobinGroupChat(
        [Speaker("ann"), Speaker("bob")], termination_condition=MaxMessageTermination(4), runtime=bench.host
    )
    await bench.start()
    result = await within(team.run(task="begin"))
    assert said(result) == [("user", "begin"), ("ann", "ann 1"), ("bob", "bob 1"), ("ann", "ann 2")]
    assert result.stop_reason == "Maximum number of messages 4 reached, current message count: 4"


async def test_participants_hear_the_task_and_each_other_once(bench: Bench) -> None:
    ann, bob = Speaker("ann"), Speaker("bob")
    await bench.start()
    await within(RoundRobinGroupChat([ann, bob], max_turns=4, runtime=bench.host).run(task="begin"))
    assert ann.heard == ["begin", "bob 1"]
    assert bob.heard == ["begin", "ann 1", "ann 2"]


async def test_run_ends_after_its_turns(bench: Bench) -> None:
    team = RoundRobinGroupChat([Speaker("ann"), Speaker("bob")], max_turns=3, runtime=bench.host)
    await bench.start()
    result = await within(team.run(task="begin"))
    assert [source for source, _ in said(result)] == ["user", "ann", "bob", "ann"]
    assert result.stop_reason == "Maximum number of turns 3 reached."


async def test_run_ends_when_a_text_is_mentioned(bench: Bench) -> None:
    team = RoundRobinGroupChat(
        [Speaker("ann"), Speaker("bob")], termination_condition=TextMentionTermination("bob 2"), runtime=bench.host
    )
    await bench.start()
    result = await within(team.run(task="begin"))
    assert said(result)[-1] == ("bob", "bob 2")
    assert result.stop_reason == "Text 'bob 2' mentioned"


async def test_second_run_goes_on_where_the_first_one_ended(bench: Bench) -> None:
    team = RoundRobinGroupChat([Speaker("ann"), Speaker("bob")], max_turns=1, runtime=bench.host)
    await bench.start()
    first = await within(team.run(task="begin"))
    second = await within(team.run(task="more"))
    third = await within(team.run())
    assert said(first) == [("user", "begin"), ("ann", "ann 1")]
    assert said(second) == [("user", "more"), ("bob", "bob 1")]
    assert said(third) == [("ann", "ann 2")]


async def test_reset_begins_anew(bench: Bench) -> None:
    ann, bob = Speaker("ann"), Speaker("bob")
    team = RoundRobinGroupChat([ann, bob], max_turns=1, runtime=bench.host)
    await bench.start()
    await within(team.run(task="begin"))
    await within(team.reset())
    result = await within(team.run(task="again"))
    assert said(result) == [("user", "again"), ("ann", "ann 1")]
    assert ann.calls == bob.calls == ["reset"]
    assert ann.heard == ["again"]


async def test_task_may_be_several_messages(bench: Bench) -> None:
    ann = Speaker("ann")
    task = [TextMessage(content=content, source="user") for content in ("one", "two")]
    await bench.start()
    result = await within(RoundRobinGroupChat([ann], max_turns=1, runtime=bench.host).run(task=task))
    assert [text for _, text in said(result)] == ["one", "two", "ann 1"]
    assert ann.heard == ["one", "two"]


async def test_task_messages_may_be_left_out_of_the_result(bench: Bench) -> None:
    team = RoundRobinGroupChat([Speaker("ann")], max_turns=1, runtime=bench.host)
    await bench.start()
    assert said(await within(team.run(task="begin", output_task_messages=False))) == [("ann", "ann 1")]


async def test_stream_yields_each_message_as_it_is_said_and_the_result_last(bench: Bench) -> None:
    held = Held("bob")
    team = RoundRobinGroupChat([Speaker("ann"), held], max_turns=2, runtime=bench.host)
    await bench.start()
    got: list[str] = []
    async for message in team.run_stream(task="begin"):
        if isinstance(message, TaskResult):
            got.append(f"result of {len(message.messages)}")
            continue
        got.append(message.to_text())
        if got[-1] == "ann 1":
            held.go_on.set()  # so this was seen before bob spoke
    assert got == ["begin", "ann 1", "bob 1", "result of 3"]


async def test_stream_has_inner_events_and_chunks_but_the_result_no_chunks(bench: Bench) -> None:
    team = RoundRobinGroupChat([Thinker("ann")], max_turns=1, runtime=bench.host)
    await bench.start()
    streamed = [message async for message in team.run_stream(task="begin")]
    assert [type(message).__name__ for message in streamed] == [
        "TextMessage",
        "ThoughtEvent",
        "ModelClientStreamingChunkEvent",
        "ModelClientStreamingChunkEvent",
        "TextMessage",
        "TaskResult",
    ]
    result = streamed[-1]
    assert isinstance(result, TaskResult)
    assert [text for _, text in said(result)] == ["begin", "hm", "ann 1"]


async def test_structured_message_keeps_its_class_and_content(bench: Bench) -> None:
    verdict = Verdict(passed=True, reasons=["short", "clear"])
    judge = Speaker("judge", lambda speaker: StructuredMessage[Verdict](content=verdict, source=speaker.name))
    team = RoundRobinGroupChat([judge, Speaker("bob")], max_turns=2, runtime=bench.host)
    await bench.start()
    result = await within(team.run(task="begin"))
    message = result.messages[1]
    assert isinstance(message, StructuredMessage)
    assert message.content == verdict


async def test_external_termination_ends_the_run_after_the_current_speaker(bench: Bench) -> None:
    held, stop = Held("ann"), ExternalTermination()
    team = RoundRobinGroupChat([held, Speaker("bob")], termination_condition=stop, runtime=bench.host)
    await bench.start()
    run = asyncio.ensure_future(team.run(task="begin"))
    await within(held.begun.wait())
    stop.set()
    held.go_on.set()
    result = await within(run)
    assert said(result) == [("user", "begin"), ("ann", "ann 1")]
    assert result.stop_reason == "External termination requested"


async def test_pause_and_resume_reach_the_participants_while_one_is_speaking(bench: Bench) -> None:
    ann, bob = Held("ann"), Speaker("bob")
    team = RoundRobinGroupChat([ann, bob], max_turns=2, runtime=bench.host)
    await bench.start()
    run = asyncio.ensure_future(team.run(task="begin"))
    await within(ann.begun.wait())
    await within(team.pause())
    await within(team.resume())
    ann.go_on.set()
    assert said(await within(run))[1:] == [("ann", "ann 1"), ("bob", "bob 1")]
    assert ann.calls == bob.calls == ["pause", "resume"]


async def test_cancelled_run_raises_and_its_speaker_sees_it(bench: Bench) -> None:
    held, token = Held("ann"), CancellationToken()
    team = RoundRobinGroupChat([held], max_turns=2, runtime=bench.host)
    await bench.start()
    run = asyncio.ensure_future(team.run(task="begin", cancellation_token=token))
    await within(held.begun.wait())
    token.cancel()
    with pytest.raises(asyncio.CancelledError):
        await within(run)
    await bench.idle()
    assert held.saw_cancellation


async def test_second_run_of_a_running_team_is_a_value_error(bench: Bench) -> None:
    held = Held("ann")
    team = RoundRobinGroupChat([held], max_turns=1, runtime=bench.host)
    await bench.start()
    run = asyncio.ensure_future(team.run(task="begin"))
    await within(held.begun.wait())
    with pytest.raises(ValueError, match="already running"):
        await within(team.run(task="again"))
    held.go_on.set()
    await within(run)


async def test_error_of_a_participant_ends_the_run_with_its_class_and_text(bench: Bench) -> None:
    team = RoundRobinGroupChat([Speaker("ann"), Speaker("bob", fails)], max_turns=4, runtime=bench.host)
    await bench.start()
    with pytest.raises(RuntimeError, match=r"^ValueError: bob has lost its voice\nTraceback:"):
        await within(team.run(task="begin"))
    await bench.idle()


async def test_two_teams_share_a_runtime_without_hearing_each_other(bench: Bench) -> None:
    ann, bob = Speaker("ann"), Speaker("bob")
    teams = [RoundRobinGroupChat([speaker], max_turns=3, runtime=bench.host) for speaker in (ann, bob)]
    await bench.start()
    results = await within(asyncio.gather(*(team.run(task=f"task {n}") for n, team in enumerate(teams))))
    assert [said(result)[-1] for result in results] == [("ann", "ann 3"), ("bob", "bob 3")]
    assert (ann.heard, bob.heard) == (["task 0"], ["task 1"])


async def test_team_is_a_participant_of_another_team(bench: Bench) -> None:
    inner = RoundRobinGroupChat([Speaker("ann"), Speaker("bob")], name="inner", max_turns=2, runtime=bench.host)
    chair = Speaker("chair")
    team = RoundRobinGroupChat([inner, chair], max_turns=2, runtime=bench.host)
    await bench.start()
    result = await within(team.run(task="begin"))
    assert said(result) == [("user", "begin"), ("ann", "ann 1"), ("bob", "bob 1"), ("chair", "chair 1")]
    assert chair.heard == ["begin", "ann 1", "bob 1"]


async def test_run_leaves_nothing_to_do_behind(bench: Bench) -> None:
    team = RoundRobinGroupChat([Speaker("ann")], max_turns=1, runtime=bench.host)
    await bench.start()
    await within(team.run(task="begin"))
    await bench.idle()
    assert bench.host.unprocessed_messages_count == 0
