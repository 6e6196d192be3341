"""AgentChat's GraphFlow on a runtime that the user brings."""

from __future__ import annotations

import pytest
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import BaseChatMessage
from autogen_agentchat.teams import DiGraphBuilder, GraphFlow

from .bench import LOCAL, Bench, within
from .speakers import Speaker, fails, said

pytestmark = pytest.mark.parametrize("kind", LOCAL, indirect=True)


def flow(builder: DiGraphBuilder, bench: Bench) -> GraphFlow:
    """Build the flow; twenty messages are its limit, whatever the graph does."""
    return GraphFlow(
        builder.get_participants(),
        builder.build(),
        termination_condition=MaxMessageTermination(20),
        runtime=bench.host,
    )


async def test_chain_runs_in_the_order_of_its_edges_and_ends(bench: Bench) -> None:
    ann, bob, cid = (Speaker(name) for name in ("ann", "bob", "cid"))
    builder = DiGraphBuilder().add_node(cid).add_node(bob).add_node(ann)
    builder.add_edge(ann, bob).add_edge(bob, cid)
    await bench.start()
    result = await within(flow(builder, bench).run(task="begin"))
    assert [source for source, _ in said(result)] == ["user", "ann", "bob", "cid"]
    assert result.stop_reason == "Digraph execution is complete"


async def test_fan_out_runs_all_branches_and_the_join_once_after_them(bench: Bench) -> None:
    ann, bob, cid, dan = (Speaker(name) for name in ("ann", "bob", "cid", "dan"))
    builder = DiGraphBuilder().add_node(ann).add_node(bob).add_node(cid).add_node(dan)
    builder.add_edge(ann, bob).add_edge(ann, cid).add_edge(bob, dan).add_edge(cid, dan)
    await bench.start()
    sources = [source for source, _ in said(await within(flow(builder, bench).run(task="begin")))]
    assert (sources[:2], sorted(sources[2:4]), sources[4:]) == (["user", "ann"], ["bob", "cid"], ["dan"])
    assert sorted(dan.heard) == ["ann 1", "begin", "bob 1", "cid 1"]


async def test_join_that_wants_any_branch_runs_when_the_first_one_is_done(bench: Bench) -> None:
    ann, bob, cid, dan = (Speaker(name) for name in ("ann", "bob", "cid", "dan"))
    builder = DiGraphBuilder().add_node(ann).add_node(bob).add_node(cid).add_node(dan, activation="any")
    builder.add_edge(ann, bob).add_edge(ann, cid).add_edge(bob, dan).add_edge(cid, dan)
    await bench.start()
    sources = [source for source, _ in said(await within(flow(builder, bench).run(task="begin")))]
    assert sources.count("dan") == 1


@pytest.mark.parametrize(("answer", "next_speaker"), [("yes", "bob"), ("no", "cid")])
async def test_conditional_edge_is_taken_when_its_text_is_said(bench: Bench, answer: str, next_speaker: str) -> None:
    ann = Speaker("ann", lambda speaker: speaker.text(answer))
    bob, cid = Speaker("bob"), Speaker("cid")
    builder = DiGraphBuilder().add_node(ann).add_node(bob).add_node(cid)
    builder.add_edge(ann, bob, condition="yes").add_edge(ann, cid, condition="no")
    await bench.start()
    result = await within(flow(builder, bench).run(task="begin"))
    assert [source for source, _ in said(result)] == ["user", "ann", next_speaker]


async def test_loop_runs_until_its_exit_condition(bench: Bench) -> None:
    def accepted(message: BaseChatMessage) -> bool:
        return message.to_text() == "judge 3"

    def refused(message: BaseChatMessage) -> bool:
        return not accepted(message)

    writer, judge, printer = (Speaker(name) for name in ("writer", "judge", "printer"))
    builder = DiGraphBuilder().add_node(writer).add_node(judge).add_node(printer)
    builder.add_edge(writer, judge).add_edge(judge, writer, condition=refused)
    builder.add_edge(judge, printer, condition=accepted).set_entry_point(writer)
    await bench.start()
    sources = [source for source, _ in said(await within(flow(builder, bench).run(task="begin")))]
    assert sources == ["user", *["writer", "judge"] * 3, "printer"]


async def test_flow_runs_again_from_its_beginning(bench: Bench) -> None:
    ann, bob = Speaker("ann"), Speaker("bob")
    builder = DiGraphBuilder().add_node(ann).add_node(bob).add_edge(ann, bob)
    team = flow(builder, bench)
    await bench.start()
    await within(team.run(task="begin"))
    assert said(await within(team.run(task="again"))) == [("user", "again"), ("ann", "ann 2"), ("bob", "bob 2")]


async def test_error_in_a_branch_ends_the_flow(bench: Bench) -> None:
    ann, bob, cid = Speaker("ann"), Speaker("bob", fails), Speaker("cid")
    builder = DiGraphBuilder().add_node(ann).add_node(bob).add_node(cid)
    builder.add_edge(ann, bob).add_edge(ann, cid)
    await bench.start()
    with pytest.raises(RuntimeError, match=r"^ValueError: bob has lost its voice"):
        await within(flow(builder, bench).run(task="begin"))
