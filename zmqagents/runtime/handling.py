"""Messages meeting agents: one handler call, with its log records, spans and interventions.

The same for a message from this process and from another, so that an agent can't tell the difference.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

from autogen_core import Agent, AgentId, MessageContext, MessageHandlerContext
from autogen_core.exceptions import MessageDroppedException
from autogen_core.logging import DeliveryStage, MessageKind

from zmqagents.protocol.ids import AgentKey
from zmqagents.runtime.activation import Agents
from zmqagents.runtime.deadlines import set_deadline
from zmqagents.runtime.event_log import EventLog
from zmqagents.runtime.identities import agent_id
from zmqagents.runtime.interventions import DROPPED, Interventions
from zmqagents.runtime.telemetry import Operation, Telemetry

logger = logging.getLogger("autogen_core")


_enter_handler = MessageHandlerContext._MESSAGE_HANDLER_CONTEXT.set  # noqa: SLF001 - see below
"""What AutoGen's ``populate_context`` does, without undoing it: each handler has a task, and so a context, of its
own."""


class Handling:
    """Calls handlers. ``unhandled`` is told of the exceptions of event handlers, which nobody waits for."""

    def __init__(
        self,
        agents: Agents,
        log: EventLog,
        telemetry: Telemetry,
        interventions: Interventions,
        unhandled: Callable[[BaseException], None],
    ) -> None:
        self._agents = agents
        self._log = log
        self._telemetry = telemetry
        self._interventions = interventions
        self._intervened = bool(interventions)
        self._unhandled = unhandled

    async def call(
        self,
        key: AgentKey,
        message: Any,
        context: MessageContext,
        carrier: Mapping[str, str] | None,
        starting: Callable[[], None] | None = None,
    ) -> Any:
        """The handler's answer; raises what the handler raised, or MessageDroppedException.

        ``starting`` is called when all is there and nothing but the handler follows; what it raises keeps it from that.
        """
        identity = agent_id(key)
        logged = self._log.enabled()
        if logged:
            self._log.message(message, context.sender, identity, MessageKind.DIRECT, DeliveryStage.DELIVER)
        try:
            agent = self._agents.ready(key) or await self._agents.get(key)
            if starting is not None:
                starting()
            if self._telemetry.enabled:
                response = await self._traced(agent, identity, message, context, carrier)
            else:
                _enter_handler(identity)
                response = await agent.on_message(message, ctx=context)
        except BaseException as error:
            self._log.handler_exception(message, identity, error)
            raise
        if logged:
            self._log.message(response, identity, context.sender, MessageKind.RESPOND, DeliveryStage.SEND)
        if self._intervened:
            response = await self._intervene(response, identity, context.sender)
        return response

    async def _intervene(self, response: Any, sender: AgentId, recipient: AgentId | None) -> Any:
        changed = await self._interventions.on_response(response, sender, recipient)
        if changed is DROPPED:
            self._log.dropped(response, sender, recipient, MessageKind.RESPOND)
            raise MessageDroppedException
        return changed

    async def event(
        self, key: AgentKey, message: Any, context: MessageContext, carrier: Mapping[str, str] | None
    ) -> None:
        """Let the agent handle an event, in a task of its own; its exception is logged and told to ``unhandled``."""
        identity = agent_id(key)
        set_deadline(None)  # that of whoever started this task: nobody waits for it
        if self._log.enabled():
            self._log.message(message, context.sender, None, MessageKind.PUBLISH, DeliveryStage.DELIVER)
        try:
            agent = self._agents.ready(key) or await self._agents.get(key)
        except BaseException as error:  # noqa: BLE001 - nobody waits for an event: ``unhandled`` decides
            self._unhandled(error)
            return
        try:
            if self._telemetry.enabled:
                await self._traced(agent, identity, message, context, carrier)
            else:
                _enter_handler(identity)
                await agent.on_message(message, ctx=context)
        except BaseException as error:
            logger.exception("Error processing publish message for %s", identity)
            self._log.handler_exception(message, identity, error)
            self._unhandled(error)

    async def _traced(
        self, agent: Agent, identity: AgentId, message: Any, context: MessageContext, carrier: Mapping[str, str] | None
    ) -> Any:
        kind: Operation = "send" if context.is_rpc else "publish"
        place = identity if context.topic_id is None else context.topic_id
        attributes = {
            "recipient_agent_type": identity.type,
            "recipient_agent_class": type(agent).__name__,
            "message_context": _context_text(context),
            "message": self._log.text_of(message),
        }
        if context.sender is not None:
            attributes["sender_agent_type"] = context.sender.type
        with (
            self._telemetry.span(kind, place, carrier=carrier),
            self._telemetry.span("process", identity, carrier=carrier, nested=True, attributes=attributes),
            MessageHandlerContext.populate_context(identity),
        ):
            return await agent.on_message(message, ctx=context)


def _context_text(context: MessageContext) -> str:
    return json.dumps(
        {
            "sender": str(context.sender),
            "topic_id": str(context.topic_id),
            "is_rpc": context.is_rpc,
            "message_id": context.message_id,
        }
    )
