"""The commands of ``zmqagents``: their arguments and help.

What a command does stands in a module of its own, which is imported when it runs, so that ``--help`` is quick.
"""

# ruff: noqa: PLC0415 - as the docstring says

from __future__ import annotations

from typing import Annotated

import typer

from zmqagents.cli.options import (
    AsJson,
    Cluster,
    Discovery,
    Interfaces,
    KeyFile,
    Listen,
    MessageType,
    Seeds,
    Verbose,
    target,
)

app = typer.Typer(
    name="zmqagents",
    help="Tools for clusters of AutoGen agents that talk over ZeroMQ.",
    epilog="Exit status: 0 done, 1 failed, 2 wrong argument or setting, 130 interrupted.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_show_locals=False,  # they may hold a key
)

# A line with a backspace keeps click from joining the lines after it.
_KEYGEN_EXAMPLES = """\b
Examples:
  umask 077 && zmqagents keygen > cluster.key
  ZMQAGENTS_CLUSTER_KEY_FILE=cluster.key python worker.py
  kubectl create secret generic zmqagents --from-file=cluster.key
"""
_PEERS_EXAMPLES = """\b
Examples:
  zmqagents peers
  zmqagents peers --cluster shop --seed tcp://10.0.0.5:50051 --discovery none
  zmqagents peers --cluster shop --key-file cluster.key
  zmqagents peers --json | jq -r '.peers[].instance_id'
"""
_CALL_EXAMPLES = """\b
Examples:
  zmqagents call worker/default '{"text": "hello"}' --message-type Ask
  zmqagents call cart/4711 '{}' --message-type Checkout --cluster shop --timeout 5
  zmqagents call worker - --message-type Ask --json < ask.json
"""
_PUBLISH_EXAMPLES = """\b
Examples:
  zmqagents publish news/default '{"text": "hello"}' --message-type Headline
  zmqagents publish orders/eu - --message-type Order --cluster shop < order.json
"""
_DOCTOR_EXAMPLES = """\b
Examples:
  zmqagents doctor
  zmqagents doctor --cluster shop --key-file cluster.key
  zmqagents doctor --json | jq '.findings[] | select(.status != "ok")'
"""

CallTimeout = Annotated[float, typer.Option("--timeout", metavar="S", min=0.001, help="Seconds until the call fails.")]
HandledTimeout = Annotated[float, typer.Option("--timeout", metavar="S", min=0.0, help="Seconds to wait for handlers.")]
HostWait = Annotated[
    float, typer.Option("--wait", metavar="S", min=0.0, help="Seconds to wait for a host of the type.")
]
SubscriberWait = Annotated[
    float, typer.Option("--wait", metavar="S", min=0.0, help="Seconds to wait for a subscriber.")
]
LookWait = Annotated[float, typer.Option("--wait", metavar="S", min=0.0, help="Seconds to look for others, at most.")]
Message = Annotated[str, typer.Argument(metavar="MESSAGE", help="The message as JSON; - reads the standard input.")]


@app.command(epilog=_KEYGEN_EXAMPLES)
def keygen() -> None:
    """Print a new cluster key: 256 random bits as one line of text.

    Give the same key to every process of a cluster, in ZMQAGENTS_CLUSTER_KEY, in a file that ZMQAGENTS_CLUSTER_KEY_FILE
    names, or as cluster_key=. Then everything is encrypted and nobody without the key gets in. Whoever has it can call
    every agent, so keep it as you keep passwords: not in code, not as an argument of a command.
    """
    from zmqagents.keys import make_key

    typer.echo(make_key())


@app.command(epilog=_PEERS_EXAMPLES)
def peers(
    *,
    cluster: Cluster = None,
    seed: Seeds = None,
    discovery: Discovery = None,
    interface: Interfaces = None,
    listen: Listen = None,
    key_file: KeyFile = None,
    wait: LookWait = 3.0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Tell who is in a cluster: where, how it is reached, and which agents it hosts.

    Joins the cluster for a moment, as a process without agents. STATE is up, busy, suspected, unreachable or known (no
    connection yet); PATH says how messages go there.
    """
    from zmqagents.cli.peers import show_peers

    meant = target(cluster, seed, discovery, interface, listen, key_file)
    show_peers(meant, wait_s=wait, as_json=as_json, verbose=verbose)


@app.command(epilog=_CALL_EXAMPLES)
def call(
    *,
    agent: Annotated[str, typer.Argument(metavar="TYPE/KEY", help="The agent; without /KEY its key is 'default'.")],
    message: Message,
    message_type: MessageType,
    cluster: Cluster = None,
    seed: Seeds = None,
    discovery: Discovery = None,
    interface: Interfaces = None,
    listen: Listen = None,
    key_file: KeyFile = None,
    timeout: CallTimeout = 30.0,
    wait: HostWait = 5.0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Call an agent with a message in JSON, and print its reply.

    A reply that is not JSON is printed in base64.
    """
    from zmqagents.cli.call import call_agent

    call_agent(
        target(cluster, seed, discovery, interface, listen, key_file),
        agent,
        message,
        message_type=message_type,
        timeout_s=timeout,
        wait_s=wait,
        as_json=as_json,
        verbose=verbose,
    )


@app.command(epilog=_PUBLISH_EXAMPLES)
def publish(
    *,
    topic: Annotated[
        str, typer.Argument(metavar="TOPIC/SOURCE", help="The topic; its source is 'default' if left out.")
    ],
    message: Message,
    message_type: MessageType,
    cluster: Cluster = None,
    seed: Seeds = None,
    discovery: Discovery = None,
    interface: Interfaces = None,
    listen: Listen = None,
    key_file: KeyFile = None,
    timeout: HandledTimeout = 30.0,
    wait: SubscriberWait = 5.0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Publish an event in JSON, and say which agents it went to.

    Returns once their handlers have ended. Fails if nobody subscribes to the topic.
    """
    from zmqagents.cli.publish import publish_event

    publish_event(
        target(cluster, seed, discovery, interface, listen, key_file),
        topic,
        message,
        message_type=message_type,
        timeout_s=timeout,
        wait_s=wait,
        as_json=as_json,
        verbose=verbose,
    )


@app.command(epilog=_DOCTOR_EXAMPLES)
def doctor(
    *,
    cluster: Cluster = None,
    seed: Seeds = None,
    discovery: Discovery = None,
    interface: Interfaces = None,
    listen: Listen = None,
    key_file: KeyFile = None,
    wait: LookWait = 2.0,
    as_json: AsJson = False,
    verbose: Verbose = False,
) -> None:
    """Check what a process with these settings needs here, and say what to do.

    Settings, key, interfaces, multicast, ports, open files and clock of this host; then, from inside the cluster, who
    is there, who is kept out, and whose protocol versions, sizes, clocks or policies differ. Fails if a check fails.
    """
    from zmqagents.cli.doctor import examine

    meant = target(cluster, seed, discovery, interface, listen, key_file)
    examine(meant, wait_s=wait, as_json=as_json, verbose=verbose)
