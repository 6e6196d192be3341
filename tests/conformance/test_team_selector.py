"""AgentChat's SelectorGroupChat, Swarm and AssistantAgent on a runtime that the user brings."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.base import Handoff
from autogen_agentchat.conditions import HandoffTermination, MaxMessageTermination, TextMentionTermination
from autogen_agentchat.messages import BaseAgentEvent, BaseChatMessage, HandoffMessage
from autogen_agentchat.teams import RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_core import FunctionCall
from autogen_core.tools import FunctionTool

from .bench import LOCAL, Bench, within
from .models import ReplayModel
from .speakers import Speaker, said

pytestmark = pytest.mark.parametrize("kind", LOCAL, indirect=True)


def weather(city: str) -> str:
    return f"rain in {city}"


async def test_selector_function_chooses_the_speakers(bench: Bench) -> None:
    def select(thread: Sequence[BaseAgentEvent | BaseChatMessage]) -> str | None:
        return {"user": "bob", "bob": "cid", "cid": "ann"}[thread[-1].source]

    team = SelectorGroupChat(
        [Speaker("ann"), Speaker("bob"), Speaker("cid")],
        ReplayModel(),
        selector_func=select,
        max_turns=3,
        runtime=bench.host,
    )
    await bench.start()
    assert [source for source, _ in said(await within(team.run(task="begin")))] == ["user", "bob", "cid", "ann"]


async def test_model_chooses_the_speakers_and_is_told_who_they_are(bench: Bench) -> None:
    model = ReplayModel("bob", "ann")
    team = SelectorGroupChat([Speaker("ann"), Speaker("bob"), Speaker("cid")], model, max_turns=2, runtime=bench.host)
    await bench.start()
    assert [source for source, _ in said(await within(team.run(task="begin")))] == ["user", "bob", "ann"]
    assert "cid: the one called cid" in str(model.asked[0][0].content)


async def test_candidate_function_narrows_the_choice(bench: Bench) -> None:
    team = SelectorGroupChat(
        [Speaker("ann"), Speaker("bob")],
        ReplayModel(),
        candidate_func=lambda thread: ["bob"],
        max_turns=2,
        runtime=bench.host,
    )
    await bench.start()
    assert [source for source, _ in said(await within(team.run(task="begin")))] == ["user", "bob", "bob"]


async def test_swarm_follows_the_handoffs(bench: Bench) -> None:
    team = Swarm(
        [
            Speaker("ann", lambda speaker: speaker.handoff("cid")),
            Speaker("bob", lambda speaker: speaker.text("done")),
            Speaker("cid", lambda speaker: speaker.handoff("bob")),
        ],
        termination_condition=TextMentionTermination("done"),
        runtime=bench.host,
    )
    await bench.start()
    assert said(await within(team.run(task="begin"))) == [
        ("user", "begin"),
        ("ann", "over to cid"),
        ("cid", "over to bob"),
        ("bob", "done"),
    ]


async def test_swarm_hands_off_to_the_user_and_goes_on_from_there(bench: Bench) -> None:
    team = Swarm(
        [
            Speaker("ann", lambda speaker: speaker.handoff("user")),
            Speaker("bob", lambda speaker: speaker.text("done")),
        ],
        termination_condition=HandoffTermination("user") | TextMentionTermination("done"),
        runtime=bench.host,
    )
    await bench.start()
    first = await within(team.run(task="begin"))
    assert first.stop_reason == "Handoff to user from ann detected."
    answer = HandoffMessage(content="go on", target="bob", source="user")
    assert said(await within(team.run(task=answer))) == [("user", "go on"), ("bob", "done")]


async def test_swarm_of_assistants_hands_off_by_a_tool_call(bench: Bench) -> None:
    call = FunctionCall(id="1", name="transfer_to_bob", arguments="{}")
    ann = AssistantAgent("ann", ReplayModel([call]), handoffs=[Handoff(target="bob")])
    bob = AssistantAgent("bob", ReplayModel("done"))
    team = Swarm([ann, bob], termination_condition=TextMentionTermination("done"), runtime=bench.host)
    await bench.start()
    result = await within(team.run(task="begin"))
    assert [type(message).__name__ for message in result.messages] == [
        "TextMessage",
        "ToolCallRequestEvent",
        "ToolCallExecutionEvent",
        "HandoffMessage",
        "TextMessage",
    ]
    assert said(result)[-1] == ("bob", "done")


async def test_assistant_uses_its_tool_and_reflects(bench: Bench) -> None:
    call = FunctionCall(id="1", name="weather", arguments='{"city": "Paris"}')
    model = ReplayModel([call], "take an umbrella")
    tool = FunctionTool(weather, description="the weather of a city")
    assistant = AssistantAgent("ann", model, tools=[tool], reflect_on_tool_use=True)
    team = RoundRobinGroupChat([assistant], max_turns=1, runtime=bench.host)
    await bench.start()
    assert said(await within(team.run(task="how is Paris?")))[-1] == ("ann", "take an umbrella")
    assert "rain in Paris" in str(model.asked[1])


async def test_assistant_streams_its_models_words(bench: Bench) -> None:
    assistant = AssistantAgent("ann", ReplayModel("one two three"), model_client_stream=True)
    team = RoundRobinGroupChat([assistant], termination_condition=MaxMessageTermination(2), runtime=bench.host)
    await bench.start()
    names = [type(message).__name__ async for message in team.run_stream(task="count")]
    assert names.count("ModelClientStreamingChunkEvent") == 3
    assert names[-2:] == ["TextMessage", "TaskResult"]
