"""The structured log records of AutoGen (logger ``autogen_core.events``), the same as its own runtime writes.

Nothing is formatted unless somebody listens.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from autogen_core import EVENT_LOGGER_NAME, AgentId, TopicId
from autogen_core.logging import (
    AgentConstructionExceptionEvent,
    DeliveryStage,
    MessageDroppedEvent,
    MessageEvent,
    MessageHandlerExceptionEvent,
    MessageKind,
)

from zmqagents.runtime.serialization import PayloadRegistry

_logger = logging.getLogger(EVENT_LOGGER_NAME)


class EventLog:
    """Writes AutoGen's event records."""

    def __init__(self, payloads: PayloadRegistry) -> None:
        self._payloads = payloads
        self.enabled: Callable[[], bool] = partial(_logger.isEnabledFor, logging.INFO)
        """Whether anybody listens."""

    def text_of(self, message: Any) -> str:
        """The message as JSON text, for records and spans."""
        return self._payloads.to_log_text(message)

    def message(
        self,
        message: Any,
        sender: AgentId | None,
        receiver: AgentId | TopicId | None,
        kind: MessageKind,
        stage: DeliveryStage,
    ) -> None:
        """A message was sent or delivered."""
        text = self.text_of(message)
        _logger.info(MessageEvent(payload=text, sender=sender, receiver=receiver, kind=kind, delivery_stage=stage))

    def dropped(
        self, message: Any, sender: AgentId | None, receiver: AgentId | TopicId | None, kind: MessageKind
    ) -> None:
        """An intervention handler dropped a message."""
        if self.enabled():
            text = self.text_of(message)
            _logger.info(MessageDroppedEvent(payload=text, sender=sender, receiver=receiver, kind=kind))

    def handler_exception(self, message: Any, agent: AgentId, error: BaseException) -> None:
        """A handler raised."""
        if self.enabled():
            text = self.text_of(message)
            _logger.info(MessageHandlerExceptionEvent(payload=text, handling_agent=agent, exception=error))

    def construction_exception(self, agent: AgentId, error: BaseException) -> None:
        """A factory raised."""
        if self.enabled():
            _logger.info(AgentConstructionExceptionEvent(agent_id=agent, exception=error))
