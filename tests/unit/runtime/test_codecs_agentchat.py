"""Every message of AgentChat and of its teams arrives as what it was."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
from autogen_agentchat import messages as agentchat
from autogen_agentchat.base import Handoff, Response, TaskResult
from autogen_agentchat.messages import (
    BaseAgentEvent,
    BaseChatMessage,
    BaseMessage,
    CodeExecutionEvent,
    CodeGenerationEvent,
    HandoffMessage,
    MemoryQueryEvent,
    ModelClientStreamingChunkEvent,
    MultiModalMessage,
    SelectorEvent,
    SelectSpeakerEvent,
    StopMessage,
    StructuredMessage,
    TextMessage,
    ThoughtEvent,
    ToolCallExecutionEvent,
    ToolCallRequestEvent,
    ToolCallSummaryMessage,
    UserInputRequestedEvent,
)
from autogen_agentchat.teams._group_chat import _events as events
from autogen_core import FunctionCall, Image
from autogen_core.code_executor import CodeBlock, CodeResult
from autogen_core.memory import MemoryContent, MemoryMimeType
from autogen_core.models import (
    AssistantMessage,
    FunctionExecutionResult,
    FunctionExecutionResultMessage,
    LLMMessage,
    RequestUsage,
    SystemMessage,
    UserMessage,
)
from PIL import Image as PILImage
from pydantic import BaseModel

from zmqagents.runtime.codecs import content_types
from zmqagents.runtime.codecs.names import is_structured
from zmqagents.runtime.serialization import PayloadRegistry


class Weather(BaseModel):
    city: str
    degrees: float


class Forecast(Weather):
    days: int


CALL = FunctionCall(id="1", arguments="{}", name="tool")
RESULT = FunctionExecutionResult(content="42", name="tool", call_id="1", is_error=False)
CONTEXT: list[LLMMessage] = [
    SystemMessage(content="be kind"),
    UserMessage(content=["look", "here"], source="user"),
    UserMessage(content="hello", source="user"),
    AssistantMessage(content=[CALL], source="assistant", thought="hm"),
    AssistantMessage(content="done", source="assistant"),
    FunctionExecutionResultMessage(content=[RESULT]),
]
TEXT = TextMessage(content="hällo", source="a", models_usage=RequestUsage(1, 2), metadata={"k": "v"})
STRUCTURED = StructuredMessage[Weather](content=Weather(city="Bern", degrees=1.5), source="a", format_string="{city}")

MESSAGES: list[BaseMessage] = [
    TEXT,
    STRUCTURED,
    StructuredMessage[Weather](content=Forecast(city="Bern", degrees=1.5, days=3), source="a"),
    StructuredMessage(content=Weather(city="Bern", degrees=1.5), source="a"),
    MultiModalMessage(content=["just", "text"], source="a"),
    StopMessage(content="stop", source="a"),
    HandoffMessage(content="go", source="a", target="b", context=CONTEXT),
    HandoffMessage(content="go", source="a", target="b"),
    ToolCallSummaryMessage(content="42", source="a", tool_calls=[CALL], results=[RESULT]),
    ToolCallRequestEvent(content=[CALL], source="a"),
    ToolCallExecutionEvent(content=[RESULT], source="a"),
    CodeGenerationEvent(content="x", source="a", retry_attempt=0, code_blocks=[CodeBlock(code="1", language="python")]),
    CodeExecutionEvent(source="a", retry_attempt=1, result=CodeResult(exit_code=0, output="ok")),
    UserInputRequestedEvent(request_id="r", source="a"),
    MemoryQueryEvent(
        source="a",
        content=[
            MemoryContent(content="text", mime_type=MemoryMimeType.TEXT),
            MemoryContent(content="text", mime_type="text/plain"),
            MemoryContent(content=b"\xff\x00", mime_type=MemoryMimeType.BINARY),
            MemoryContent(content={"data": "no image"}, mime_type=MemoryMimeType.JSON, metadata={"score": 0.5}),
        ],
    ),
    ModelClientStreamingChunkEvent(content="chunk", source="a", full_message_id="f"),
    ThoughtEvent(content="hm", source="a"),
    SelectSpeakerEvent(content=["a", "b"], source="a"),
    SelectorEvent(content="a", source="a"),
]

RESPONSE = Response(chat_message=TEXT, inner_messages=[ThoughtEvent(content="hm", source="a"), STRUCTURED])
ERROR = events.SerializableException(error_type="ValueError", error_message="no", traceback="...")

EVENTS: list[BaseModel] = [
    events.GroupChatStart(messages=[m for m in MESSAGES if isinstance(m, BaseChatMessage)]),
    events.GroupChatStart(),
    events.GroupChatAgentResponse(response=RESPONSE, name="a"),
    events.GroupChatAgentResponse(response=Response(chat_message=STRUCTURED), name="a"),
    events.GroupChatTeamResponse(
        result=TaskResult(
            messages=[m for m in MESSAGES if isinstance(m, (BaseChatMessage, BaseAgentEvent))], stop_reason="end"
        ),
        name="team",
    ),
    events.GroupChatRequestPublish(),
    *(events.GroupChatMessage(message=m) for m in MESSAGES if isinstance(m, (BaseChatMessage, BaseAgentEvent))),
    events.GroupChatTermination(message=StopMessage(content="stop", source="a"), error=ERROR),
    events.GroupChatReset(),
    events.GroupChatPause(),
    events.GroupChatResume(),
    events.GroupChatError(error=ERROR),
    ERROR,
]

OTHERS = [RESPONSE, TaskResult(messages=[TEXT, STRUCTURED]), Handoff(target="b"), CALL, *CONTEXT]


def round_trip(message: Any) -> Any:
    name, content_type, payload = PayloadRegistry().encode(message, {})
    receiver = PayloadRegistry()
    receiver.add_class(type(message))
    return receiver.decode(name, content_type, payload)


@pytest.mark.parametrize("message", [*MESSAGES, *EVENTS, *OTHERS], ids=lambda message: type(message).__name__)
def test_agentchat_message_arrives_equal_and_of_the_same_classes(message: Any) -> None:
    received = round_trip(message)
    assert type(received) is type(message)
    assert received == message
    assert classes_in(received) == classes_in(message)


def test_these_are_all_the_messages_that_agentchat_has() -> None:
    defined = {
        cls
        for module in (agentchat, events)
        for cls in vars(module).values()
        if inspect.isclass(cls) and issubclass(cls, BaseModel) and cls.__module__ == module.__name__
    }
    tested = {cls for message in [*MESSAGES, *EVENTS] for cls in type(message).__mro__}
    assert defined - tested == {agentchat.StructureMessageConfig}  # the configuration of a component, never sent


def test_flat_agentchat_message_travels_as_plain_json() -> None:
    _, content_type, payload = PayloadRegistry().encode(TEXT, {})
    assert content_type == content_types.JSON
    assert payload == TEXT.model_dump_json().encode()


def test_image_in_an_agentchat_message_keeps_its_pixels() -> None:
    image = Image(PILImage.new("RGB", (3, 2), (9, 8, 7)))
    message = events.GroupChatMessage(message=MultiModalMessage(content=["look", image], source="a"))
    received = round_trip(message).message.content
    assert received[0] == "look"
    assert isinstance(received[1], Image)
    assert received[1].image.tobytes() == image.image.tobytes()


def test_memory_content_keeps_an_image_apart_from_a_dictionary() -> None:
    image = Image(PILImage.new("RGB", (3, 2), (9, 8, 7)))
    message = MemoryQueryEvent(source="a", content=[MemoryContent(content=image, mime_type=MemoryMimeType.IMAGE)])
    received = round_trip(message).content[0]
    assert isinstance(received.content, Image)
    assert received.mime_type is MemoryMimeType.IMAGE


def test_message_of_a_users_own_class_arrives_in_a_group_chat() -> None:
    message = events.GroupChatMessage(message=OwnMessage(content="x", source="a", importance=3))
    assert classes_in(round_trip(message)) == {events.GroupChatMessage, OwnMessage}
    assert round_trip(message) == message


class OwnMessage(agentchat.BaseTextChatMessage):
    importance: int


def classes_in(value: Any) -> set[type]:
    """The structured classes in a value, at any depth."""
    found: set[type] = set()
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (list, tuple)):
            waiting.extend(item)
        elif is_structured(type(item)):
            found.add(type(item))
            waiting.extend(vars(item).values())
    return found
