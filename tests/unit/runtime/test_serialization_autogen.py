"""The extension of AutoGen's lookup: agents register unchanged, with our runtime and with AutoGen's.

Annotations are not postponed here, as AutoGen refuses a nested dataclass only if it sees the class itself.
"""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import autogen_core
import pytest
from autogen_core import (
    AgentId,
    ClosureAgent,
    ClosureContext,
    MessageContext,
    RoutedAgent,
    SingleThreadedAgentRuntime,
    _base_agent,
    _closure_agent,
    _routed_agent,
    _serialization,
    rpc,
)
from pydantic import BaseModel

from zmqagents.runtime.autogen_serializers import install_autogen_extension
from zmqagents.runtime.codecs.content_types import JSON, TAGGED_JSON
from zmqagents.runtime.serialization import PayloadRegistry

HOLDERS: list[Any] = [autogen_core, _serialization, _base_agent, _routed_agent, _closure_agent]


@dataclass
class Flat:
    text: str


@dataclass
class Nested:
    flat: Flat
    either: Flat | int = 0
    many: list[Flat] = field(default_factory=list)


class Model(BaseModel):
    text: str


@dataclass
class WithModel:
    model: Model


class Unserializable:
    pass


class Echo(RoutedAgent):
    @rpc
    async def on_nested(self, message: Nested, ctx: MessageContext) -> Nested:
        return message

    @rpc
    async def on_text(self, message: str, ctx: MessageContext) -> int:
        return len(message)


@pytest.fixture(autouse=True)
def extension(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extension, for the time of a test."""
    for holder in HOLDERS:
        monkeypatch.setattr(holder, "try_get_known_serializers_for_type", holder.try_get_known_serializers_for_type)
    install_autogen_extension()


def found(cls: Any) -> list[tuple[str, str]]:
    lookup: Callable[[Any], list[Any]] = autogen_core.try_get_known_serializers_for_type
    return [(serializer.type_name, serializer.data_content_type) for serializer in lookup(cls)]


def test_every_module_of_autogen_has_the_extension() -> None:
    for holder in HOLDERS:
        names = [s.type_name for s in holder.try_get_known_serializers_for_type(Nested)]
        assert names == ["Nested", "Nested"]


def test_installing_again_changes_nothing() -> None:
    before = [holder.try_get_known_serializers_for_type for holder in HOLDERS]
    install_autogen_extension()
    assert [holder.try_get_known_serializers_for_type for holder in HOLDERS] == before


@pytest.mark.parametrize("cls", [Flat, Model])
def test_class_that_autogen_can_do_keeps_autogens_serializer(cls: type) -> None:
    (serializer,) = autogen_core.try_get_known_serializers_for_type(cls)
    assert type(serializer).__module__ == "autogen_core._serialization"


@pytest.mark.parametrize("cls", [Nested, WithModel])
def test_class_that_autogen_refuses_gets_ours(cls: type) -> None:
    assert found(cls) == [(cls.__name__, JSON), (cls.__name__, TAGGED_JSON)]


@pytest.mark.parametrize(
    ("cls", "expected"),
    [(str, [("str", JSON)]), (type(None), [("null", JSON)]), (list[str], [("list", JSON), ("list", TAGGED_JSON)])],
)
def test_plain_value_gets_a_serializer(cls: Any, expected: list[tuple[str, str]]) -> None:
    assert found(cls) == expected


def test_class_that_nobody_can_serialize_has_none_as_before() -> None:
    assert found(Unserializable) == []


async def test_agent_with_nested_and_plain_messages_works_with_autogens_runtime() -> None:
    runtime = SingleThreadedAgentRuntime()
    await Echo.register(runtime, "echo", lambda: Echo("echoes"))
    runtime.start()
    message = Nested(Flat("a"), Flat("b"), [Flat("c")])
    assert await runtime.send_message(message, AgentId("echo", "default")) is message
    assert await runtime.send_message("four", AgentId("echo", "default")) == 4
    await runtime.stop_when_idle()


async def test_closure_agent_with_nested_messages_works_with_autogens_runtime() -> None:
    seen: list[Nested] = []

    async def collect(_agent: ClosureContext, message: Nested, ctx: MessageContext) -> None:
        seen.append(message)

    runtime = SingleThreadedAgentRuntime()
    await ClosureAgent.register_closure(runtime, "closure", collect)
    runtime.start()
    message = Nested(Flat("a"))
    await runtime.send_message(message, AgentId("closure", "default"))
    await runtime.stop_when_idle()
    assert seen == [message]


async def test_message_that_can_not_be_written_is_still_delivered_in_process_by_autogens_runtime() -> None:
    runtime = SingleThreadedAgentRuntime()
    await Echo.register(runtime, "echo", lambda: Echo("echoes"))
    runtime.start()
    message = Nested(Flat(object()))  # type: ignore[arg-type]
    assert await runtime.send_message(message, AgentId("echo", "default")) is message
    await runtime.stop_when_idle()


def test_what_the_extension_finds_registers_the_class_with_our_registry() -> None:
    registry = PayloadRegistry()
    for cls in (Nested, Flat, str, list):
        registry.add(autogen_core.try_get_known_serializers_for_type(cls))
    assert registry.readable() == {"Nested": (JSON, TAGGED_JSON), "Flat": (JSON,)}


def test_autogen_is_left_alone_until_the_extension_is_installed() -> None:
    program = (
        "import zmqagents.runtime.serialization, autogen_core\n"
        "print(autogen_core.try_get_known_serializers_for_type.__module__)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, text=True).stdout
    assert printed.strip() == "autogen_core._serialization"
