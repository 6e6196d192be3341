"""What comes in from other processes: calls to serve, events, agent operations, and the outcomes of our own calls."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from autogen_core import AgentId, CancellationToken, MessageContext, TopicId, UnknownPayload
from autogen_core.exceptions import MessageDroppedException

from zmqagents.config import RuntimeConfig
from zmqagents.errors import MessageTooLargeError, SerializationError
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.protocol.membership import Change, MemberChange
from zmqagents.runtime.deadlines import set_deadline
from zmqagents.runtime.failures import wire_text
from zmqagents.runtime.identities import agent_id
from zmqagents.runtime.limits import check_size, limit_bytes
from zmqagents.runtime.operations import operate_here
from zmqagents.runtime.parking import Prompt
from zmqagents.runtime.publishing import Publishing
from zmqagents.runtime.states import States
from zmqagents.runtime.tasks import Tasks
from zmqagents.transport.driver import Driver

if TYPE_CHECKING:
    from zmqagents.runtime.parts import Parts

logger = logging.getLogger("zmqagents")


@dataclass(slots=True)
class _Served:
    """A call being handled here."""

    token: CancellationToken
    number: int
    """That of its task; 0 if the task tells its end by itself."""
    deadline_s: float | None = None
    started: bool = False
    """Whether its handler has been called; until then it can still be kept from it."""
    task: asyncio.Task[None] | None = None
    cancelled: bool = False

    def start(self, driver: Driver) -> None:
        """Its handler is about to be called. _TooLateError or CancelledError if it must not."""
        if self.cancelled:
            raise asyncio.CancelledError
        if self.deadline_s is not None and self.deadline_s <= driver.now_s:
            raise _TooLateError
        self.started = True


class _TooLateError(Exception):
    """The deadline of a call passed before its handler could be called."""


class Inbound:
    """The application behind a ``Driver``."""

    def __init__(
        self, config: RuntimeConfig, driver: Driver, parts: Parts, publishing: Publishing, tasks: Tasks
    ) -> None:
        self._config = config
        self._driver = driver
        self._node = driver.node
        self._publishing = publishing
        self._agents = parts.agents
        self._handling = parts.handling
        self._payloads = parts.payloads
        self._exceptions = parts.exceptions
        self._subscriptions = parts.subscriptions
        self._tasks = tasks
        self._states = States(parts.agents, config.max_message_bytes)
        self._operations: dict[int, Callable[[AgentKey, bytes], Awaitable[Any]]] = {
            f.Operation.METADATA: partial(self._on_agent, f.Operation.METADATA),
            f.Operation.SAVE_STATE: partial(self._on_agent, f.Operation.SAVE_STATE),
            f.Operation.LOAD_STATE: partial(self._on_agent, f.Operation.LOAD_STATE),
            f.Operation.ACTIVATE: partial(self._on_agent, f.Operation.ACTIVATE),
            f.Operation.MATCH: self._match,
            f.Operation.ADOPT: self._states.adopt,
        }

    # -- Application -------------------------------------------------------------------------------------------

    def on_incoming(self, peer: NodeId, number: int, frame: f.Request | f.Event | f.Agent | f.Cancel) -> None:
        """See Application."""
        if isinstance(frame, f.Request):
            self._serve(peer, frame)
        elif isinstance(frame, f.Event):
            self._publishing.deliver(peer, number, frame)
        elif isinstance(frame, f.Cancel):
            self._cancel(peer, frame)
        else:
            self._operate(peer, frame)

    def on_call_ended(self, token: Any, peer: NodeId, outcome: f.Reply | f.Error | Fate) -> None:
        """See Application. ``token`` is the future that the caller waits for."""
        del peer
        if self._driver.is_lone and type(token) is Prompt:
            self._driver.go_on_with(partial(token.resume, outcome))
        elif not token.done():
            token.set_result(outcome)

    def on_serving_ended(self, tokens: list[Any]) -> None:
        """See Application. The handlers go on, for what they do may matter; their answers have no reader."""
        logger.info("%d calls lost their caller; their handlers go on", len(tokens))

    def on_events_abandoned(self, peer: NodeId, events: int) -> None:
        """See Application."""
        logger.warning("%d events were unfinished at %s, which is lost", events, self._node.label(peer))

    def on_event_dead(self, event: f.Event, reason: str) -> None:
        """See Application."""
        self._publishing.bury(event, reason)

    def on_pack(self, key: AgentKey) -> None:
        """See Application."""
        self._tasks.spawn(self._pack(key))

    async def _pack(self, key: AgentKey) -> None:
        self._node.packed(key, await self._states.pack(key))
        self._driver.perform()

    def on_evicted(self, key: AgentKey, to: NodeId | None, lost: str) -> None:
        """See Application."""
        if lost:
            place = "nowhere" if to is None else f"to {self._node.label(to)}"
            logger.error("the state of %s, which moved %s, is lost: %s", key, place, lost)
        self._tasks.spawn(self._states.drop(key))

    def on_member_changed(self, change: MemberChange) -> None:
        """See Application."""
        if change.change is not Change.UPDATED:
            record = change.record
            logger.info("%s (%s) %s", record.instance_id, record.node_id[:4].hex(), change.change.name.lower())

    # -- calls -------------------------------------------------------------------------------------------------

    def _serve(self, peer: NodeId, request: f.Request) -> None:
        if request.timeout_ms == 0:
            self._refuse(peer, request.call_id, f.ErrorCode.DEADLINE, "")
            return
        try:
            message = self._payloads.decode(request.type_name, request.content_type, request.payload)
        except SerializationError as error:
            self._refuse(peer, request.call_id, f.ErrorCode.UNREADABLE, error)
            return
        if type(message) is UnknownPayload:
            text = (
                f"message type {request.type_name!r} as {request.content_type} is not known to the process that hosts"
                f" {request.agent}: register it there with runtime.add_message_serializer(...)"
            )
            self._refuse(peer, request.call_id, f.ErrorCode.UNREADABLE, text)
            return
        deadline_s = None if request.timeout_ms is None else self._driver.now_s + request.timeout_ms / 1_000
        served = _Served(CancellationToken(), self._tasks.number(), deadline_s)
        if not self._node.served.attach(peer, request.call_id, served):
            self._refuse(peer, request.call_id, f.ErrorCode.CANCELLED, "its caller is gone")
            return
        work = self._handle(peer, request, message, served)
        parked = self._tasks.start_parked(served.number, work) if self._driver.is_lone else None
        if parked is None:
            served.task = self._tasks.start(served.number, work)
        else:
            served.task, begin = parked
            self._driver.go_on_with(begin)

    def _refuse(self, peer: NodeId, call_id: int, code: f.ErrorCode, reason: object) -> None:
        """End a call whose handler is not started."""
        self._answer(peer, f.Error(call_id, code, "", wire_text(reason), b""))

    async def _handle(self, peer: NodeId, request: f.Request, message: Any, served: _Served) -> None:
        try:
            sender: AgentId | None = agent_id(request.sender) if request.sender is not None else None
            context = MessageContext(sender, None, True, served.token, request.message_id)
            set_deadline(served.deadline_s)
            starting = partial(served.start, self._driver)
            response = await self._handling.call(request.agent, message, context, request.context, starting)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises ends its call, as in AutoGen
            self._answer(peer, self._failure(peer, request.call_id, error))
        else:
            self._answer(peer, self._reply(peer, request, response))
        finally:
            self._tasks.end(served.number)

    def _reply(self, peer: NodeId, request: f.Request, response: Any) -> f.Reply | f.Error:
        record = self._node.membership.get(peer)
        try:
            type_name, content_type, payload = self._payloads.encode(response, record.readable if record else {})
            check_size(payload, self._config.max_message_bytes, record)
        except (SerializationError, MessageTooLargeError) as error:
            text = f"the handler of {request.agent} answered with what can't be sent: {error}"
            return f.Error(request.call_id, f.ErrorCode.UNSERIALIZABLE, "", wire_text(text), b"")
        return f.Reply(request.call_id, type_name, content_type, payload)

    def _failure(self, peer: NodeId, call_id: int, error: BaseException) -> f.Error:
        if isinstance(error, asyncio.CancelledError):
            return f.Error(call_id, f.ErrorCode.CANCELLED, "", wire_text(error), b"")
        if isinstance(error, _TooLateError):
            return f.Error(call_id, f.ErrorCode.DEADLINE, "", "", b"")
        if isinstance(error, MessageDroppedException):
            return f.Error(call_id, f.ErrorCode.DROPPED, "", wire_text(error), b"")
        limit = limit_bytes(self._config.max_message_bytes, self._node.membership.get(peer))
        return self._exceptions.encode(call_id, f.ErrorCode.RAISED, error, limit)

    def _answer(self, peer: NodeId, frame: f.Reply | f.Error) -> None:
        self._node.answer(peer, frame)
        self._driver.message_made(urgent=True)

    def _cancel(self, peer: NodeId, frame: f.Cancel) -> None:
        """The caller has given up: tell the handler by its token at once, and by its task if it goes on regardless.

        A handler that has not been called yet won't be.
        """
        served: _Served | None = self._node.served.get(peer, frame.call_id)
        if served is None or served.cancelled:
            return
        served.cancelled = True
        task = served.task
        if not served.started:
            if task is not None:
                task.cancel()
                task.add_done_callback(lambda _: self._tasks.end(served.number))  # it may not even have begun
            self._answer(peer, f.Error(frame.call_id, f.ErrorCode.CANCELLED, "", "", b""))
        elif task is not None and not task.done():
            timer = asyncio.get_running_loop().call_later(self._config.cancel_grace_s, task.cancel)
            task.add_done_callback(lambda _: timer.cancel())
        served.token.cancel()  # runs callbacks of the user's, which may raise

    # -- agent operations --------------------------------------------------------------------------------------

    def _operate(self, peer: NodeId, frame: f.Agent) -> None:
        operation = self._operations.get(frame.operation)
        if operation is None:
            reason = f"It does not know operation {frame.operation}."
            self._refuse(peer, frame.call_id, f.ErrorCode.UNDELIVERABLE, reason)
            return
        served = _Served(CancellationToken(), 0, started=True)
        self._node.served.attach(peer, frame.call_id, served)
        served.task = self._tasks.spawn(self._run(peer, frame, operation))

    async def _run(self, peer: NodeId, frame: f.Agent, operation: Callable[[AgentKey, bytes], Awaitable[Any]]) -> None:
        try:
            result = await operation(frame.agent, frame.payload)
        except BaseException as error:  # noqa: BLE001 - whatever an agent raises ends the call
            self._answer(peer, self._failure(peer, frame.call_id, error))
            return
        try:
            payload = b"" if result is None else json.dumps(result).encode()
            check_size(payload, self._config.max_message_bytes, self._node.membership.get(peer))
        except (TypeError, ValueError, RecursionError) as error:  # MessageTooLargeError among them
            text = wire_text(f"what {frame.agent} gave can't be sent: {error}")
            self._answer(peer, f.Error(frame.call_id, f.ErrorCode.UNSERIALIZABLE, "", text, b""))
            return
        self._answer(peer, f.Reply(frame.call_id, "", "application/json", payload))

    async def _on_agent(self, operation: f.Operation, key: AgentKey, argument: bytes) -> Any:
        given = json.loads(argument) if operation is f.Operation.LOAD_STATE else None
        result = await operate_here(self._agents, operation, key, given)
        return None if result is None else dict(result)

    async def _match(self, key: AgentKey, argument: bytes) -> Any:
        del key
        topic_type, topic_source = json.loads(argument)
        return self._subscriptions.match(TopicId(topic_type, topic_source))
