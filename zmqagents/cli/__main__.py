"""``python -m zmqagents.cli``: the command line where its script is not on the PATH."""

from __future__ import annotations

from zmqagents.cli.main import app

app(prog_name="zmqagents")
