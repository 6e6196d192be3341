"""``zmqagents-forwarder``: the command. argparse, because typer and rich would double the time to start."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Mapping, Sequence

from zmqagents._version import __version__
from zmqagents.config import keys_from_environment, keys_from_file
from zmqagents.errors import ConfigError
from zmqagents.forwarder.service import Forwarder
from zmqagents.forwarder.settings import (
    DEFAULT_BIND,
    DEFAULT_DRAIN_S,
    DEFAULT_MAX_PEERS,
    LOG_FORMATS,
    LOG_LEVELS,
    ForwarderSettings,
)

_DESCRIPTION = """\
Relays between zmqagents processes that can't reach each other: behind NAT, or without multicast.
It keeps nothing but who is attached, in memory; start as many as you like, they need not know of each other."""

_EPILOG = """\
examples:
  zmqagents-forwarder                                     on this machine alone
  zmqagents keygen > cluster.key                          a key for the cluster
  zmqagents-forwarder --bind tcp://0.0.0.0:50051 --key-file cluster.key
  zmqagents-forwarder --bind tcp://0.0.0.0:50051 --health 0.0.0.0:8080 --log-format json
  BROKER_URL=tcp://10.0.0.5:50051 ZMQAGENTS_CLUSTER_KEY_FILE=cluster.key python worker.py

environment (an option wins over it):
  ZMQAGENTS_CLUSTER_KEY, ZMQAGENTS_CLUSTER_KEY_FILE       the key; never an argument, which other users can see
  ZMQAGENTS_OTHER_CLUSTER_KEY                             a second one, while keys are being changed
  ZMQAGENTS_CLUSTER                                       --cluster
  ZMQAGENTS_FORWARDER_BIND (separated by commas), ZMQAGENTS_FORWARDER_MAX_PEERS, ZMQAGENTS_FORWARDER_HEALTH,
  ZMQAGENTS_FORWARDER_LOG_FORMAT, ZMQAGENTS_FORWARDER_LOG_LEVEL, ZMQAGENTS_FORWARDER_DRAIN, ZMQAGENTS_INSECURE_LAN=1

probes: GET /healthz answers 200, and 503 while it drains; GET /metrics is for Prometheus. Off unless --health is given.

exit status: 0 after SIGTERM or SIGINT, 1 if it can't do its work (a port that is taken), 2 for a wrong setting."""

_OK, _FAILED, _USAGE = 0, 1, 2
_SPARE_DESCRIPTORS = 64  # beside one for each node


def main(arguments: Sequence[str] | None = None, environment: Mapping[str, str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit status."""
    environment = os.environ if environment is None else environment
    options = _parser().parse_args(arguments)
    try:
        _fill_in(options, environment)
        _log_as(options.log_format, options.log_level)
        settings = _settings(options, environment)
    except ConfigError as error:
        _complain(str(error))
        return _USAGE
    try:
        asyncio.run(_serve(settings))
    except ConfigError as error:
        _complain(str(error))
        return _FAILED
    return _OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="zmqagents-forwarder",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add(
        "--bind", action="append", metavar="tcp://ADDRESS:PORT", help=f"where nodes attach; repeatable ({DEFAULT_BIND})"
    )
    add("--cluster", metavar="NAME", help="name of the cluster (default)")
    add("--key-file", metavar="PATH", help="file with the cluster's key in its first line")
    add("--insecure-lan", action="store_true", default=None, help="listen beyond loopback without a key")
    add("--max-peers", type=int, metavar="N", help=f"nodes that may be attached ({DEFAULT_MAX_PEERS:,})")
    add("--health", metavar="ADDRESS:PORT", help="serve /healthz and /metrics there (off)")
    add("--drain", type=float, metavar="SECONDS", help=f"relay on so long while ending ({DEFAULT_DRAIN_S:g})")
    add("--log-format", choices=LOG_FORMATS, help="text, or one JSON object a line (text)")
    add("--log-level", choices=LOG_LEVELS, help="debug tells who attaches and leaves (info)")
    add("--version", action="version", version=f"zmqagents-forwarder {__version__}")
    return parser


def _fill_in(options: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """From the environment what the command line leaves open. Raises ConfigError."""
    for name, variable in (
        ("bind", "ZMQAGENTS_FORWARDER_BIND"),
        ("cluster", "ZMQAGENTS_CLUSTER"),
        ("health", "ZMQAGENTS_FORWARDER_HEALTH"),
        ("max_peers", "ZMQAGENTS_FORWARDER_MAX_PEERS"),
        ("drain", "ZMQAGENTS_FORWARDER_DRAIN"),
        ("log_format", "ZMQAGENTS_FORWARDER_LOG_FORMAT"),
        ("log_level", "ZMQAGENTS_FORWARDER_LOG_LEVEL"),
        ("insecure_lan", "ZMQAGENTS_INSECURE_LAN"),
    ):
        text = environment.get(variable, "").strip()
        if getattr(options, name) is None and text:
            setattr(options, name, _read(name, text, variable))
    options.log_format = options.log_format or "text"
    options.log_level = options.log_level or "info"


def _read(name: str, text: str, variable: str) -> object:
    """The value of a variable, as argparse would give it. Raises ConfigError."""
    if name == "bind":
        return [item.strip() for item in text.split(",") if item.strip()]
    if name in {"max_peers", "drain"}:
        try:
            return int(text) if name == "max_peers" else float(text)
        except ValueError:
            raise ConfigError(f"{variable}={text!r}: write a number") from None
    choices = {"log_format": LOG_FORMATS, "log_level": LOG_LEVELS, "insecure_lan": ("0", "1")}.get(name)
    if choices is not None and text not in choices:
        raise ConfigError(f"{variable}={text!r}: write one of {', '.join(choices)}")
    return text == "1" if name == "insecure_lan" else text


def _settings(options: argparse.Namespace, environment: Mapping[str, str]) -> ForwarderSettings:
    if options.key_file is not None:
        keys = keys_from_file(options.key_file, f"--key-file {options.key_file!r}")
    else:
        keys = keys_from_environment(environment)
    return ForwarderSettings(
        bind=tuple(options.bind) if options.bind else (DEFAULT_BIND,),
        cluster=options.cluster or "default",
        insecure_lan=bool(options.insecure_lan),
        max_peers=DEFAULT_MAX_PEERS if options.max_peers is None else options.max_peers,
        health=options.health,
        drain_s=DEFAULT_DRAIN_S if options.drain is None else options.drain,
        **keys,
    )


async def _serve(settings: ForwarderSettings) -> None:
    ordered = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ordered.set)
    _raise_descriptors(settings.max_peers)
    forwarder = Forwarder(settings)
    await forwarder.start()
    await ordered.wait()
    ordered.clear()
    stopping = asyncio.ensure_future(forwarder.stop())
    again = asyncio.ensure_future(ordered.wait())
    await asyncio.wait([stopping, again], return_when=asyncio.FIRST_COMPLETED)  # a second signal ends it at once
    again.cancel()
    if stopping.done():
        stopping.result()
    else:
        stopping.cancel()


def _raise_descriptors(nodes: int) -> None:
    """A connection is a descriptor, and the usual soft limit is 1,024. Says so if the hard one is too low as well."""
    wanted = nodes + _SPARE_DESCRIPTORS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited and soft < wanted:
        allowed = wanted if hard == unlimited else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        if allowed < wanted:
            logging.getLogger("zmqagents.forwarder").warning(
                "no more than %s descriptors are allowed (ulimit -Hn), and %s nodes may attach: some will find no room",
                allowed,
                nodes,
            )


class _JsonLines(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry = {
            "time": f"{moment}.{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)


def _log_as(form: str, level: str) -> None:
    handler = logging.StreamHandler()
    text = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler.setFormatter(_JsonLines() if form == "json" else text)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("zmqagents").setLevel(level.upper())


def _complain(text: str) -> None:
    sys.stderr.write(f"zmqagents-forwarder: {text}\n")
