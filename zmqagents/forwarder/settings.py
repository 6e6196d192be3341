"""Settings of a forwarder: one frozen dataclass, made from the command line and the environment, checked once."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field

from zmqagents.errors import ConfigError
from zmqagents.keys import check_key, curve_secret

DEFAULT_BIND = "tcp://127.0.0.1:50051"
DEFAULT_MAX_PEERS = 4_096
DEFAULT_DRAIN_S = 2.0
MAX_PEERS = 65_536
LOG_FORMATS = ("text", "json")
LOG_LEVELS = ("debug", "info", "warning", "error")

_SCHEME = "tcp://"
_MAX_PORT = 65_535
_MAX_CLUSTER_BYTES = 255  # SPEC.md section 6.1


@dataclass(frozen=True, slots=True, kw_only=True)
class ForwarderSettings:
    """Every setting of ``Forwarder``. ConfigError, saying what to write, if one is wrong."""

    bind: tuple[str, ...] = (DEFAULT_BIND,)
    """Where nodes attach: ``tcp://ADDRESS:PORT`` with a numeric address; 0.0.0.0 and [::] are all of this host's."""
    cluster: str = "default"
    """Nodes of other clusters are refused."""
    cluster_key: str | None = field(default=None, repr=False)
    """The key of the cluster. Without one only loopback addresses are accepted, unless ``insecure_lan``."""
    other_cluster_key: str | None = field(default=None, repr=False)
    """A second key that is taken while keys are being changed."""
    insecure_lan: bool = False
    """Listen beyond loopback without a key: whoever can connect can attach."""
    max_peers: int = DEFAULT_MAX_PEERS
    """Nodes that may be attached at a time."""
    health: str | None = None
    """``ADDRESS:PORT`` of ``/healthz`` and ``/metrics``; None: not served."""
    drain_s: float = DEFAULT_DRAIN_S
    """How long relaying goes on after the order to end, so that nodes can take their other ways."""

    def __post_init__(self) -> None:
        if not self.bind:
            raise ConfigError(f"--bind is empty; write for example {DEFAULT_BIND}")
        addresses = [parse_bind(endpoint)[0] for endpoint in self.bind]
        if not self.cluster or len(self.cluster.encode()) > _MAX_CLUSTER_BYTES:
            raise ConfigError(f"--cluster: write a name of 1 to {_MAX_CLUSTER_BYTES} bytes")
        if self.cluster_key is not None:
            check_key(self.cluster_key, "the cluster key")
        if self.other_cluster_key is not None:
            check_key(self.other_cluster_key, "the other cluster key")
            if self.cluster_key is None:
                raise ConfigError("there is another cluster key but no cluster key; while keys are changed, set both")
        exposed = [str(address) for address in addresses if not address.is_loopback]
        if exposed and self.cluster_key is None and not self.insecure_lan:
            raise ConfigError(
                f"--bind {_SCHEME}{exposed[0]}: without a cluster key only loopback is listened on, because whoever"
                " can connect could call every agent. Set ZMQAGENTS_CLUSTER_KEY_FILE or --key-file"
                " (`zmqagents keygen` prints a key), or say --insecure-lan"
            )
        if not 1 <= self.max_peers <= MAX_PEERS:
            raise ConfigError(f"--max-peers {self.max_peers}: write a number from 1 to {MAX_PEERS:,}")
        if not 0 <= self.drain_s <= 3_600:  # not NaN either
            raise ConfigError(f"--drain {self.drain_s}: write a number of seconds from 0 to 3600")
        if self.health is not None:
            parse_health(self.health)

    def curve_secrets(self) -> tuple[bytes, ...]:
        """The secret CURVE keys, the one to listen with first."""
        keys = [key for key in (self.cluster_key, self.other_cluster_key) if key is not None]
        return tuple(curve_secret(key, self.cluster) for key in dict.fromkeys(keys))


def parse_bind(endpoint: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int]:
    """Address and port of ``tcp://ADDRESS:PORT``. ConfigError otherwise."""
    shown = repr(endpoint[:128])
    if endpoint.startswith(_SCHEME):
        parsed = _address_and_port(endpoint[len(_SCHEME) :])
        if parsed is not None:
            return parsed
    raise ConfigError(
        f"--bind {shown}: write tcp://ADDRESS:PORT with a numeric address of this host, such as"
        " tcp://0.0.0.0:50051, tcp://[::]:50051 or tcp://127.0.0.1:50051; port 0 is a free one"
    )


def parse_health(text: str) -> tuple[str, int]:
    """Address and port of ``ADDRESS:PORT``. ConfigError otherwise."""
    parsed = _address_and_port(text)
    if parsed is None:
        raise ConfigError(f"--health {text[:128]!r}: write ADDRESS:PORT, such as 0.0.0.0:8080 or 127.0.0.1:8080")
    return str(parsed[0]), parsed[1]


def _address_and_port(text: str) -> tuple[ipaddress.IPv4Address | ipaddress.IPv6Address, int] | None:
    host, colon, port = text.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or len(port) > 5 or int(port) > _MAX_PORT:
        return None
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        return None
    return (address, int(port)) if bracketed == (address.version == 6) and not address.is_multicast else None
