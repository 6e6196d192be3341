"""``zmqagents publish``: one event, in JSON, without the class of its message."""

from __future__ import annotations

import asyncio
from typing import Any

import typer

from zmqagents.cli.messages import read_id, read_message, unreading_hosts
from zmqagents.cli.output import print_json, print_note, printable
from zmqagents.cli.session import CommandError, run
from zmqagents.cli.target import Target
from zmqagents.runtime.publishing import DeadLetter
from zmqagents.runtime.raw import parse_topic
from zmqagents.runtime.runtime import ZmqAgentRuntime

POLL_S = 0.05


def publish_event(
    target: Target,
    topic: str,
    message: str,
    *,
    message_type: str,
    timeout_s: float,
    wait_s: float,
    as_json: bool,
    verbose: bool,
) -> None:
    """Publish, wait until the event was handled, and say to whom it went.

    Raises typer.Exit if it reached nobody, typer.BadParameter for a wrong argument.
    """
    topic_id = read_id(parse_topic, topic, "TOPIC")
    sent = read_message(message, message_type)
    dead: list[DeadLetter] = []

    async def work() -> None:
        async with ZmqAgentRuntime(**target.guest_settings(), on_dead_letter=dead.append) as runtime:
            agents = [str(agent) for agent in await _subscribers(runtime, topic_id, wait_s)]
            unread = unreading_hosts(runtime.peers(), {agent.partition("/")[0] for agent in agents}, message_type)
            if unread:
                print_note(unread)
            await runtime.publish_message(sent, topic_id)
            handled = await _handled(runtime, timeout_s)
        if dead:
            raise CommandError("\n".join(f"the event did not reach {one.recipient}: {one.reason}" for one in dead))
        if not handled:
            print_note(f"its handlers have not all ended within {timeout_s:g} s; they go on")
        if as_json:
            print_json({"topic": str(topic_id), "agents": agents, "handled": handled, "hint": unread or None})
        else:
            typer.echo(f"published to {printable(', '.join(agents))}")

    run(work, as_json=as_json, verbose=verbose)


async def _subscribers(runtime: ZmqAgentRuntime, topic_id: Any, wait_s: float) -> list[Any]:
    """Whom the event will go to. CommandError if that is nobody for ``wait_s``."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + wait_s
    while not (agents := await runtime.recipients(topic_id)):
        if loop.time() >= until_s:
            raise CommandError(
                f"nobody in cluster {runtime.config.cluster!r} subscribes to topic type {topic_id.type!r}; nothing was"
                " published"
            )
        await asyncio.sleep(POLL_S)
    return agents


async def _handled(runtime: ZmqAgentRuntime, timeout_s: float) -> bool:
    """Whether the handlers of the event ended within the time; then the runtime has stopped."""
    stopping = asyncio.ensure_future(runtime.stop_when_idle())
    done, _ = await asyncio.wait([stopping], timeout=timeout_s)
    if done:
        await stopping
        return True
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    return False
