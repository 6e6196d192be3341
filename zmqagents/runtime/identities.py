"""AutoGen's ids to the texts of the wire and back, without paying for AutoGen's check of each one every time."""

from __future__ import annotations

from autogen_core import AgentId

from zmqagents.errors import SerializationError
from zmqagents.protocol.ids import AgentKey

MAX_CACHED = 100_000  # about 30 MiB; beyond it the cache starts anew

MAX_TEXT_CHARS = 1_024  # SPEC.md section 2, for agent ids; the same for message ids, topics and types

_ids: dict[AgentKey, AgentId] = {}


def check_text(what: str, text: str) -> str:
    """``text``, if it can stand on the wire. SerializationError, naming ``what``, otherwise."""
    if len(text) > MAX_TEXT_CHARS:
        raise SerializationError(f"{what} has {len(text):,} characters, over the limit of {MAX_TEXT_CHARS:,}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise SerializationError(f"{what} {text!r:.80} can't be written as UTF-8: {error.reason}") from error
    return text


def agent_key(agent_id: AgentId) -> AgentKey:
    """``type/key``."""
    return str(agent_id)


def agent_id(key: AgentKey) -> AgentId:
    """The AgentId of ``type/key``. ValueError if AutoGen allows no such type."""
    known = _ids.get(key)
    if known is None:
        if len(_ids) >= MAX_CACHED:
            _ids.clear()
        known = _ids[key] = AgentId.from_str(key)
    return known
