"""What this process sends: calls, events and agent operations, to agents here or elsewhere.

A message for an agent of this process is the object itself, handled in a task of its own. Anything else is serialized
for the reader's record and given to the protocol core. Which of the two it is, is asked again whenever a target is
lost before the message left, so that a call that was certainly not executed finds the agent's new home by itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from autogen_core import AgentId, CancellationToken, MessageContext, UnknownPayload

from zmqagents.config import RuntimeConfig
from zmqagents.errors import CallTimeoutError, RuntimeNotStartedError, SerializationError
from zmqagents.protocol import frames as f
from zmqagents.protocol.effects import Fate
from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of, short
from zmqagents.protocol.records import Record
from zmqagents.runtime.deadlines import set_deadline
from zmqagents.runtime.failures import from_wire, peer_lost, timed_out, undeliverable
from zmqagents.runtime.identities import agent_key, check_text
from zmqagents.runtime.limits import check_size
from zmqagents.runtime.operations import operate_here
from zmqagents.runtime.parking import Prompt
from zmqagents.runtime.tasks import Tasks
from zmqagents.runtime.way import Way
from zmqagents.transport.driver import Driver

if TYPE_CHECKING:
    from zmqagents.runtime.parts import Parts

logger = logging.getLogger("zmqagents")

JSON = "application/json"
MAX_LOST = 4  # homes of an idempotent call that may be lost one after the other, before its caller is told


@dataclass(slots=True)
class Call:
    """One call on its way. ``deadline_s`` is a time of the loop's clock."""

    recipient: AgentId
    key: AgentKey
    message: Any
    sender: AgentId | None
    token: CancellationToken | None
    message_id: str
    deadline_s: float | None


class _Tried(NamedTuple):
    """A call that was sent, to whom, and what came of it."""

    record: Record
    frame: f.Request
    outcome: f.Reply | f.Error | Fate


class _Ending(NamedTuple):
    """What a handler raised to end the program. It is the caller's; raised in a task, it would end the event loop."""

    error: BaseException


class Outbound:
    """Sends calls and agent operations for one running runtime."""

    def __init__(
        self,
        config: RuntimeConfig,
        driver: Driver,
        parts: Parts,
        tasks: Tasks,
        refresh_record: Callable[[], None],
    ) -> None:
        self._config = config
        self._driver = driver
        self._node = driver.node
        self._agents = parts.agents
        self._handling = parts.handling
        self._payloads = parts.payloads
        self._exceptions = parts.exceptions
        self._telemetry = parts.telemetry
        self._tasks = tasks
        self._refresh_record = refresh_record

    # -- the way to an agent -----------------------------------------------------------------------------------

    async def call(self, call: Call) -> Any:
        """Send a call to wherever its agent is; its answer, or the exception with which it ended."""
        self._refresh_record()
        node = self._node
        node_id = node.agency.locations.known(call.key)  # most calls need no more of a way than that
        if node_id is None or node_id == node.node_id:
            if node_id is not None and node.agency.arrivals.enter_active(call.key):
                return await self._call_here(call)
            return await self._call_on_way(call, None)
        record = node.membership.get(node_id)
        if record is None or not node.can_send(node_id):
            return await self._call_on_way(call, None)
        frame = self._request(call, record, 0)
        outcome = await self._exchange(node_id, frame, call.deadline_s, call.token)
        if type(outcome) is f.Reply:
            return self._read_reply(outcome, record, call.message)
        return await self._call_on_way(call, _Tried(record, frame, outcome))

    async def _call_on_way(self, call: Call, tried: _Tried | None) -> Any:
        """As ``call``, to an agent that is to be found first, or was not where it was sought."""
        way = Way(self._config, self._driver, call.key, call.deadline_s)
        lost = 0
        while True:
            if tried is not None:
                record, frame, outcome = tried
                if isinstance(outcome, f.Reply):
                    return self._read_reply(outcome, record, call.message)
                if outcome is Fate.PEER_LOST and lost < MAX_LOST and _may_run_twice(record, call.key, frame.type_name):
                    lost += 1
                elif not way.goes_on(record.node_id, outcome):
                    raise self._failure(outcome, call.key, record)
            tried = None
            node_id = await way.next()
            if node_id == self._node.node_id:
                if await way.enter():
                    return await self._call_here(call)
                continue
            reached = await self._with_room(node_id, call.deadline_s)
            if reached is None:
                way.node_gone(node_id)
                continue
            frame = self._request(call, reached, way.hops)
            outcome = await self._exchange(node_id, frame, call.deadline_s, call.token)
            tried = _Tried(reached, frame, outcome)

    async def _with_room(self, node_id: NodeId, deadline_s: float | None) -> Record | None:
        """The node's record once it has room for a call; None if it is gone."""
        if not self._node.can_send(node_id):
            await self._driver.wait_for_room(node_id, self._node.can_send, self._send_wait_s(deadline_s))
        return self._node.membership.get(node_id)

    def _way(self, key: AgentKey, deadline_s: float | None) -> Way:
        self._refresh_record()
        return Way(self._config, self._driver, key, deadline_s)

    async def where(self, key: AgentKey) -> NodeId:
        """The node to ask for the agent now. AgentNotFound after ``discovery_timeout_s``."""
        return await self._way(key, None).next()

    async def operate(self, operation: f.Operation, key: AgentKey, argument: Any = None) -> Any:
        """An operation on an agent, wherever it is; raises what it raises there, or how the call ended."""
        deadline_s = None
        if self._config.call_timeout_s is not None:
            deadline_s = self._driver.now_s + self._config.call_timeout_s
        way = self._way(key, deadline_s)
        while True:
            node_id = await way.next()
            if node_id == self._node.node_id:
                if await way.enter():
                    try:
                        return await operate_here(self._agents, operation, key, argument)
                    finally:
                        self._left(key)
                continue
            record = self._node.membership.get(node_id)
            if record is None:
                way.node_gone(node_id)
                continue
            outcome = await self._ask(record, operation, key, argument, deadline_s)
            if isinstance(outcome, f.Reply):
                return json.loads(bytes(outcome.payload)) if outcome.payload else None
            if not way.goes_on(node_id, outcome):
                raise self._failure(outcome, key, record)

    def _left(self, key: AgentKey) -> None:
        """A handler, or an operation, that ``Way.enter`` has let in has ended."""
        self._node.agency.arrivals.left(key)
        if self._node.state.effects:
            self._driver.perform()

    # -- calls -------------------------------------------------------------------------------------------------

    async def _call_here(self, call: Call) -> Any:
        context = MessageContext(
            sender=call.sender,
            topic_id=None,
            is_rpc=True,
            cancellation_token=call.token or CancellationToken(),
            message_id=call.message_id,
        )
        task = self._tasks.spawn(self._handle_here(call, context))
        task.add_done_callback(lambda _: self._left(call.key))
        answer = await (task if call.token is None and call.deadline_s is None else self._follow(task, call))
        if type(answer) is _Ending:
            raise answer.error
        return answer

    async def _handle_here(self, call: Call, context: MessageContext) -> Any:
        starting = None if call.deadline_s is None else partial(self._check_deadline, call)
        set_deadline(call.deadline_s)
        try:
            carrier = self._telemetry.carrier()
            return await self._handling.call(call.key, call.message, context, carrier, starting)
        except (KeyboardInterrupt, SystemExit) as error:
            return _Ending(error)

    def _check_deadline(self, call: Call) -> None:
        if call.deadline_s is not None and call.deadline_s <= self._driver.now_s:
            raise CallTimeoutError(f"the deadline of a call to {call.recipient} passed before its handler started")

    async def _follow(self, task: asyncio.Task[Any], call: Call) -> Any:
        """The task's outcome, unless the token is cancelled or the deadline passes before it.

        A cancelled token ends the caller's wait and not the handler, which has the same token: as in AutoGen's own
        runtime.
        """
        loop = asyncio.get_running_loop()
        followed: asyncio.Future[Any] = loop.create_future()
        task.add_done_callback(lambda done: relay_outcome(done, followed))
        timer = None
        if call.deadline_s is not None:
            error = timed_out(str(call.recipient), max(call.deadline_s - loop.time(), 0.0))
            timer = loop.call_at(call.deadline_s, _fail, followed, error)
        if call.token is not None:
            call.token.link_future(followed)
        try:
            return await followed
        except CallTimeoutError:
            if not task.done():
                task.cancel()
            raise
        except asyncio.CancelledError:
            if call.token is None or not call.token.is_cancelled():
                task.cancel()
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _request(self, call: Call, record: Record, hops: int) -> f.Request:
        """The REQUEST for the node of ``record``."""
        sender = agent_key(call.sender) if call.sender is not None else None
        type_name, content_type, payload = self._payloads.encode(call.message, record.readable)
        check_size(payload, self._config.max_message_bytes, record)
        check_text("the agent id", call.key)
        check_text("the message id", call.message_id)
        if sender is not None:
            check_text("the sender's agent id", sender)
        return f.Request(
            self._node.pending.next_id(),
            call.key,
            call.message_id,
            sender,
            type_name,
            content_type,
            None if call.deadline_s is None else self._remaining_ms(call.deadline_s),
            hops,
            self._telemetry.carrier() if self._telemetry.enabled else None,
            payload,
        )

    def _send_wait_s(self, deadline_s: float | None) -> float:
        if deadline_s is None:
            return self._config.send_timeout_s
        return min(self._config.send_timeout_s, max(deadline_s - self._driver.now_s, 0.0))

    def _remaining_ms(self, deadline_s: float | None) -> int | None:
        return None if deadline_s is None else max(math.ceil((deadline_s - self._driver.now_s) * 1_000), 0)

    async def _exchange(
        self,
        home: NodeId,
        frame: f.Request | f.Agent,
        deadline_s: float | None,
        token: CancellationToken | None,
    ) -> f.Reply | f.Error | Fate:
        """Send a call and wait for its outcome; a caller that gives up cancels it there too."""
        if self._driver.closed:
            raise RuntimeNotStartedError("the runtime was stopped before the message was sent")
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[f.Reply | f.Error | Fate]
        # A Prompt takes longer than a future of the loop's, which is all that calls among others are worth.
        answer = loop.create_future() if self._node.pending.calls else Prompt(loop=loop)
        if not self._node.call(home, frame, answer, deadline_s, self._driver.now_s):
            return Fate.UNDELIVERABLE
        self._driver.message_made(urgent=True)
        if token is not None:
            token.link_future(answer)
        try:
            return await answer
        except asyncio.CancelledError:
            self._node.cancel(frame.call_id)
            self._driver.schedule_flush()
            raise

    def _read_reply(self, reply: f.Reply, peer: Record, asked: Any) -> Any:
        """The answer to ``asked``; who asks without a class is answered without one."""
        message = self._payloads.decode(reply.type_name, reply.content_type, reply.payload)
        if type(message) is UnknownPayload and type(asked) is not UnknownPayload:
            raise SerializationError(
                f"{_label(peer)} answered with a {reply.type_name!r} as {reply.content_type}, which this"
                f" process can't read: import its class next to the message you sent, or register it with"
                f" runtime.add_message_serializer(try_get_known_serializers_for_type({reply.type_name}))"
            )
        return message

    def _failure(self, outcome: f.Error | Fate, key: AgentKey, peer: Record) -> BaseException:
        label = _label(peer)
        if isinstance(outcome, f.Error):
            return from_wire(self._exceptions, outcome, key, label)
        if outcome is Fate.DEADLINE:
            return CallTimeoutError(f"{key} on {label} did not answer before the call's deadline", peer=label)
        if outcome is Fate.UNDELIVERABLE:
            return undeliverable(f.Error(0, f.ErrorCode.UNDELIVERABLE, "", "It went away.", b""), key, label)
        return peer_lost(key, label)

    # -- agent operations --------------------------------------------------------------------------------------

    async def ask_node(self, node_id: NodeId, operation: f.Operation, argument: Any, timeout_s: float) -> Any:
        """Ask a node itself; its JSON answer. Raises how the call ended."""
        record = self._node.membership.get(node_id)
        if record is None:
            raise undeliverable(f.Error(0, f.ErrorCode.UNDELIVERABLE, "", "It went away.", b""), "", short(node_id))
        outcome = await self._ask(record, operation, "", argument, self._driver.now_s + timeout_s)
        if isinstance(outcome, f.Reply):
            return json.loads(bytes(outcome.payload)) if outcome.payload else None
        raise self._failure(outcome, "", record)

    async def _ask(
        self, record: Record, operation: f.Operation, key: AgentKey, argument: Any, deadline_s: float | None
    ) -> f.Reply | f.Error | Fate:
        payload = b"" if argument is None else _to_json(argument)
        check_size(payload, self._config.max_message_bytes, record)
        if not self._node.can_send(record.node_id):
            await self._driver.wait_for_room(record.node_id, self._node.can_send, self._send_wait_s(deadline_s))
        frame = f.Agent(self._node.pending.next_id(), operation, key, self._remaining_ms(deadline_s), payload)
        return await self._exchange(record.node_id, frame, deadline_s, None)


def _label(record: Record) -> str:
    """As ``Node.label``, and also for a node that is gone meanwhile."""
    return f"{record.instance_id} ({short(record.node_id)})" if record.instance_id else short(record.node_id)


def _may_run_twice(record: Record, key: AgentKey, type_name: str) -> bool:
    """Whether the node of ``record`` says that its handlers of the message type are idempotent."""
    hosted = record.types.get(agent_type_of(key))
    return hosted is not None and type_name in hosted.idempotent


def _to_json(value: Any) -> bytes:
    try:
        return json.dumps(value).encode()
    except (TypeError, ValueError) as error:
        raise SerializationError(f"an agent's state has to be JSON: {error}") from error


def relay_outcome(done: asyncio.Task[Any], followed: asyncio.Future[Any]) -> None:
    """Give ``followed`` the outcome of a task that is done, unless it has one of its own."""
    if done.cancelled():
        followed.cancel()
        return
    error = done.exception()
    if followed.done():
        return
    if error is not None:
        followed.set_exception(error)
    else:
        followed.set_result(done.result())


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
