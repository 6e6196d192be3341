"""What ``call`` and ``publish`` have in common: reading the arguments, and saying who reads what."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import typer

from zmqagents.errors import SerializationError
from zmqagents.runtime.cluster import PeerInfo
from zmqagents.runtime.raw import JSON, json_message

T = TypeVar("T")

_MAX_NAMES = 20  # of message types in a hint: more are no help


def read_message(text: str, type_name: str) -> Any:
    """The message of the arguments; "-" is the standard input. Raises typer.BadParameter."""
    content = sys.stdin.read() if text == "-" else text
    try:
        return json_message(type_name, content)
    except SerializationError as error:
        raise typer.BadParameter(str(error), param_hint="--message-type") from None
    except (ValueError, RecursionError) as error:
        raise typer.BadParameter(f"not JSON: {error}", param_hint="MESSAGE") from None


def read_id(parse: Callable[[str], T], text: str, hint: str) -> T:
    """The agent id or topic of an argument. Raises typer.BadParameter."""
    try:
        return parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint=hint) from None


def unreading_hosts(peers: Iterable[PeerInfo], agent_types: set[str], type_name: str) -> str:
    """Which hosts of the agent types don't say that they read this type as JSON, and what they read; "" if all do."""
    hints = []
    for peer in peers:
        if agent_types.isdisjoint(peer.agent_types) or JSON in peer.reads.get(type_name, ()):
            continue
        names = sorted(peer.reads)
        read = [f"{name} ({', '.join(peer.reads[name])})" for name in names[:_MAX_NAMES]]
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        hints.append(
            f"{peer.instance_id or peer.node_id[:8]} does not say that it reads {type_name!r} as {JSON};"
            f" it reads {', '.join(read) or 'nothing that it names'}{more}"
        )
    return "\n".join(hints)
