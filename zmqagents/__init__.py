"""AutoGen agents across processes and machines, without a broker.

The names below are imported when they are first used, so that ``import zmqagents`` is quick, and its parts that need no
AutoGen run without it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from zmqagents._version import __version__

if TYPE_CHECKING:
    from zmqagents.config import Placement, RuntimeConfig
    from zmqagents.errors import (
        BackpressureError,
        CallTimeoutError,
        ConfigError,
        DeliveryError,
        MessageTooLargeError,
        PeerLost,
        PolicyConflictError,
        RemoteCallError,
        SerializationError,
        ZmqAgentsError,
    )
    from zmqagents.runtime.cluster import PeerInfo
    from zmqagents.runtime.codecs import CborSerializer, MsgpackSerializer
    from zmqagents.runtime.deadlines import call_timeout
    from zmqagents.runtime.factory import create_distributed_runtime
    from zmqagents.runtime.policies import idempotent, placement
    from zmqagents.runtime.publishing import DeadLetter
    from zmqagents.runtime.runtime import ZmqAgentRuntime

_HOMES = {
    "BackpressureError": "zmqagents.errors",
    "CallTimeoutError": "zmqagents.errors",
    "CborSerializer": "zmqagents.runtime.codecs",
    "ConfigError": "zmqagents.errors",
    "DeadLetter": "zmqagents.runtime.publishing",
    "DeliveryError": "zmqagents.errors",
    "MessageTooLargeError": "zmqagents.errors",
    "MsgpackSerializer": "zmqagents.runtime.codecs",
    "PeerInfo": "zmqagents.runtime.cluster",
    "PeerLost": "zmqagents.errors",
    "Placement": "zmqagents.config",
    "PolicyConflictError": "zmqagents.errors",
    "RemoteCallError": "zmqagents.errors",
    "RuntimeConfig": "zmqagents.config",
    "SerializationError": "zmqagents.errors",
    "ZmqAgentRuntime": "zmqagents.runtime.runtime",
    "ZmqAgentsError": "zmqagents.errors",
    "call_timeout": "zmqagents.runtime.deadlines",
    "create_distributed_runtime": "zmqagents.runtime.factory",
    "idempotent": "zmqagents.runtime.policies",
    "placement": "zmqagents.runtime.policies",
}

__all__ = [
    "BackpressureError",
    "CallTimeoutError",
    "CborSerializer",
    "ConfigError",
    "DeadLetter",
    "DeliveryError",
    "MessageTooLargeError",
    "MsgpackSerializer",
    "PeerInfo",
    "PeerLost",
    "Placement",
    "PolicyConflictError",
    "RemoteCallError",
    "RuntimeConfig",
    "SerializationError",
    "ZmqAgentRuntime",
    "ZmqAgentsError",
    "__version__",
    "call_timeout",
    "create_distributed_runtime",
    "idempotent",
    "placement",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'zmqagents' has no attribute {name!r}")
    return getattr(import_module(home), name)


def __dir__() -> list[str]:
    return __all__
