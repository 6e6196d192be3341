"""On what was measured: the machine and the versions, for whoever compares two runs."""

from __future__ import annotations

import datetime
import os
import platform
from importlib import metadata
from pathlib import Path

import psutil

from .wire import Json

_DISTRIBUTIONS = ("zmqagents", "autogen-core", "autogen-ext", "pyzmq", "grpcio", "nats-py", "xoscar", "uvloop")


def cpu_model() -> str:
    """As Linux names it; else as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe(command: str) -> Json:
    """For the JSON file."""
    return {
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": command,
        "cpus": os.cpu_count(),
        "cpu": cpu_model(),
        "memory_gib": round(psutil.virtual_memory().total / (1 << 30), 1),
        "load_average": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in _DISTRIBUTIONS if (version := _version(name))},
    }


def one_line(machine: Json) -> str:
    """For the head of the table."""
    return (
        f"{machine['date'][:10]} · {machine['cpus']} CPUs ({machine['cpu']}), {machine['memory_gib']:g} GiB, "
        f"Python {machine['python']}, load average {machine['load_average']:.1f} before · {machine['command']}"
    )


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""
