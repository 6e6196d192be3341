"""Starts a runtime, forks, and tells what becomes of each use of it in the child and in the parent."""

from __future__ import annotations

import asyncio
import gc
import os
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

from autogen_core import AgentId, DefaultTopicId, RoutedAgent

from tests.integration.agents import Echo
from tests.integration.messages import Text
from tests.integration.programs.reporting import SETTINGS, report
from zmqagents import ZmqAgentRuntime

ECHO = AgentId("echo", "default")

USES: dict[str, Callable[[ZmqAgentRuntime], Coroutine[Any, Any, Any]]] = {
    "send_message": lambda runtime: runtime.send_message(Text("hi"), ECHO),
    "publish_message": lambda runtime: runtime.publish_message(Text("hi"), DefaultTopicId()),
    "agent_metadata": lambda runtime: runtime.agent_metadata(ECHO),
    "wait_for_agents": lambda runtime: runtime.wait_for_agents("echo"),
    "register": lambda runtime: RoutedAgent.register(runtime, "late", lambda: RoutedAgent("late")),
    "stop": lambda runtime: runtime.stop(),
    "stop_when_idle": lambda runtime: runtime.stop_when_idle(),
    "wait_until_stopped": lambda runtime: runtime.wait_until_stopped(),
    "close": lambda runtime: runtime.close(),
}


async def outcome(use: Coroutine[Any, Any, Any]) -> str:
    """The name of what it raises, or "nothing"."""
    try:
        await asyncio.wait_for(use, 5)
    except Exception as error:  # noqa: BLE001 - which one is what the test asks
        return type(error).__name__
    return "nothing"


async def child(runtime: ZmqAgentRuntime) -> None:
    """Use the parent's runtime in every way, then one of our own."""
    report("child", outcomes={name: await outcome(use(runtime)) for name, use in USES.items()})
    own = ZmqAgentRuntime(**SETTINGS)
    await own.start()
    answer = await own.send_message(Text("from the child"), ECHO)
    report("child's own runtime", answer=answer.content)
    await own.stop()


async def main() -> None:
    """Start, fork, and check that the parent is none the worse for it."""
    runtime = ZmqAgentRuntime(**SETTINGS)
    await Echo.register(runtime, "echo", Echo)
    await runtime.start()
    warnings.simplefilter(
        "ignore", DeprecationWarning
    )  # Python 3.12 warns of any fork beside threads, such as libzmq's
    pid = os.fork()
    if pid == 0:
        asyncio.run(child(runtime))
        gc.collect()
        os._exit(0)  # as multiprocessing does; the event loop further up belongs to the parent
    _, status = await asyncio.get_running_loop().run_in_executor(None, os.waitpid, pid, 0)
    report("child ended", code=os.waitstatus_to_exitcode(status))
    answer = await runtime.send_message(Text("from the parent"), ECHO)
    report("parent", answer=answer.content)
    await runtime.stop()


asyncio.run(main())
