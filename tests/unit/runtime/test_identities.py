"""AutoGen's ids as texts, and what may stand on the wire."""

from __future__ import annotations

import pytest
from autogen_core import AgentId

from zmqagents.errors import SerializationError
from zmqagents.runtime import identities
from zmqagents.runtime.identities import MAX_TEXT_CHARS, agent_id, agent_key, check_text


@pytest.mark.parametrize("key", ["default", "", "a/b/c", "ü", " "])
def test_id_survives_the_way_there_and_back(key: str) -> None:
    assert agent_id(agent_key(AgentId("worker", key))) == AgentId("worker", key)


@pytest.mark.parametrize("text", ["", "worker", "no type!/key", "/key"])
def test_text_that_is_no_id_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        agent_id(text)


def test_cache_of_ids_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(identities, "MAX_CACHED", 10)
    monkeypatch.setattr(identities, "_ids", {})
    for number in range(100):
        assert agent_id(f"worker/{number}").key == str(number)
        assert len(identities._ids) <= 10


@pytest.mark.parametrize("text", ["", "x" * MAX_TEXT_CHARS, "ü" * MAX_TEXT_CHARS])
def test_text_within_the_bound_passes(text: str) -> None:
    assert check_text("the topic", text) == text


def test_text_that_is_too_long_is_an_error_with_both_figures() -> None:
    with pytest.raises(SerializationError, match=r"^the topic has 1,025 characters, over the limit of 1,024"):
        check_text("the topic", "x" * 1_025)


def test_text_that_is_not_unicode_is_an_error_that_names_it() -> None:
    with pytest.raises(SerializationError, match=r"^the topic '\\ud800' can't be written as UTF-8"):
        check_text("the topic", "\ud800")
