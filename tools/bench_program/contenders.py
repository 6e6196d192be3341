"""Who is measured: a peer's module with options, and what has to be there for it to run."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from zmqagents import RuntimeConfig

from .peers.base import Adapter

INSTALL_EXTRA = "not installed: pip install 'zmqagents[bench]'"
NO_CLUSTER_KEYS = "needs cluster keys, not in this version"


@dataclass(frozen=True)
class Contender:
    """One peer in one way of running it."""

    name: str
    title: str
    module: str
    """Of ``tools.bench_program.peers``."""
    options: Mapping[str, Any] = field(default_factory=dict)
    roles: tuple[str, ...] = ("server", "caller")
    """Its processes, in the order in which they begin."""
    finds_by_itself: bool = False
    """Whether all may begin at once, because nobody needs an address of another."""
    imports: tuple[str, ...] = ()
    """Modules beyond those that zmqagents itself needs."""
    program: str = ""
    """An executable that has to be on the PATH."""
    package: str = ""
    """The Debian package that has it."""
    setting: str = ""
    """A setting of the runtime that this version must have."""

    def absent(self) -> str:
        """Why it can't run here; empty if it can."""
        if self.setting and self.setting not in {item.name for item in dataclasses.fields(RuntimeConfig)}:
            return NO_CLUSTER_KEYS
        if any(importlib.util.find_spec(name) is None for name in self.imports):
            return INSTALL_EXTRA
        if self.program and shutil.which(self.program) is None:
            return f"not installed: apt install {self.package}"
        return ""


_GRPC = ("grpc", "autogen_ext")
_TABLES = "agent_tables"
_OWN = "zmqagents_runtime"

_ALONE = ("caller",)
_WITH_HOST = ("host", "server", "caller")

_ALL = (
    Contender("zmqagents", "zmqagents", _OWN, finds_by_itself=True),
    Contender("zmqagents-msgpack", "zmqagents, msgpack", _OWN, {"msgpack": True}),
    Contender("zmqagents-curve", "zmqagents, CURVE", _OWN, {"curve": True}, setting="cluster_key"),
    Contender("zmqagents-uvloop", "zmqagents, uvloop", _OWN, {"uvloop": True}, imports=("uvloop",)),
    Contender("zmqagents-relayed", "zmqagents, by a forwarder", "zmqagents_relayed", {}, _WITH_HOST),
    Contender("zmqagents-local", "zmqagents, in one process", "local_runtimes", {"runtime": "zmqagents"}, _ALONE),
    Contender("zmqagents-10-subscriptions", "zmqagents, 10 others", _TABLES, {"others": 10}, _ALONE),
    Contender("zmqagents-10k-subscriptions", "zmqagents, 10,000 others", _TABLES, {"others": 10_000}, _ALONE),
    Contender("zmqagents-agents", "zmqagents", _TABLES, {}, _ALONE),
    Contender("plain-agents", "the same agents in a dict", _TABLES, {"plain": True}, _ALONE),
    Contender("autogen-grpc", "AutoGen gRPC runtime", "autogen_grpc", {}, _WITH_HOST, imports=_GRPC),
    Contender("autogen-local", "AutoGen SingleThreadedAgentRuntime", "local_runtimes", {"runtime": "autogen"}, _ALONE),
    Contender("pyzmq", "bare pyzmq", "bare_pyzmq"),
    Contender("pyzmq-copying", "bare pyzmq, copying", "bare_pyzmq", {"copying": True}),
    Contender("pyzmq-json", "bare pyzmq, typed JSON messages", "bare_pyzmq", {"json": True}),
    Contender("pyzmq-curve", "bare pyzmq, CURVE", "bare_pyzmq", {"curve": True}),
    Contender("pyzmq-uvloop", "bare pyzmq, uvloop", "bare_pyzmq", {"uvloop": True}, imports=("uvloop",)),
    Contender("grpc", "grpc.aio, unary", "grpc_unary", imports=("grpc",)),
    Contender(
        "nats",
        "NATS, request and reply",
        "nats_broker",
        {},
        _WITH_HOST,
        imports=("nats",),
        program="nats-server",
        package="nats-server",
    ),
    Contender("xoscar", "xoscar", "xoscar_actors", imports=("xoscar",)),
)

CONTENDERS: dict[str, Contender] = {contender.name: contender for contender in _ALL}


def adapter_of(contender: Contender) -> Adapter:
    """Imports the peer's module, and with it the peer."""
    module = importlib.import_module(f"tools.bench_program.peers.{contender.module}")
    adapter: Adapter = module.ADAPTER
    return adapter
