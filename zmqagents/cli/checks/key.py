"""The cluster key: is there one, is it whole, and who else can read its file."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from zmqagents.cli.checks.findings import Finding, fail, ok, warn
from zmqagents.cli.target import Target
from zmqagents.config import RuntimeConfig
from zmqagents.errors import ConfigError
from zmqagents.keys import PREFIX, check_key

CHECK = "key"

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_cluster_key(target: Target) -> Finding:
    """Whether what is given as key is one. A key is never shown."""
    try:
        keys = target.keys()
        for setting, key in keys.items():
            check_key(key, setting)
    except ConfigError as error:
        return fail(CHECK, str(error), "make one with `zmqagents keygen`, or name the file that has the cluster's key")
    if not keys:
        return ok(CHECK, "none: nothing is encrypted, and processes are to listen on loopback only")
    if "cluster_key" not in keys:
        return fail(CHECK, "there is a second key without a first", "set ZMQAGENTS_CLUSTER_KEY too")
    path = target.key_file or os.environ.get("ZMQAGENTS_CLUSTER_KEY_FILE")
    open_to = _open_to(path) if path else ""
    if open_to:
        return warn(CHECK, f"{path} can be read or changed by {open_to}", f"chmod 600 {path}")
    made = all(key.startswith(PREFIX) for key in keys.values())
    seen = "one" if len(keys) == 1 else "two, as while keys are changed"
    if len(set(keys.values())) < len(keys):
        return warn(CHECK, "two, which are the same", "give the old and the new key, or remove the second")
    return ok(CHECK, f"{seen}, {'made by `zmqagents keygen`' if made else 'of your own'}")


def check_exposure(config: RuntimeConfig) -> Finding | None:
    """Whether everybody on the network is let in; None if not."""
    exposed = config.exposed()
    if not exposed:
        return None
    return warn(
        "exposure",
        f"insecure_lan is set and there is no key: whoever can connect to {', '.join(exposed)} can call every agent",
        "make a key with `zmqagents keygen` and give it to all processes",
    )


def _open_to(path: str) -> str:
    """Who, besides its owner, may read or write the file; "" if nobody."""
    if sys.platform == "win32":  # its modes say nothing about that
        return ""
    mode = Path(path).stat().st_mode & _OTHERS
    if mode & stat.S_IRWXO:
        return "everybody on this host"
    return "its group" if mode else ""
