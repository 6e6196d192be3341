"""The bench: the runtimes of one test, behind one face for each kind.

``autogen`` is AutoGen's own SingleThreadedAgentRuntime: the oracle. ``single`` is one ZmqAgentRuntime in which
everything lives. ``pair`` is two of one cluster, over loopback TCP: agents are registered on ``host``, and calls and
publishes start at ``caller``. For the first two both names mean the same object.

Waits are bounded here, so that a test that would hang fails instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Literal, Protocol, TypeVar, cast

from autogen_core import (
    AgentId,
    AgentRuntime,
    CancellationToken,
    SingleThreadedAgentRuntime,
    TopicId,
    try_get_known_serializers_for_type,
)

from .messages import VOCABULARY

Kind = Literal["autogen", "single", "pair"]
LOCAL: tuple[Kind, ...] = ("autogen", "single")  # where the caller and the agent share a process
OURS: tuple[Kind, ...] = ("single", "pair")  # where AutoGen's runtime is known not to keep its own documentation
REMOTE: tuple[Kind, ...] = ("pair",)

DEADLINE_S = 10.0  # far beyond what any step needs: reaching it is a failure, not a measurement
# A call to a type that nobody hosts should fail soon; in a pair it must still outlast the meeting of the two.
DISCOVERY_TIMEOUT_S: dict[Kind, float] = {"single": 0.2, "pair": 1.0}

T = TypeVar("T")


class Runtime(AgentRuntime, Protocol):
    """What AutoGen's runtime and ours both offer beyond the AgentRuntime protocol."""

    @property
    def unprocessed_messages_count(self) -> int: ...
    def start(self) -> Awaitable[object] | None: ...
    async def stop(self) -> None: ...
    async def stop_when_idle(self) -> None: ...
    async def stop_when(self, condition: Callable[[], bool]) -> None: ...
    async def close(self) -> None: ...


class ClusterRuntime(Runtime, Protocol):
    """What only ours offers, as far as the suite needs it."""

    async def wait_for_agents(self, type: str, count: int, timeout_s: float) -> object: ...  # noqa: A002


async def within(awaitable: Awaitable[T]) -> T:
    """Await with the suite's deadline; raises TimeoutError past it."""
    return await asyncio.wait_for(awaitable, DEADLINE_S)


async def started(runtime: Runtime) -> None:
    """Start a runtime whose ``start`` may or may not be awaitable."""
    starting = runtime.start()
    if inspect.isawaitable(starting):
        await within(starting)


def address(agent: str | AgentId) -> AgentId:
    """Read ``"worker"`` as ``worker/default``."""
    return agent if isinstance(agent, AgentId) else AgentId(agent, "default")


class Bench:
    """The runtimes of one test; ``options`` go to each of them."""

    def __init__(self, kind: Kind, **options: Any) -> None:
        self.kind = kind
        self.runtimes = _runtimes(kind, options)
        self.host, self.caller = self.runtimes[0], self.runtimes[-1]
        for runtime in self.runtimes:
            for message_type in VOCABULARY:
                runtime.add_message_serializer(try_get_known_serializers_for_type(message_type))

    @property
    def is_remote(self) -> bool:
        """Whether the caller is another process's runtime than the host."""
        return self.host is not self.caller

    async def start(self, *types: str) -> None:
        """Start, and return when every runtime knows who hosts each of ``types``."""
        for runtime in self.runtimes:
            await started(runtime)
        await self.known(*types)

    async def known(self, *types: str) -> None:
        """Return when every runtime knows who hosts each of ``types``."""
        if self.is_remote:
            for runtime in self.runtimes:
                for agent_type in types:
                    await within(cast("ClusterRuntime", runtime).wait_for_agents(agent_type, 1, DEADLINE_S))

    async def call(
        self,
        message: object,
        recipient: str | AgentId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> Any:
        """``send_message`` from the caller."""
        return await within(
            self.caller.send_message(
                message,
                address(recipient),
                sender=sender,
                cancellation_token=cancellation_token,
                message_id=message_id,
            )
        )

    async def publish(
        self,
        message: object,
        topic: TopicId,
        *,
        sender: AgentId | None = None,
        cancellation_token: CancellationToken | None = None,
        message_id: str | None = None,
    ) -> None:
        """``publish_message`` from the caller."""
        await within(
            self.caller.publish_message(
                message, topic, sender=sender, cancellation_token=cancellation_token, message_id=message_id
            )
        )

    async def idle(self) -> None:
        """Stop when everything that was sent has taken effect: who publishes first, then who handles."""
        for runtime in reversed(self.runtimes):
            await within(runtime.stop_when_idle())

    async def close(self) -> None:
        """End whatever still runs, each runtime whatever happened to the others."""
        async with contextlib.AsyncExitStack() as stack:
            for runtime in self.runtimes:
                stack.push_async_callback(within, runtime.close())


def _runtimes(kind: Kind, options: dict[str, Any]) -> list[Runtime]:
    if kind == "autogen":
        return [cast("Runtime", SingleThreadedAgentRuntime(**options))]
    from zmqagents import ZmqAgentRuntime  # late: without it the oracle still runs, and ours fail

    cluster = f"conformance-{uuid.uuid4().hex[:12]}"
    options = {"discovery_timeout_s": DISCOVERY_TIMEOUT_S[kind], **options}
    if kind == "single":
        return [cast("Runtime", ZmqAgentRuntime(cluster=cluster, discovery="none", **options))]
    return [cast("Runtime", ZmqAgentRuntime(cluster=cluster, **options)) for _ in range(2)]
