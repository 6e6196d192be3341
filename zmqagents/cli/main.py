"""The commands of ``zmqagents``. What a command needs is imported when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="zmqagents",
    help="Tools for clusters of AutoGen agents that talk over ZeroMQ.",
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


@app.callback()
def _commands() -> None:
    """Keeps ``keygen`` a command of its own while it is the only one."""


@app.command(epilog=_KEYGEN_EXAMPLES)
def keygen() -> None:
    """Print a new cluster key: 256 random bits as one line of text.

    Give the same key to every process of a cluster, in ZMQAGENTS_CLUSTER_KEY, in a file that ZMQAGENTS_CLUSTER_KEY_FILE
    names, or as cluster_key=. Then everything is encrypted and nobody without the key gets in. Whoever has it can call
    every agent, so keep it as you keep passwords: not in code, not as an argument of a command.
    """
    from zmqagents.keys import make_key  # noqa: PLC0415 - as the module says

    typer.echo(make_key())
