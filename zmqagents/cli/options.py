"""The options that all commands share which look at a cluster, or speak to it."""

from __future__ import annotations

from typing import Annotated

import typer

from zmqagents.cli.target import Target

Cluster = Annotated[
    str | None,
    typer.Option("--cluster", metavar="NAME", help="Name of the cluster. Else ZMQAGENTS_CLUSTER, 'default'."),
]
Seeds = Annotated[
    list[str] | None,
    typer.Option("--seed", metavar="tcp://HOST:PORT", help="A process to ask; may be repeated. Else ZMQAGENTS_SEEDS."),
]
Discovery = Annotated[
    str | None, typer.Option("--discovery", metavar="mdns|none", help="Else ZMQAGENTS_DISCOVERY, 'mdns'.")
]
Interfaces = Annotated[
    list[str] | None,
    typer.Option(
        "--interface",
        metavar="PLACE",
        help="Where mDNS asks: loopback, all, an interface or an address; repeatable. Else ZMQAGENTS_INTERFACES,"
        " or as --listen.",
    ),
]
Listen = Annotated[
    list[str] | None,
    typer.Option(
        "--listen",
        metavar="PLACE",
        help="Where to listen: loopback, all, an interface or an address; repeatable. Else ZMQAGENTS_LISTEN, or"
        " loopback without a key and all with one.",
    ),
]
KeyFile = Annotated[
    str | None,
    typer.Option(
        "--key-file",
        metavar="PATH",
        help="File with the cluster key. Else ZMQAGENTS_CLUSTER_KEY_FILE or ZMQAGENTS_CLUSTER_KEY.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Show tracebacks of remote exceptions, and the log.")]
MessageType = Annotated[
    str, typer.Option("--message-type", metavar="NAME", help="Type name of the message: its class's name.")
]


def target(
    cluster: str | None,
    seeds: list[str] | None,
    discovery: str | None,
    interfaces: list[str] | None,
    listen: list[str] | None,
    key_file: str | None,
) -> Target:
    """What the options say of the cluster."""
    return Target(
        cluster=cluster,
        seeds=tuple(seeds or ()),
        discovery=discovery,
        interfaces=tuple(interfaces or ()),
        listen=tuple(listen or ()),
        key_file=key_file,
    )
