"""``ZmqAgentRuntime``: AutoGen's ``AgentRuntime`` over a cluster of processes.

Routes, and owns nothing but its parts.
"""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from contextvars import Context
from types import TracebackType
from typing import Any, TypeVar, cast

from autogen_core import (
    Agent,
    AgentId,
    AgentMetadata,
    AgentRuntime,
    AgentType,
    CancellationToken,
    InterventionHandler,
    MessageContext,
    MessageSerializer,
    Subscription,
    TopicId,
)
from autogen_core.exceptions import MessageDroppedException, NotAccessibleError
from autogen_core.logging import DeliveryStage, MessageKind
from opentelemetry.trace import TracerProvider
from typing_extensions import Self, Unpack

from zmqagents.config import Settings, make_config
from zmqagents.errors import CallTimeoutError, RuntimeNotStartedError
from zmqagents.protocol.frames import Operation
from zmqagents.protocol.ids import NodeId
from zmqagents.runtime.autogen_serializers import install_autogen_extension
from zmqagents.runtime.cluster import PeerInfo
from zmqagents.runtime.deadlines import current_deadline_s
from zmqagents.runtime.failures import AgentNotFound
from zmqagents.runtime.identities import agent_id, agent_key, check_text
from zmqagents.runtime.interventions import DROPPED
from zmqagents.runtime.lifecycle import Lifecycle
from zmqagents.runtime.message_ids import MessageIds
from zmqagents.runtime.operations import operate_here
from zmqagents.runtime.outbound import Call, relay_outcome
from zmqagents.runtime.parts import Parts, Running
from zmqagents.runtime.policies import hosted_type
from zmqagents.runtime.publishing import DeadLetter
from zmqagents.runtime.waiting_room import WaitingRoom

logger = logging.getLogger("autogen_core")

T = TypeVar("T", bound=Agent)

EXIT_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class ZmqAgentRuntime(AgentRuntime):
    """Runs AutoGen agents in this process, and reaches those of the cluster's other processes.

    Made synchronously, in or out of an event loop; register agents before or after ``start``. All settings are those of
    ``RuntimeConfig``, as keyword arguments.

    Raises ConfigError for a wrong setting, saying what to write instead.
    """

    def __init__(
        self,
        *,
        intervention_handlers: Sequence[InterventionHandler] | None = None,
        tracer_provider: TracerProvider | None = None,
        ignore_unhandled_exceptions: bool = True,
        exceptions: Iterable[type[BaseException]] = (),
        on_dead_letter: Callable[[DeadLetter], None] | None = None,
        **settings: Unpack[Settings],
    ) -> None:
        """``exceptions`` are classes that cross to other processes by name, besides Python's and AutoGen's.

        ``on_dead_letter`` is told of every event that could not reach an agent; it must not block.
        """
        install_autogen_extension()
        self.config = make_config(settings).labelled()
        self._parts = Parts(
            self,
            intervention_handlers=intervention_handlers,
            tracer_provider=tracer_provider,
            exceptions=exceptions,
            on_dead_letter=on_dead_letter,
            unhandled=self._unhandled,
        )
        self._ignore_unhandled = ignore_unhandled_exceptions
        self._message_ids = MessageIds()
        self._room = WaitingRoom(self._changed)
        self._sending = 0
        self._intervened = bool(self._parts.interventions)
        self._lifecycle = Lifecycle(self.config, self._parts, self._room)

    def __await__(self) -> Generator[Any, None, Self]:
        """The runtime itself: ``runtime = await create_distributed_runtime(...)`` works too."""
        return self._itself().__await__()

    async def _itself(self) -> Self:
        return self

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> Awaitable[None]:
        """Join the cluster; works awaited or not. Messages sent before it is done wait for it.

        Awaited, it returns once the processes that discovery has shown have told what they host, and raises what went
        wrong. RuntimeError if it is started already.
        """
        return self._lifecycle.start()

    async def stop(self) -> None:
        """Take no new work, let handlers finish (at most ``drain_timeout_s``), leave the cluster.

        RuntimeError if it is not started. Raises the first exception of an event handler if unhandled exceptions are
        not ignored.
        """
        await self._lifecycle.stop()

    async def stop_when_idle(self) -> None:
        """Stop once no handler runs here and all that this process has sent is answered or handled."""
        await self._lifecycle.stop_when(self._is_idle)

    async def stop_when(self, condition: Callable[[], bool], check_period: float = 1.0) -> None:
        """Stop once ``condition()`` holds; it is asked every ``check_period`` seconds."""
        self._lifecycle.require_started()
        while not condition():  # noqa: ASYNC110 - a condition of the user's, which nothing signals
            await asyncio.sleep(check_period)
        await self._lifecycle.stop()

    async def stop_when_signal(self, signals: Sequence[signal.Signals] = EXIT_SIGNALS) -> None:
        """Stop at the first of the signals. A second one has its usual effect."""
        await self._lifecycle.wait_until_stopped(signals)

    async def wait_until_stopped(self) -> None:
        """Return once the runtime has stopped, which SIGTERM and SIGINT make it do."""
        await self._lifecycle.wait_until_stopped(EXIT_SIGNALS)

    async def close(self) -> None:
        """Stop if it is started, and close every agent of this process."""
        if self._lifecycle.started:
            await self.stop()
        self._lifecycle.close()
        await self._parts.agents.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lifecycle.started:
            await self.stop()

    def _unhandled(self, error: BaseException) -> None:
        if not self._ignore_unhandled:
            self._lifecycle.background_exception(error)

    def _changed(self) -> None:
        running = self._lifecycle.running
        if running is not None:
            running.driver.changed()

    def _is_idle(self) -> bool:
        running = self._lifecycle.running
        return not self._sending and not self._room.busy and (running is None or running.is_idle())

    @property
    def unprocessed_messages_count(self) -> int:
        """Messages of this process that wait to be sent: before ``start``, or for intervention handlers."""
        return len(self._room)

    @property
    def dead_letters_count(self) -> int:
        """Events that could not reach an agent, since the last start."""
        running = self._lifecycle.running
        return running.publishing.dead_letters if running is not None else 0

    # -- messages ----------------------------------------------------------------------------------------------

    async def send_message(
        self,
        message: Any,
        recipient: AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
        timeout_s: float | None = None,
    ) -> Any:
        """Call an agent, wherever it lives, and return its answer.

        ``timeout_s`` sets a deadline (CallTimeoutError); ``call_timeout`` does so for code that can't pass it. Raises
        what the handler raised (RemoteCallError if its class is unknown here), UndeliverableException if no process
        hosts the type, PeerLost if the process went away, SerializationError, MessageTooLargeError,
        BackpressureError. An ``UnknownPayload`` goes out as the type, content type and bytes that it names, and the
        answer to it may be one.
        """
        log, telemetry = self._parts.log, self._parts.telemetry
        now_s = asyncio.get_running_loop().time()
        call = Call(
            recipient,
            agent_key(recipient),
            message,
            sender,
            cancellation_token,
            message_id or self._message_ids.next(),
            current_deadline_s(timeout_s, self.config.call_timeout_s, now_s),
        )
        logged = log.enabled()
        if logged:
            log.message(message, sender, recipient, MessageKind.DIRECT, DeliveryStage.SEND)
        running = self._direct()
        work = running.outbound.call(call) if running is not None else self._call_in_turn(call)
        self._sending += 1
        try:
            if telemetry.enabled:
                with telemetry.span("create", recipient, message=message):
                    answer = await work
            else:
                answer = await work
        finally:
            self._sending -= 1
            self._changed()
        if logged:
            log.message(answer, recipient, sender, MessageKind.RESPOND, DeliveryStage.DELIVER)
        if telemetry.enabled:
            with telemetry.span("ack", sender):
                return answer
        return answer

    async def publish_message(
        self,
        message: Any,
        topic_id: TopicId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> None:
        """Publish an event to every agent in the cluster that is subscribed to its topic, but its sender.

        Returns when it is on its way. Raises SerializationError and MessageTooLargeError before anything is sent, and
        BackpressureError, naming the process, if one of the receivers takes no more.
        """
        identity = message_id or self._message_ids.next()
        telemetry = self._parts.telemetry
        if self._parts.log.enabled():
            self._parts.log.message(message, sender, topic_id, MessageKind.PUBLISH, DeliveryStage.SEND)
        running = self._direct()
        publish = running.publishing.publish if running is not None else self._publish_in_turn
        work = publish(message, topic_id, sender, cancellation_token, identity)
        self._sending += 1
        try:
            if telemetry.enabled:
                with telemetry.span("create", topic_id, message=message):
                    await work
            else:
                await work
        finally:
            self._sending -= 1
            self._changed()

    def _direct(self) -> Running | None:
        """The running parts, if a message may go out at once; None if it has to wait its turn."""
        lifecycle = self._lifecycle
        lifecycle.check_process()
        return None if self._intervened or self._room.busy else lifecycle.joined

    async def _call_in_turn(self, call: Call) -> Any:
        self._lifecycle.check_start_can_come()
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

        async def admit(context: Context) -> None:
            if answer.done():
                return
            if self._parts.interventions:
                token = call.token or CancellationToken()
                message_context = MessageContext(call.sender, None, True, token, call.message_id)
                changed = await self._parts.interventions.on_send(call.message, message_context, call.recipient)
                if changed is DROPPED:
                    self._parts.log.dropped(call.message, call.sender, call.recipient, MessageKind.DIRECT)
                    raise MessageDroppedException
                call.message = changed
            running = self._require_running()
            task = running.tasks.spawn(running.outbound.call(call), context)
            task.add_done_callback(lambda done: relay_outcome(done, answer))
            answer.add_done_callback(lambda done: task.cancel() if done.cancelled() else None)

        def refuse(error: BaseException) -> None:
            if not answer.done():
                answer.set_exception(error)

        await self._room.enter(admit, refuse)
        if call.token is not None:
            call.token.link_future(answer)
        if call.deadline_s is None:
            return await answer
        loop = asyncio.get_running_loop()
        error = CallTimeoutError(f"the call to {call.key} had not left this process when its deadline passed")
        timer = loop.call_at(call.deadline_s, refuse, error)
        try:
            return await answer
        finally:
            timer.cancel()

    async def _publish_in_turn(
        self,
        message: Any,
        topic: TopicId,
        sender: AgentId | None,
        token: CancellationToken | None,
        message_id: str,
    ) -> None:
        async def admit(context: Context) -> None:
            outgoing = message
            if self._parts.interventions:
                message_context = MessageContext(sender, topic, False, token or CancellationToken(), message_id)
                outgoing = await self._parts.interventions.on_publish(message, message_context)
                if outgoing is DROPPED:
                    self._parts.log.dropped(message, sender, topic, MessageKind.PUBLISH)
                    return
            running = self._require_running()
            work = running.publishing.publish(outgoing, topic, sender, token, message_id)
            running.tasks.spawn(work, context).add_done_callback(self._publishing_ended)

        await self._room.enter(admit, self._publish_refused)

    def _publishing_ended(self, task: asyncio.Task[Any]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is not None:
            self._publish_refused(error)
            self._unhandled(error)

    def _publish_refused(self, error: BaseException) -> None:
        logger.error("an event could not be published: %s", error, exc_info=error)

    # -- registration ------------------------------------------------------------------------------------------

    async def register_factory(
        self,
        type: str | AgentType,
        agent_factory: Callable[[], T | Awaitable[T]],
        *,
        expected_class: type[T] | None = None,
    ) -> AgentType:
        """Host an agent type in this process; other processes may host it too, and share its agents.

        ValueError if no AgentId can have the type, or it is hosted here already; SerializationError if nobody can
        serialize a message that ``expected_class`` handles; ConfigError if the class lacks what its placement asks for.
        """
        agent_type = type if isinstance(type, AgentType) else AgentType(type)
        check_text("the agent type", AgentId(agent_type, "any").type)
        hosted_type(self.config, agent_type.type, expected_class)  # raises here what nobody could be told of later
        if expected_class is not None:
            self._parts.payloads.add_handler_class(expected_class)
        self._parts.agents.add_factory(agent_type.type, agent_factory, expected_class)
        self._record_changed()
        return agent_type

    async def register_agent_instance(self, agent_instance: Agent, agent_id: AgentId) -> AgentId:
        """Pin one agent to this process."""
        check_text("the agent id", agent_key(agent_id))
        self._parts.payloads.add_handler_class(agent_instance.__class__)
        await self._parts.agents.add_instance(agent_instance, agent_id)
        self._record_changed()
        return agent_id

    def register_exception(self, *classes: type[BaseException]) -> None:
        """Let exceptions of these classes cross to and from other processes under their own name."""
        for cls in classes:
            self._parts.exceptions.add(cls)

    async def add_subscription(self, subscription: Subscription) -> None:
        """Subscribe, for the whole cluster. ValueError if an equal subscription was added here before."""
        self._parts.subscriptions.add(subscription)
        self._record_changed()

    async def remove_subscription(self, id: str) -> None:
        """Remove a subscription that was added in this process. ValueError if there is none of that id."""
        self._parts.subscriptions.remove(id)
        self._record_changed()

    def add_message_serializer(self, serializer: MessageSerializer[Any] | Sequence[MessageSerializer[Any]]) -> None:
        """Let messages be read and written by this serializer; most classes need none."""
        self._parts.payloads.add(serializer)
        self._record_changed()

    def _record_changed(self) -> None:
        self._lifecycle.check_process()
        running = self._lifecycle.running
        if running is not None:
            running.record_changed()

    # -- agents ------------------------------------------------------------------------------------------------

    async def get(
        self, id_or_type: AgentId | AgentType | str, /, key: str = "default", *, lazy: bool = True
    ) -> AgentId:
        """The AgentId; not ``lazy``, the agent is made at its home if it doesn't exist yet."""
        if isinstance(id_or_type, AgentId):
            identity = id_or_type
        else:
            identity = AgentId(id_or_type, key)
        if not lazy:
            await self._operate(identity, Operation.ACTIVATE)
        return identity

    async def try_get_underlying_agent_instance(self, id: AgentId, type: type[T] = Agent) -> T:  # type: ignore[assignment]
        """The agent's object.

        NotAccessibleError if it lives in another process; LookupError, TypeError as AutoGen's.
        """
        home = await self._home_of(id)
        if home is not None:
            raise NotAccessibleError(f"{id} lives in another process: {self._require_running().node.label(home)}")
        agent = await self._parts.agents.get(agent_key(id))
        if not isinstance(agent, type):
            raise TypeError(
                f"Agent with name {id.type} is not of type {type.__name__}. It is of type {agent.__class__.__name__}"
            )
        return agent

    async def agent_metadata(self, agent: AgentId) -> AgentMetadata:
        """The agent's metadata, wherever it lives."""
        return cast("AgentMetadata", await self._operate(agent, Operation.METADATA))

    async def agent_save_state(self, agent: AgentId) -> Mapping[str, Any]:
        """The agent's state, wherever it lives; it has to be JSON if that is another process."""
        return cast("Mapping[str, Any]", await self._operate(agent, Operation.SAVE_STATE))

    async def agent_load_state(self, agent: AgentId, state: Mapping[str, Any]) -> None:
        """Give the agent a state, wherever it lives."""
        await self._operate(agent, Operation.LOAD_STATE, dict(state))

    async def save_state(self) -> Mapping[str, Any]:
        """The states of this process's agents, by ``type/key``."""
        return await self._parts.agents.save_state()

    async def load_state(self, state: Mapping[str, Any]) -> None:
        """Give saved states back to the agents whose type this process hosts; others are left out."""
        await self._parts.agents.load_state(state)

    async def _operate(self, agent: AgentId, operation: Operation, argument: Any = None) -> Any:
        self._lifecycle.check_process()
        running = self._lifecycle.joined
        if running is not None:
            return await running.outbound.operate(operation, agent_key(agent), argument)
        self._require_known(agent)
        return await operate_here(self._parts.agents, operation, agent_key(agent), argument)

    async def _home_of(self, agent: AgentId) -> NodeId | None:
        """The other process where the agent lives; None if it is this one. AgentNotFound, which is a LookupError."""
        self._lifecycle.check_process()
        running = self._lifecycle.joined
        if running is None:
            self._require_known(agent)
            return None
        home = await running.outbound.where(agent_key(agent))
        return None if home == running.node.node_id else home

    def _require_known(self, agent: AgentId) -> None:
        if not self._parts.agents.knows_type(agent.type):
            raise AgentNotFound(f"Agent with name {agent.type} not found.")

    # -- the cluster -------------------------------------------------------------------------------------------

    def peers(self) -> list[PeerInfo]:
        """The other processes of the cluster, as this one sees them. RuntimeNotStartedError before ``start``."""
        return self._require_running().cluster.peers()

    async def recipients(self, topic_id: TopicId) -> list[AgentId]:
        """The agents, in whatever process, that an event on the topic would go to now."""
        await self._lifecycle.wait_until_joined()
        return [agent_id(key) for key in await self._require_running().publishing.recipients(topic_id)]

    async def wait_for_agents(self, type: str | AgentType, count: int = 1, timeout_s: float = 30.0) -> None:
        """Wait until ``count`` processes, this one counted, host the type. TimeoutError after ``timeout_s``."""
        agent_type = type.type if isinstance(type, AgentType) else type
        await self._lifecycle.wait_until_joined()
        running = self._require_running()
        running.refresh_record()
        directory = running.node.directory
        if not await running.driver.wait_until(lambda: directory.process_count(agent_type) >= count, timeout_s):
            raise TimeoutError(
                f"{directory.process_count(agent_type)} processes of cluster {self.config.cluster!r} host agent type"
                f" {agent_type!r} after {timeout_s:g} s, where {count} were waited for"
            )

    def _require_running(self) -> Running:
        self._lifecycle.check_process()
        running = self._lifecycle.running
        if running is None:
            raise RuntimeNotStartedError("the runtime is not started: call runtime.start() first")
        return running
