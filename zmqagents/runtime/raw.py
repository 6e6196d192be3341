"""Messages without their Python classes: JSON under a type name, for tools that have none of a cluster's classes.

An ``UnknownPayload`` sent by ``send_message`` or ``publish_message`` goes out as the type, content type and bytes that
it names, and the answer to it may be one.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from autogen_core import AgentId, TopicId, UnknownPayload

from zmqagents.runtime.codecs import content_types
from zmqagents.runtime.codecs.values import VALUE_NAMES
from zmqagents.runtime.identities import agent_id, check_text

JSON = content_types.JSON
DEFAULT = "default"  # AutoGen's own default, of an agent's key and of a topic's source


def parse_agent(text: str) -> AgentId:
    """The agent of ``type/key``, or of ``type`` with AutoGen's default key. ValueError for what AutoGen refuses."""
    return agent_id(text if "/" in text else f"{text}/{DEFAULT}")


def parse_topic(text: str) -> TopicId:
    """The topic of ``type/source``, or of ``type`` with AutoGen's default source. ValueError as ``parse_agent``."""
    topic_type, _, source = text.partition("/")
    return TopicId(topic_type, source or DEFAULT)


def json_message(type_name: str, text: str) -> UnknownPayload:
    """A message that is this JSON text. ValueError if it is none, SerializationError for an impossible type name."""
    json.loads(text, parse_constant=_refuse_constant)
    return UnknownPayload(check_text("the message type", type_name), content_types.JSON, text.encode())


def describe_answer(answer: Any) -> dict[str, Any]:
    """What an answer is, as JSON: ``type`` and ``content_type`` where it has them; ``reply``, or else ``base64``."""
    if not isinstance(answer, UnknownPayload):  # one of the plain values that have no class
        if isinstance(answer, bytes):
            return {"type": "bytes", "content_type": content_types.OCTETS, "base64": _base64(answer)}
        return {
            "type": VALUE_NAMES.get(type(answer), type(answer).__name__),
            "content_type": content_types.JSON,
            "reply": _plain(answer),
        }
    shown: dict[str, Any] = {"type": answer.type_name, "content_type": answer.data_content_type}
    try:
        if answer.data_content_type == content_types.TAGGED_JSON:
            document = json.loads(answer.payload)
            return {**shown, "reply": document["value"], "classes": document.get("types")}
        if answer.data_content_type == content_types.JSON:
            return {**shown, "reply": json.loads(answer.payload)}
    except (ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        shown["unreadable"] = f"{type(error).__name__}: {error}"
    return {**shown, "base64": _base64(answer.payload)}


def _plain(value: Any) -> Any:
    """The value if JSON has it (None, text, numbers, lists, dictionaries), else its ``repr``."""
    return json.loads(json.dumps(value, default=repr, skipkeys=True))


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
