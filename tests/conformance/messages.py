"""What the agents of this suite say to each other: at module level, so that another process can read it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from autogen_core import AgentId, FunctionCall, MessageContext
from autogen_core.models import FunctionExecutionResult
from pydantic import BaseModel


@dataclass
class Text:
    content: str


@dataclass
class Number:
    value: int


class Line(BaseModel):
    """One line of an Order."""

    item: str
    count: int


class Order(BaseModel):
    """A nested Pydantic message."""

    lines: list[Line]


VOCABULARY: Sequence[type[Any]] = (Text, Number, Order, FunctionCall, FunctionExecutionResult)


@dataclass
class Received:
    """What a handler saw, kept for the test; it never travels."""

    agent: AgentId
    message: Any
    ctx: MessageContext
