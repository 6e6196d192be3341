"""A process of a cluster that calls, publishes and tells what it sees as the test commands."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

from autogen_core import AgentId, TopicId, TypeSubscription

from tests.integration.fault_messages import Add
from tests.integration.messages import Number, Text
from tests.integration.programs.fault_agents import KINDS, Listener, Tally
from tests.integration.programs.reporting import SETTINGS, Commands, report
from zmqagents import ZmqAgentRuntime

Command: TypeAlias = Callable[..., Awaitable[Any]]


class Actor:
    """The commands, by name. What one returns is the ``value`` of a report with its ``label``, or else its name."""

    def __init__(self, runtime: ZmqAgentRuntime) -> None:
        self._runtime = runtime
        self._resting = False

    async def call(self, agent_type: str, key: str, number: int, timeout_s: float | None = None) -> dict[str, Any]:
        """One call with a Number: its answer or the name of what it raised, and when it ended."""
        try:
            answer = await self._runtime.send_message(Number(number), AgentId(agent_type, key), timeout_s=timeout_s)
            return {"answer": answer.value, "at_s": time.monotonic()}
        except Exception as error:  # noqa: BLE001 - which one is what the test asks
            return {"error": type(error).__name__, "text": str(error), "at_s": time.monotonic()}

    async def add(self, keys: list[str], number: int, timeout_s: float | None = None) -> dict[str, Any]:
        """One call to the tally of each key at once: process id and count by key, or what was raised, and when."""
        began_s = time.monotonic()
        calls = [self._runtime.send_message(Add(number), AgentId("tally", key), timeout_s=timeout_s) for key in keys]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        return {
            "answers": {
                key: type(answer).__name__ if isinstance(answer, BaseException) else [answer.pid, answer.total]
                for key, answer in zip(keys, answers, strict=True)
            },
            "took_s": time.monotonic() - began_s,
        }

    async def keep_adding(
        self, keys: list[str], seconds: float, every_s: float, agent_type: str = "tally"
    ) -> dict[str, Any]:
        """Calls to the tallies in turn, without waiting for the answers, until the time is up or ``rest``.

        Returns how many there were, what went wrong, and how long the slowest took.
        """
        sent: Counter[str] = Counter()
        calls: list[asyncio.Future[float]] = []
        async for number in self._turns(seconds, every_s):
            key = keys[number % len(keys)]
            sent[key] += 1
            calls.append(asyncio.ensure_future(self._timed(Add(number), AgentId(agent_type, key))))
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        return {
            "sent": sent,
            "failed": [repr(outcome) for outcome in outcomes if isinstance(outcome, BaseException)],
            "slowest_s": max((outcome for outcome in outcomes if isinstance(outcome, float)), default=0.0),
        }

    async def _timed(self, message: Add, target: AgentId) -> float:
        began_s = time.monotonic()
        await self._runtime.send_message(message, target)
        return time.monotonic() - began_s

    async def keep_publishing(self, topic: str, source: str, seconds: float, every_s: float) -> int:
        """Events, numbered, until the time is up or ``rest``: how many."""
        count = 0
        async for number in self._turns(seconds, every_s):
            await self._runtime.publish_message(Text(f"{number:08}"), TopicId(topic, source))
            count += 1
        return count

    async def _turns(self, seconds: float, every_s: float) -> AsyncIterator[int]:
        """The numbers from 0, so often; what a busy moment held up is caught up with."""
        began_s = time.monotonic()
        for number in range(int(seconds / every_s)):
            await asyncio.sleep(max(0.0, began_s + number * every_s - time.monotonic()))
            if self._resting:
                return
            yield number

    async def rest(self) -> None:
        """End what goes on until then, for good."""
        self._resting = True

    async def publish(self, topic: str, source: str, count: int, size_bytes: int) -> dict[str, Any]:
        """Events, numbered in their first 8 digits."""
        began_s = time.monotonic()
        filling = "x" * max(size_bytes - 8, 0)
        for number in range(count):
            await self._runtime.publish_message(Text(f"{number:08}{filling}"), TopicId(topic, source))
        return {"took_s": time.monotonic() - began_s, "dead_letters": self._runtime.dead_letters_count}

    async def endpoint(self) -> str:
        """Where the others dial this process."""
        running = self._runtime._lifecycle.running
        assert running is not None
        return running.node.record.endpoints[0]

    async def gossip_endpoint(self) -> str:
        """Where the others listen to its gossip."""
        running = self._runtime._lifecycle.running
        assert running is not None
        return running.node.record.gossip_endpoints[0]

    async def endpoints(self) -> list[str]:
        """All of what it tells the others to dial."""
        running = self._runtime._lifecycle.running
        assert running is not None
        return list(running.node.record.endpoints)

    async def wait_for(self, agent_type: str, count: int) -> None:
        await self._runtime.wait_for_agents(agent_type, count, 10)

    async def wait_for_peers(self, names: list[str], deadline_s: float = 10.0) -> float:
        """When the peers first were those; every one of them, and nobody else."""
        until = time.monotonic() + deadline_s
        while (seen := sorted(peer.instance_id for peer in self._runtime.peers())) != sorted(names):
            if time.monotonic() > until:
                raise AssertionError(f"the peers are {seen}, and not {names}, after {deadline_s:g} s")
            await asyncio.sleep(0.005)
        return time.monotonic()

    async def peers(self) -> list[dict[str, Any]]:
        """The label, the state and the path of each other process."""
        shown = ("instance_id", "state", "path", "forwarder")
        return [{name: getattr(peer, name) for name in shown} for peer in self._runtime.peers()]

    async def missing_forwarders(self) -> list[str]:
        """Those of its own that it is not attached to."""
        running = self._runtime._lifecycle.running
        assert running is not None
        return running.node.contacts.attachments.missing()

    async def executed(self) -> list[tuple[str, int]]:
        return Tally.executed

    async def active(self) -> list[str]:
        """The agents that live here."""
        return sorted(self._runtime._parts.agents.instances)

    async def heard(self, count: int = 0, deadline_s: float = 10.0) -> list[tuple[str, str]]:
        """The events of all listeners here, once there are that many, or when the time is up."""
        until = time.monotonic() + deadline_s
        while len(Listener.heard) < count and time.monotonic() < until:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return Listener.heard


async def _perform(label: str, command: Command, arguments: dict[str, Any]) -> None:
    try:
        report(label, value=await command(**arguments))
    except Exception as error:  # noqa: BLE001 - the test reads it
        report(label, value=None, error=repr(error))


async def obey(actor: Actor, commands: Commands) -> None:
    """Do what the test commands, several things at once if it asks for them, for ever."""
    performing: set[asyncio.Task[None]] = set()
    while True:
        arguments = await commands.next()
        name = arguments.pop("do")
        label = arguments.pop("label", name)
        task = asyncio.create_task(_perform(label, getattr(actor, name), arguments))
        performing.add(task)
        task.add_done_callback(performing.discard)


async def main() -> None:
    commands = Commands()
    kinds: dict[str, str] = SETTINGS.pop("kinds", {})
    subscriptions: dict[str, str] = SETTINGS.pop("subscribe", {})
    runtime = ZmqAgentRuntime(**SETTINGS)
    for agent_type, kind in kinds.items():
        await KINDS[kind].register(runtime, agent_type, KINDS[kind])
    for agent_type, topic_type in subscriptions.items():
        await runtime.add_subscription(TypeSubscription(topic_type, agent_type))
    await runtime.start()
    report("started", pid=os.getpid())
    obeying = asyncio.create_task(obey(Actor(runtime), commands))
    await runtime.wait_until_stopped()
    report("stopped", executed=Tally.executed)
    obeying.cancel()


asyncio.run(main())
