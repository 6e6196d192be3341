"""``zmqagents call``: one call to an agent, in JSON, without the classes of its messages."""

from __future__ import annotations

import json
from typing import Any

import typer

from zmqagents.cli.messages import read_id, read_message, unreading_hosts
from zmqagents.cli.output import print_json, print_note
from zmqagents.cli.session import Hinted, run
from zmqagents.cli.target import Target
from zmqagents.runtime.cluster import PeerInfo
from zmqagents.runtime.raw import describe_answer, parse_agent
from zmqagents.runtime.runtime import ZmqAgentRuntime


def call_agent(
    target: Target,
    agent: str,
    message: str,
    *,
    message_type: str,
    timeout_s: float,
    wait_s: float,
    as_json: bool,
    verbose: bool,
) -> None:
    """Call, and print the reply. Raises typer.Exit if the call fails, typer.BadParameter for a wrong argument."""
    recipient = read_id(parse_agent, agent, "AGENT")
    sent = read_message(message, message_type)

    async def work() -> None:
        settings = target.guest_settings()
        settings["discovery_timeout_s"] = wait_s
        async with ZmqAgentRuntime(**settings) as runtime:
            try:
                answer = await runtime.send_message(sent, recipient, timeout_s=timeout_s)
            except Exception as error:
                hint = _hint(runtime.peers(), recipient.type, message_type)
                if not hint:
                    raise
                raise Hinted(error, hint) from None
        _print_reply(str(recipient), describe_answer(answer), as_json=as_json)

    run(work, as_json=as_json, verbose=verbose)


def _hint(peers: list[PeerInfo], agent_type: str, message_type: str) -> str:
    """What may help after a call that failed."""
    if any(agent_type in peer.agent_types for peer in peers):
        return unreading_hosts(peers, {agent_type}, message_type)
    hosted = sorted({name for peer in peers for name in peer.agent_types})
    if not peers:
        return "nobody else is in the cluster; `zmqagents doctor` looks for reasons"
    return f"the cluster hosts {', '.join(hosted) or 'no agents'}"


def _print_reply(agent: str, answer: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json({"agent": agent, **answer})
    elif "reply" in answer:
        typer.echo(json.dumps(answer["reply"]))
    else:
        why = answer.get("unreadable", "that is not JSON")
        print_note(f"the reply is a {answer['type']} as {answer['content_type']} ({why}); its bytes in base64:")
        typer.echo(answer["base64"])
