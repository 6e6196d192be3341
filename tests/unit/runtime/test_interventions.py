"""The chain of intervention handlers."""

from __future__ import annotations

from typing import Any

import pytest
from autogen_core import AgentId, CancellationToken, DefaultInterventionHandler, DropMessage, MessageContext

from zmqagents.runtime.interventions import DROPPED, Interventions
from zmqagents.runtime.telemetry import Telemetry

CONTEXT = MessageContext(None, None, True, CancellationToken(), "m1")
RECIPIENT = AgentId("worker", "default")


class Handler(DefaultInterventionHandler):
    """Answers what it was made with, and remembers what it was asked."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.seen: list[Any] = []

    async def on_send(self, message: Any, *, message_context: MessageContext, recipient: AgentId) -> Any:
        self.seen.append(message)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def chain(*handlers: Handler) -> Interventions:
    return Interventions(handlers, Telemetry(None))


async def sent(*handlers: Handler) -> Any:
    return await chain(*handlers).on_send("original", CONTEXT, RECIPIENT)


def test_chain_is_true_only_if_there_is_a_handler() -> None:
    assert not Interventions(None, Telemetry(None))
    assert chain(Handler("x"))


async def test_every_handler_sees_the_original_and_the_last_one_wins() -> None:
    first, second = Handler("one"), Handler("two")
    assert await sent(first, second) == "two"
    assert (first.seen, second.seen) == (["original"], ["original"])


@pytest.mark.parametrize("drop", [DropMessage, DropMessage()], ids=["the class", "an instance"])
async def test_message_dropped_by_one_handler_is_not_shown_to_the_next(drop: Any) -> None:
    second = Handler("two")
    assert await sent(Handler(drop), second) is DROPPED
    assert second.seen == []


async def test_handler_that_returns_none_is_warned_of_and_changes_nothing() -> None:
    with pytest.warns(RuntimeWarning, match="on_send returned None"):
        assert await sent(Handler("one"), Handler(None)) == "one"


async def test_what_a_handler_raises_comes_out() -> None:
    with pytest.raises(ValueError, match="refused"):
        await sent(Handler(ValueError("refused")))


async def test_handlers_of_publish_and_response_leave_messages_alone_by_default() -> None:
    interventions = chain(Handler("x"))
    assert await interventions.on_publish("event", CONTEXT) == "event"
    assert await interventions.on_response("answer", RECIPIENT, None) == "answer"
