"""Saving AgentChat teams and going on from what was saved."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from autogen_agentchat.base import Team
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.teams import DiGraphBuilder, GraphFlow, RoundRobinGroupChat, SelectorGroupChat, Swarm
from autogen_core import AgentRuntime

from .bench import LOCAL, Bench, within
from .conftest import NewBench
from .models import ReplayModel
from .speakers import Speaker, said

pytestmark = pytest.mark.parametrize("kind", LOCAL, indirect=True)


def round_robin(runtime: AgentRuntime) -> Team:
    return RoundRobinGroupChat([Speaker("ann"), Speaker("bob")], max_turns=1, runtime=runtime)


def selector(runtime: AgentRuntime) -> Team:
    return SelectorGroupChat(
        [Speaker("ann"), Speaker("bob")],
        ReplayModel(),
        selector_func=lambda thread: "bob" if thread[-1].source == "ann" else "ann",
        max_turns=1,
        runtime=runtime,
    )


def swarm(runtime: AgentRuntime) -> Team:
    ann = Speaker("ann", lambda speaker: speaker.handoff("bob"))
    return Swarm([ann, Speaker("bob")], max_turns=1, runtime=runtime)


def graph(runtime: AgentRuntime) -> Team:
    ann, bob = Speaker("ann"), Speaker("bob")
    builder = DiGraphBuilder().add_node(ann).add_node(bob).add_edge(ann, bob)
    # Two messages end the first run between the two speakers.
    return GraphFlow([ann, bob], builder.build(), termination_condition=MaxMessageTermination(2), runtime=runtime)


@pytest.mark.parametrize("make", [round_robin, selector, swarm, graph])
async def test_loaded_team_goes_on_where_the_saved_one_stopped(
    new_bench: NewBench, make: Callable[[AgentRuntime], Team]
) -> None:
    old, new = new_bench(), new_bench()
    await old.start()
    await new.start()
    saved = make(old.host)
    assert said(await within(saved.run(task="begin")))[-1][0] == "ann"
    state = json.loads(json.dumps(await within(saved.save_state())))
    loaded = make(new.host)
    await within(loaded.load_state(state))
    assert said(await within(loaded.run())) == [("bob", "bob 1")]


async def test_saved_state_names_every_participant_and_the_manager(bench: Bench) -> None:
    team = round_robin(bench.host)
    await bench.start()
    await within(team.run(task="begin"))
    states = (await within(team.save_state()))["agent_states"]
    assert set(states) == {"ann", "bob", "RoundRobinGroupChatManager"}
    assert states["ann"]["agent_state"] == {"spoken": 1}
    assert [message["content"] for message in states["bob"]["message_buffer"]] == ["begin", "ann 1"]
    assert len(states["RoundRobinGroupChatManager"]["message_thread"]) == 2


async def test_team_is_saved_and_loaded_on_a_runtime_that_is_not_started(bench: Bench) -> None:
    team = round_robin(bench.host)
    state = await within(team.save_state())
    await within(team.load_state(state))
    await bench.start()
    assert said(await within(team.run(task="begin"))) == [("user", "begin"), ("ann", "ann 1")]


async def test_state_without_a_participant_is_a_value_error(bench: Bench) -> None:
    team = round_robin(bench.host)
    with pytest.raises(ValueError, match=r"^Agent state for ann not found in the saved state\.$"):
        await within(team.load_state({"agent_states": {}}))


async def test_loaded_team_may_be_reset(bench: Bench) -> None:
    team = round_robin(bench.host)
    await bench.start()
    await within(team.run(task="begin"))
    await within(team.load_state(await within(team.save_state())))
    await within(team.reset())
    assert said(await within(team.run(task="again"))) == [("user", "again"), ("ann", "ann 1")]
