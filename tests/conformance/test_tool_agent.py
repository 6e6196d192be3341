"""AutoGen's ToolAgent: its results, its errors with their fields, and the loop around them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from autogen_core import AgentId, FunctionCall
from autogen_core.models import FunctionExecutionResult, FunctionExecutionResultMessage, UserMessage
from autogen_core.tool_agent import (
    InvalidToolArgumentsException,
    ToolAgent,
    ToolException,
    ToolExecutionException,
    ToolNotFoundException,
    tool_agent_caller_loop,
)
from autogen_core.tools import FunctionTool

from .bench import Bench, within
from .models import ReplayModel

TOOLS = AgentId("tools", "default")


def divide(dividend: int, divisor: int) -> int:
    return dividend // divisor


def division(**arguments: Any) -> FunctionCall:
    return FunctionCall(id="1", name="divide", arguments=json.dumps(arguments))


@pytest.fixture
async def tools(bench: Bench) -> FunctionTool:
    """The only tool of the started bench's tool agent."""
    tool = FunctionTool(divide, description="whole division")
    await ToolAgent.register(bench.host, "tools", lambda: ToolAgent("has tools", [tool]))
    await bench.start("tools")
    return tool


async def test_tool_result_comes_back(bench: Bench, tools: FunctionTool) -> None:
    result = await bench.call(division(dividend=7, divisor=2), "tools")
    assert result == FunctionExecutionResult(content="3", call_id="1", is_error=False, name="divide")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (
            FunctionCall(id="1", name="multiply", arguments="{}"),
            ToolNotFoundException(call_id="1", content="Error: Tool not found: multiply", name="multiply"),
        ),
        (
            FunctionCall(id="2", name="divide", arguments="not JSON"),
            InvalidToolArgumentsException(call_id="2", content="Error: Invalid arguments: not JSON", name="divide"),
        ),
        (
            FunctionCall(id="3", name="divide", arguments='{"dividend": 1, "divisor": 0}'),
            ToolExecutionException(call_id="3", content="Error: integer division or modulo by zero", name="divide"),
        ),
    ],
    ids=["unknown tool", "arguments", "execution"],
)
async def test_tool_error_comes_back_with_its_class_and_fields(
    bench: Bench, tools: FunctionTool, call: FunctionCall, error: ToolException
) -> None:
    """They are dataclasses over BaseException, with an empty text: only their fields say what happened."""
    with pytest.raises(type(error)) as caught:
        await bench.call(call, "tools")
    raised = caught.value
    assert type(raised) is type(error)
    assert (raised.call_id, raised.content, raised.name) == (error.call_id, error.content, error.name)


async def test_caller_loop_tells_the_model_of_results_and_errors(bench: Bench, tools: FunctionTool) -> None:
    model = ReplayModel(
        [division(dividend=7, divisor=2), FunctionCall(id="2", name="multiply", arguments="{}")],
        "three, and no such tool",
    )
    messages = await within(
        tool_agent_caller_loop(
            bench.caller,
            tool_agent_id=TOOLS,
            model_client=model,
            input_messages=[UserMessage(content="divide, multiply", source="user")],
            tool_schema=[tools.schema],
        )
    )
    assert [message.content for message in (messages[0], messages[2])] == [model.replies[0], model.replies[1]]
    results = messages[1]
    assert isinstance(results, FunctionExecutionResultMessage)
    assert [(result.name, result.call_id, result.is_error) for result in results.content] == [
        ("divide", "1", False),
        ("multiply", "2", True),
    ]
