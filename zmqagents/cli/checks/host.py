"""The host: its clock, and how many files and sockets a process may have open."""

from __future__ import annotations

import datetime
import shutil
import subprocess
import sys
import time
from pathlib import Path

import zmqagents
from zmqagents.cli.checks.findings import Finding, fail, ok, warn

OPEN_FILES, CLOCK = "open files", "clock"

# Seven for each peer were counted, connections and what libzmq keeps beside them; one more while one is made anew.
FILES_PER_PEER = 8
OWN_FILES = 64  # 24 were counted in a process that is alone; the rest is for its agents
ENOUGH_PEERS = 64  # beyond it gossip goes over an overlay, so not everybody is connected with everybody

_TIMEDATECTL_S = 5.0  # it asks a service that may have to be started first


def check_open_files() -> Finding:
    """Whether the limit on open files is enough for a full mesh of a usual size."""
    if sys.platform == "win32":
        return ok(OPEN_FILES, "no limit to speak of")
    import resource  # noqa: PLC0415 - not on Windows

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return ok(OPEN_FILES, "no limit")
    room = max((soft - OWN_FILES) // FILES_PER_PEER, 0)
    seen = f"{soft:,} allowed, enough for about {room:,} processes that are connected with each other"
    if room >= ENOUGH_PEERS:
        return ok(OPEN_FILES, seen)
    most = "" if hard == resource.RLIM_INFINITY else f", at most {hard:,} without an administrator"
    return warn(OPEN_FILES, seen, f"raise it before a process starts: ulimit -n 4096{most}")


def check_clock(now_s: float | None = None) -> Finding:
    """Whether this host's clock can be right.

    Nothing of the protocol depends on it but this: of two processes with one instance id the one that says it started
    later counts. So it is enough that no clock goes back.
    """
    now_s = time.time() if now_s is None else now_s
    installed_s = Path(zmqagents.__file__).stat().st_mtime
    if now_s < installed_s - 1:
        return fail(
            CLOCK,
            f"it says {_text(now_s)}, which is before this package was installed ({_text(installed_s)})",
            "set the clock, and switch time synchronisation on: timedatectl set-ntp true",
        )
    synchronised = _synchronised()
    if synchronised is None:
        return ok(CLOCK, f"{_text(now_s)}; whether it is synchronised is not known here")
    if synchronised:
        return ok(CLOCK, f"{_text(now_s)}, synchronised")
    return warn(
        CLOCK,
        f"{_text(now_s)}, not synchronised",
        "timedatectl set-ntp true; a clock that goes back can make a restarted process look older than its last life",
    )


def _synchronised() -> bool | None:
    """What systemd says about it; None where there is none that knows."""
    command = shutil.which("timedatectl")
    if command is None:
        return None
    try:
        told = subprocess.run(  # noqa: S603 - a fixed command
            [command, "show", "--property=NTPSynchronized", "--value"],
            capture_output=True,
            text=True,
            timeout=_TIMEDATECTL_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return {"yes": True, "no": False}.get(told.stdout.strip()) if told.returncode == 0 else None


def _text(time_s: float) -> str:
    return datetime.datetime.fromtimestamp(time_s, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
