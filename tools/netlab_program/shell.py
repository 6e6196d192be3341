"""Runs the programs that a lab is made with: ``ip`` and ``nft``."""

from __future__ import annotations

import subprocess

TIMEOUT_S = 10.0  # each takes milliseconds


class NetlabError(Exception):
    """What could not be made or changed, with what the system said."""


def run(*command: str, text: str = "") -> str:
    """What the command prints. Raises NetlabError with what it said if it fails."""
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=TIMEOUT_S)
    except OSError as error:
        raise NetlabError(f"{command[0]} can't be run ({error.strerror}): install iproute2 and nftables") from None
    if done.returncode:
        raise NetlabError(f"{' '.join(command)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def namespaces() -> list[str]:
    """The names of all network namespaces that are there."""
    return [line.split()[0] for line in run("ip", "netns", "list").splitlines() if line]
