"""The registry: which serializer is used, what the record lists, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from autogen_core import (
    FunctionCall,
    MessageContext,
    RoutedAgent,
    UnknownPayload,
    event,
    message_handler,
    rpc,
    try_get_known_serializers_for_type,
)
from autogen_core._base_agent import handles
from pydantic import BaseModel

from zmqagents.errors import SerializationError
from zmqagents.runtime.codecs import CborSerializer, JsonSerializer, MsgpackSerializer, TaggedJsonSerializer
from zmqagents.runtime.codecs.content_types import CBOR, JSON, MSGPACK, TAGGED_JSON
from zmqagents.runtime.serialization import PayloadRegistry


@dataclass
class Message:
    text: str


@dataclass
class Part:
    number: int


@dataclass
class SpecialPart(Part):
    extra: str = ""


@dataclass
class Whole:
    part: Part
    parts: list[Part] = field(default_factory=list)


class Reply(BaseModel):
    whole: Whole


@dataclass
class Unused:
    number: int


ANYTHING: Any = object()


class Plain:
    """No message class: neither dataclass nor model."""


class VersionedSerializer:
    """As AutoGen's documentation shows: a content type of its own, the version inside the payload."""

    def __init__(self, version: int) -> None:
        self.version = version

    @property
    def data_content_type(self) -> str:
        return f"application/json; version={self.version}"

    @property
    def type_name(self) -> str:
        return "Message"

    def serialize(self, message: Message) -> bytes:
        return json.dumps({"version": self.version, "body": message.text}).encode()

    def deserialize(self, payload: bytes) -> Message:
        document = json.loads(payload)
        if document["version"] != self.version:
            raise ValueError("wrong version")
        return Message(document["body"])


class PlainSerializer:
    """A user's serializer for a class that has none by itself."""

    data_content_type = "text/plain"
    type_name = "Plain"

    def serialize(self, _: Plain) -> bytes:
        return b"plain"

    def deserialize(self, _: bytes) -> Plain:
        return Plain()


class Worker(RoutedAgent):
    @rpc
    async def on_whole(self, message: Whole, ctx: MessageContext) -> Reply | None:
        return Reply(whole=message)

    @event
    async def on_text(self, message: str, ctx: MessageContext) -> None: ...

    @message_handler
    async def on_call(self, message: FunctionCall | Message, ctx: MessageContext) -> Any: ...

    @rpc
    async def on_part(self, message: Part, ctx: MessageContext) -> Plain:
        return Plain()


def content_type_of(registry: PayloadRegistry, message: Any, *accepted: str) -> str:
    return registry.encode(message, {type(message).__name__: accepted})[1]


class TestChoice:
    def test_first_serializer_is_used_when_the_receiver_lists_nothing(self) -> None:
        registry = PayloadRegistry()
        registry.add([MsgpackSerializer(Message), CborSerializer(Message)])
        assert content_type_of(registry, Message("a")) == MSGPACK

    @pytest.mark.parametrize(
        ("accepted", "used"),
        [((JSON,), JSON), ((CBOR, JSON), CBOR), ((JSON, CBOR, MSGPACK), MSGPACK), (("text/x", JSON), JSON)],
    )
    def test_first_of_ours_that_the_receiver_reads_is_used(self, accepted: tuple[str, ...], used: str) -> None:
        registry = PayloadRegistry()
        registry.add([MsgpackSerializer(Message), CborSerializer(Message)])
        assert content_type_of(registry, Message("a"), *accepted) == used

    def test_receiver_may_be_a_function(self) -> None:
        registry = PayloadRegistry()
        registry.add(CborSerializer(Message))
        asked: list[str] = []

        def accepts(name: str) -> tuple[str, ...]:
            asked.append(name)
            return (JSON,)

        assert registry.encode(Message("a"), accepts)[1] == JSON
        assert asked == ["Message"]

    def test_receiver_that_reads_nothing_of_ours_is_an_error_that_names_both_sides(self) -> None:
        with pytest.raises(SerializationError, match=r"'Message' as application/x; .* as application/json"):
            PayloadRegistry().encode(Message("a"), {"Message": ["application/x"]})

    def test_tagged_json_is_used_only_for_a_message_that_needs_it(self) -> None:
        registry = PayloadRegistry()
        assert content_type_of(registry, Whole(Part(1)), JSON, TAGGED_JSON) == JSON
        assert content_type_of(registry, Whole(SpecialPart(1)), JSON, TAGGED_JSON) == TAGGED_JSON
        assert content_type_of(registry, Whole(SpecialPart(1)), JSON) == JSON

    def test_serializer_added_after_the_first_use_is_used(self) -> None:
        registry = PayloadRegistry()
        assert content_type_of(registry, Message("a")) == JSON
        registry.add(CborSerializer(Message))
        assert content_type_of(registry, Message("a")) == CBOR


class TestCustomSerializers:
    def test_versioned_serializers_travel_in_the_order_added_and_the_receivers_choice(self) -> None:
        new, old = PayloadRegistry(), PayloadRegistry()
        new.add([VersionedSerializer(2), VersionedSerializer(1)])
        old.add(VersionedSerializer(1))
        assert new.readable() == {"Message": ("application/json; version=2", "application/json; version=1")}
        name, content_type, payload = new.encode(Message("hi"), old.readable())
        assert content_type == "application/json; version=1"
        assert old.decode(name, content_type, payload) == Message("hi")
        name, content_type, payload = old.encode(Message("hi"), new.readable())
        assert new.decode(name, content_type, payload) == Message("hi")

    def test_serializer_of_the_same_name_and_content_type_replaces_the_former(self) -> None:
        class Shouting(VersionedSerializer):
            def serialize(self, message: Message) -> bytes:
                return super().serialize(Message(message.text.upper()))

        registry = PayloadRegistry()
        registry.add(VersionedSerializer(1))
        registry.add(Shouting(1))
        assert b"HI" in registry.encode(Message("hi"), {})[2]
        assert registry.readable() == {"Message": ("application/json; version=1", JSON)}

    def test_custom_json_replaces_the_classs_own(self) -> None:
        class OwnJson(VersionedSerializer):
            data_content_type = JSON

        registry = PayloadRegistry()
        registry.add_class(Message)
        registry.add(OwnJson(1))
        name, content_type, payload = registry.encode(Message("hi"), {})
        assert json.loads(payload) == {"version": 1, "body": "hi"}
        assert registry.decode(name, content_type, payload) == Message("hi")
        assert registry.to_log_text(Message("hi")) == payload.decode()

    def test_class_that_is_no_message_class_travels_with_a_serializer_of_its_own(self) -> None:
        registry = PayloadRegistry()
        registry.add(PlainSerializer())
        assert registry.encode(Plain(), {}) == ("Plain", "text/plain", b"plain")
        assert isinstance(registry.decode("Plain", "text/plain", b"plain"), Plain)

    def test_error_of_a_custom_serializer_names_the_type_and_is_chained(self) -> None:
        registry = PayloadRegistry()
        registry.add(VersionedSerializer(1))
        with pytest.raises(SerializationError, match=r"Message.*wrong version") as caught:
            registry.decode("Message", "application/json; version=1", b'{"version": 9}')
        assert isinstance(caught.value.__cause__, ValueError)

    @pytest.mark.parametrize("like_bytes", [bytearray(b"plain"), memoryview(b"p-l-a-i-n")[::2]], ids=["array", "view"])
    def test_what_a_custom_serializer_gives_is_made_bytes(self, like_bytes: Any) -> None:
        class Lax(PlainSerializer):
            def serialize(self, _: Plain) -> Any:
                return like_bytes

        registry = PayloadRegistry()
        registry.add(Lax())
        payload = registry.encode(Plain(), {})[2]
        assert (type(payload), payload) == (bytes, b"plain")

    def test_custom_serializer_that_gives_no_bytes_is_named(self) -> None:
        class Textual(PlainSerializer):
            def serialize(self, _: Plain) -> Any:
                return "plain"

        registry = PayloadRegistry()
        registry.add(Textual())
        with pytest.raises(SerializationError, match=r"Textual\.serialize gave str instead of bytes"):
            registry.encode(Plain(), {})

    def test_autogens_own_serializers_are_taken_for_the_class(self) -> None:
        registry = PayloadRegistry()
        registry.add(try_get_known_serializers_for_type(Message))
        registry.add(try_get_known_serializers_for_type(Reply))
        # With postponed annotations AutoGen can't see that this one is nested: it would read the parts as dictionaries.
        registry.add(try_get_known_serializers_for_type(Whole))
        both = (JSON, TAGGED_JSON)
        assert registry.readable() == {"Message": (JSON,), "Reply": both, "Whole": both}
        message = Reply(whole=Whole(SpecialPart(1, "x")))
        assert registry.decode(*registry.encode(message, registry.readable())) == message


class TestRecord:
    def test_readable_lists_tagged_json_only_where_plain_json_may_lose_something(self) -> None:
        registry = PayloadRegistry()
        registry.add_class(Message)
        registry.add_class(Whole)
        assert registry.readable() == {"Message": (JSON,), "Whole": (JSON, TAGGED_JSON)}

    def test_change_is_told_when_readable_changes_and_only_then(self) -> None:
        registry = PayloadRegistry()
        told: list[dict[str, tuple[str, ...]]] = []
        registry.on_change = lambda: told.append(registry.readable())
        steps: list[Callable[[], object]] = [
            lambda: registry.add_class(Message),
            lambda: registry.encode(Whole(Part(1)), {}),
            lambda: registry.add(CborSerializer(Message)),
        ]
        for count, step in enumerate(steps, start=1):
            step()
            assert len(told) == count
            step()
            assert len(told) == count
        assert told[-1] == registry.readable()

    def test_readable_is_a_copy(self) -> None:
        registry = PayloadRegistry()
        registry.readable()["x"] = ()
        assert registry.readable() == {}

    def test_handler_class_adds_request_and_reply_types(self) -> None:
        registry = PayloadRegistry()
        registry.add_handler_class(Worker)
        assert set(registry.readable()) == {"Whole", "Reply", "FunctionCall", "Message", "Part"}

    def test_handler_class_with_an_unserializable_request_is_refused(self) -> None:
        class Bad(RoutedAgent):
            @rpc
            async def on_plain(self, message: Plain, ctx: MessageContext) -> None: ...

        with pytest.raises(SerializationError, match="Plain"):
            PayloadRegistry().add_handler_class(Bad)

    def test_handler_class_may_bring_its_own_serializer(self) -> None:
        @handles(Plain, PlainSerializer())
        class Good(RoutedAgent):
            @rpc
            async def on_plain(self, message: Plain, ctx: MessageContext) -> None: ...

        registry = PayloadRegistry()
        registry.add_handler_class(Good)
        assert registry.readable() == {"Plain": ("text/plain",)}


class TestRefusals:
    @pytest.mark.parametrize("message", [Plain(), object(), {1, 2}.__iter__(), Exception("x")])
    def test_class_that_nobody_can_serialize_is_refused_with_what_to_do(self, message: Any) -> None:
        with pytest.raises(
            SerializationError, match=r"can't be serialized: make it a dataclass.*add_message_serializer"
        ) as caught:
            PayloadRegistry().encode(message, {})
        assert type(message).__qualname__ in str(caught.value)

    def test_message_that_holds_something_unserializable_is_refused_with_its_class_and_cause(self) -> None:
        with pytest.raises(SerializationError, match=r"Message.*object") as caught:
            PayloadRegistry().encode(Message(object()), {})  # type: ignore[arg-type]
        assert isinstance(caught.value.__cause__, TypeError)

    def test_text_that_is_no_unicode_is_refused(self) -> None:
        with pytest.raises(SerializationError, match=r"Message.*surrogates"):
            PayloadRegistry().encode(Message("\ud800"), {})

    def test_class_that_can_not_be_sent_may_still_be_registered(self) -> None:
        @dataclass
        class Local:
            callback: Callable[[], None]

        registry = PayloadRegistry()
        registry.add_class(Local)
        with pytest.raises(SerializationError, match="Local"):
            registry.encode(Local(lambda: None), {})

    @pytest.mark.parametrize("serializer", [JsonSerializer, TaggedJsonSerializer, MsgpackSerializer, CborSerializer])
    def test_serializer_of_a_class_without_fields_is_refused(self, serializer: Callable[[type], object]) -> None:
        with pytest.raises(TypeError, match="neither a dataclass nor a pydantic model"):
            serializer(Plain)

    def test_serializer_used_by_itself_raises_one_kind_of_error(self) -> None:
        with pytest.raises(SerializationError, match="Message"):
            JsonSerializer(Message).serialize(Message(object()))  # type: ignore[arg-type]
        with pytest.raises(SerializationError, match="Message"):
            JsonSerializer(Message).deserialize(b"\xff")


class TestLogText:
    @pytest.mark.parametrize("message", [Message("hällo"), FunctionCall("1", "{}", "f"), Reply(whole=Whole(Part(1)))])
    def test_log_text_is_what_autogens_runtime_logs(self, message: Any) -> None:
        (serializer,) = try_get_known_serializers_for_type(type(message))
        assert PayloadRegistry().to_log_text(message) == serializer.serialize(message).decode()

    @pytest.mark.parametrize(
        ("message", "text"),
        [(None, "null"), ("a", '"a"'), ((1, 2), "[1,2]"), (Whole(Part(1)), '{"part": {"number": 1}, "parts": []}')],
    )
    def test_log_text_is_json_where_autogen_has_none(self, message: Any, text: str) -> None:
        assert PayloadRegistry().to_log_text(message) == text

    @pytest.mark.parametrize("message", [Plain(), Message(ANYTHING), object(), [object()], UnknownPayload])
    def test_log_text_says_so_when_there_is_none(self, message: Any) -> None:
        assert PayloadRegistry().to_log_text(message) == "Message could not be serialized"

    def test_logging_registers_nothing(self) -> None:
        registry = PayloadRegistry()
        registry.to_log_text(Unused(1))
        assert registry.readable() == {}
