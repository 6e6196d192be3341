"""Settings of a runtime: one frozen dataclass, made from keyword arguments and the environment, checked once."""

from __future__ import annotations

import ipaddress
import math
import os
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict

from zmqagents.errors import ConfigError
from zmqagents.keys import check_key, curve_secret

LOOPBACK = ("127.0.0.1",)
ALL = ("all",)
MAX_LABEL_BYTES = 255  # SPEC.md section 6.1
MAX_HEARTBEAT_S = 1_000  # ZMTP's TTL is 16 bits of tenths of a second, and it is three intervals
MAX_MESSAGE_BYTES = 1 << 62  # libzmq's limit is a signed 64-bit number

MAX_WEIGHT = 1_000_000  # a record has room for more, but a smaller share than a millionth means "nothing": write 0
POLICIES = ("by_key", "rebalance", "least_loaded", "round_robin", "random", "local_first")  # SPEC.md section 8.1

_KEY_VARIABLES = {"ZMQAGENTS_CLUSTER_KEY": "cluster_key", "ZMQAGENTS_OTHER_CLUSTER_KEY": "other_cluster_key"}
_MAX_KEY_FILE_BYTES = 4_096  # two keys of the largest size, and line ends

_FORWARDER = re.compile(r"tcp://(?:\[[0-9A-Fa-f:.]+(?:%[\w.-]+)?\]|[^\s:/@\[\]]+):(\d{1,5})")
_MAX_PORT = 65_535
_LISTS = ("seeds", "listen", "advertise", "interfaces")  # settings that take several texts

_ABOVE_0 = math.ulp(0.0)


@dataclass(frozen=True, slots=True)
class Placement:
    """How the agents of a type are shared among the processes that host it. ConfigError, saying what to write."""

    policy: str | None = None
    """One of ``POLICIES``; None is what the agent's class says, and ``"by_key"`` if it says nothing."""
    weight: int | None = None
    """This process's share, relative to that of the others: twice the weight gets twice the agents or messages, 0 gets
    none while another process has weight. None is what the class says, and then the setting ``weight``."""

    def __post_init__(self) -> None:
        if self.policy is not None and self.policy not in POLICIES:
            raise ConfigError(f"policy={self.policy!r:.80}: write one of {', '.join(POLICIES)}")
        if self.weight is not None:
            check_weight(self.weight)

    def over(self, other: Placement) -> Placement:
        """This one, completed by the other where it says nothing."""
        return Placement(
            other.policy if self.policy is None else self.policy, other.weight if self.weight is None else self.weight
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeConfig:
    """Every setting of ``ZmqAgentRuntime``. Times are seconds, sizes bytes."""

    cluster: str = "default"
    """Processes see only those of their own cluster. Environment: ``ZMQAGENTS_CLUSTER``."""
    instance_id: str = ""
    """A label for people, in logs and ``peers()``; host name and process id if empty. Environment: ``INSTANCE_ID``."""
    discovery: str = "mdns"
    """``"mdns"``, or ``"none"`` to use ``seeds`` alone. Environment: ``ZMQAGENTS_DISCOVERY``."""
    interfaces: tuple[str, ...] = ()
    """Where mDNS asks and answers: ``"loopback"``, ``"all"``, or names or addresses of interfaces; none at all: there
    where ``listen`` is. Environment: ``ZMQAGENTS_INTERFACES``, separated by commas."""
    seeds: tuple[str, ...] = ()
    """``tcp://host:port`` of processes to ask; a name with several addresses means all of them. They are used besides
    mDNS. Environment: ``ZMQAGENTS_SEEDS``, separated by commas."""
    broker_url: str | None = None
    """Forwarders to attach to: ``tcp://host:port``, or several, separated by commas; a name with several addresses
    means all of them. Processes that attach to the same forwarder find each other there, and talk through it where they
    can't directly. None or empty: there is none. Environment: ``BROKER_URL``."""
    listen: tuple[str, ...] = ()
    """Where to listen: ``"loopback"``; ``"all"``, the interfaces at which other hosts reach this one (see
    discovery/addresses.py); names of interfaces; addresses, among them ``"0.0.0.0"`` and ``"::"`` for every interface.
    None at all: ``"all"`` with a cluster key, and loopback without, where nothing else is accepted unless
    ``insecure_lan``. Environment: ``ZMQAGENTS_LISTEN``, separated by commas."""
    advertise: tuple[str, ...] = ()
    """What others are to dial, if not the addresses listened on: addresses or names of this host, looked up at the
    start, each with a port if that is another one there (``"203.0.113.7:7000"``), as behind a port mapping.
    Environment: ``ZMQAGENTS_ADVERTISE``, separated by commas."""
    insecure_lan: bool = False
    """Accept more than loopback in ``listen``, though whoever can connect can then call every agent: for networks that
    nobody else is on. Environment: ``ZMQAGENTS_INSECURE_LAN=1``."""
    cluster_key: str | None = field(default=None, repr=False)
    """The key that all processes of the cluster have; ``zmqagents keygen`` prints one. With it everything is encrypted,
    nobody without it gets in, and other hosts are listened to. Never logged. Environment: ``ZMQAGENTS_CLUSTER_KEY``, or
    ``ZMQAGENTS_CLUSTER_KEY_FILE``, a file with the key in its first line."""
    other_cluster_key: str | None = field(default=None, repr=False)
    """A second key that is taken while keys are being changed. Environment: ``ZMQAGENTS_OTHER_CLUSTER_KEY``, or the
    second line of the file."""
    port: int = 0
    """Port that others dial; 0 takes a free one. Fix it for a process that is somebody's seed. Environment:
    ``ZMQAGENTS_PORT``."""
    gossip_port: int = 0
    """Port at which others listen to this process's gossip; 0 takes a free one. Fix it for a firewall or a port
    mapping that has to let both through. Environment: ``ZMQAGENTS_GOSSIP_PORT``."""
    discovery_timeout_s: float = 5.0
    """How long a call to a type that nobody hosts yet waits before it is undeliverable. Longer rides out slow starts;
    shorter tells a typing mistake sooner."""
    join_timeout_s: float = 3.0
    """How long ``start`` waits for the peers that discovery has shown to tell what they know; then it goes on, and logs
    who did not answer."""
    settle_s: float | None = None
    """How long ``start`` waits for the first mDNS answers; None takes the measured default of the mDNS module."""
    call_timeout_s: float | None = None
    """Deadline of every call that doesn't set its own; None is no deadline, as in AutoGen."""
    send_timeout_s: float = 30.0
    """How long a sender waits for a peer whose window is full, before BackpressureError."""
    weight: int = 100
    """This process's share of the agents and messages of each type, relative to that of the other processes which host
    it: 200 beside others' 100 gets twice as much, 0 nothing while another has weight. Environment:
    ``ZMQAGENTS_WEIGHT``."""
    placements: Mapping[str, str | Placement] = field(default_factory=dict)
    """Policy, or ``Placement``, by agent type, in place of what the ``@placement`` of the agent's class says. All
    processes that host a type must give it the same policy."""
    drain_timeout_s: float = 10.0
    """How long ``stop`` waits for handlers that run and for messages on their way."""
    cancel_grace_s: float = 0.5
    """A cancelled call cancels its handler's token at once, and the handler's task this much later."""
    max_message_bytes: int = 128 << 20
    """Largest serialized message; the same on all processes of a cluster."""
    heartbeat_s: float = 1.0
    """Interval of the gossip heartbeat: what is lost on the way is repaired within about two of them."""
    zmtp_heartbeat_s: float = 0.75
    """Interval of ZMTP PINGs. One that has no answer before the next is due counts as a lost connection."""

    def __post_init__(self) -> None:
        _check_text("cluster", self.cluster, empty=False)
        _check_text("instance_id", self.instance_id, empty=True)
        if self.discovery not in ("mdns", "none"):
            raise ConfigError(f'discovery={self.discovery!r}: write "mdns", or "none" to use seeds alone')
        if not isinstance(self.insecure_lan, bool):
            raise ConfigError(f"insecure_lan={self.insecure_lan!r}: write True or False")
        self._check_keys()
        self.forwarders()
        self._settle_listen()
        for name in ("port", "gossip_port"):
            rule = "write 0 for a free port, or a number from 1 to 65535"
            _check_number(name, getattr(self, name), 0, 65_535, rule, whole=True)
        for name in ("discovery_timeout_s", "join_timeout_s", "send_timeout_s", "drain_timeout_s", "cancel_grace_s"):
            _check_number(name, getattr(self, name), 0, math.inf, "write a number of seconds, 0 or more")
        if self.settle_s is not None:
            _check_number("settle_s", self.settle_s, 0, math.inf, "write a number of seconds, 0 or more, or None")
        if self.call_timeout_s is not None:
            rule = "write a number of seconds above 0, or None"
            _check_number("call_timeout_s", self.call_timeout_s, _ABOVE_0, math.inf, rule)
        for name in ("heartbeat_s", "zmtp_heartbeat_s"):
            rule = f"write a number of seconds above 0, and at most {MAX_HEARTBEAT_S:,}"
            _check_number(name, getattr(self, name), _ABOVE_0, MAX_HEARTBEAT_S, rule)
        check_weight(self.weight)
        object.__setattr__(self, "placements", _placements(self.placements))
        rule = "write a whole number of bytes above 0"
        _check_number("max_message_bytes", self.max_message_bytes, 1, MAX_MESSAGE_BYTES, rule, whole=True)

    def _settle_listen(self) -> None:
        """What was not said follows from what was: ``listen`` from the key, and ``interfaces`` from ``listen``."""
        keyed = self.cluster_key is not None
        if not self.listen:
            object.__setattr__(self, "listen", ALL if keyed else LOOPBACK)
        _check_listen(self.listen, open_to_all=self.insecure_lan or keyed)
        if not self.interfaces:
            places = ["loopback" if _is_loopback(one) else one for one in self.listen]
            everywhere = any(one in ALL or _is_wildcard(one) for one in places)
            object.__setattr__(self, "interfaces", ALL if everywhere else tuple(dict.fromkeys(places)))

    def _check_keys(self) -> None:
        if self.cluster_key is not None:
            check_key(self.cluster_key, "cluster_key")
        if self.other_cluster_key is not None:
            check_key(self.other_cluster_key, "other_cluster_key")
            if self.cluster_key is None:
                raise ConfigError("other_cluster_key is set without cluster_key; while keys are changed, set both")

    def forwarders(self) -> tuple[str, ...]:
        """The endpoints of ``broker_url``, each once. ConfigError, saying what to write."""
        given = [endpoint.strip() for endpoint in (self.broker_url or "").split(",") if endpoint.strip()]
        for endpoint in given:
            matched = _FORWARDER.fullmatch(endpoint)
            if matched is None or not 1 <= int(matched[1]) <= _MAX_PORT:
                raise ConfigError(
                    f"broker_url={self.broker_url!r:.200}: write tcp://host:port of a forwarder, or several of them"
                    " separated by commas; leave it out to run without a forwarder"
                )
        return tuple(dict.fromkeys(given))

    def curve_secrets(self) -> tuple[bytes, ...]:
        """The secret CURVE keys to listen and dial with, the one to listen with first; none without a cluster key."""
        keys = [key for key in (self.cluster_key, self.other_cluster_key) if key is not None]
        return tuple(curve_secret(key, self.cluster) for key in dict.fromkeys(keys))

    def exposed(self) -> tuple[str, ...]:
        """What of ``listen`` is not this host's alone, if whoever connects there is let in."""
        if self.cluster_key is not None:
            return ()
        return tuple(one for one in self.listen if not _is_loopback(one))

    def placement(self, agent_type: str) -> Placement:
        """What the settings say about an agent type."""
        placed = self.placements.get(agent_type, Placement())
        return placed if isinstance(placed, Placement) else Placement(placed)

    def labelled(self) -> RuntimeConfig:
        """The same, with an instance id made from host name and process id if there was none."""
        if self.instance_id:
            return self
        return replace(self, instance_id=f"{socket.gethostname()[:200]}-{os.getpid()}")


class Settings(TypedDict, total=False):
    """The settings of ``RuntimeConfig`` as keyword arguments; lists are taken where it has tuples."""

    cluster: str
    instance_id: str
    discovery: str
    interfaces: str | Sequence[str]
    seeds: str | Sequence[str]
    broker_url: str | None
    listen: str | Sequence[str]
    advertise: str | Sequence[str]
    insecure_lan: bool
    cluster_key: str | None
    other_cluster_key: str | None
    port: int
    gossip_port: int
    discovery_timeout_s: float
    join_timeout_s: float
    settle_s: float | None
    call_timeout_s: float | None
    send_timeout_s: float
    weight: int
    placements: Mapping[str, str | Placement]
    drain_timeout_s: float
    cancel_grace_s: float
    max_message_bytes: int
    heartbeat_s: float
    zmtp_heartbeat_s: float


def make_config(settings: Mapping[str, Any], environment: Mapping[str, str] | None = None) -> RuntimeConfig:
    """A config from keyword arguments, completed from the environment. Raises ConfigError, naming what is wrong."""
    known = {item.name for item in fields(RuntimeConfig)}
    unknown = sorted(settings.keys() - known)
    if unknown:
        raise ConfigError(f"unknown setting {unknown[0]!r}; the settings are {', '.join(sorted(known))}")
    environment = os.environ if environment is None else environment
    given = _from_environment(environment)
    if "cluster_key" not in settings:  # the other key of the environment belongs to the one there
        given.update(keys_from_environment(environment))
    merged: dict[str, Any] = {**given, **settings}
    for name in _LISTS:
        if name in merged:
            merged[name] = _texts(name, merged[name])
    if not merged.get("listen", ALL):
        raise ConfigError("listen is empty: write at least one address, such as listen=['127.0.0.1'], or 'all'")
    if not merged.get("interfaces", ALL):
        raise ConfigError("interfaces is empty: write 'loopback', 'all', or a list of names or addresses")
    for name in ("cluster", "instance_id", "discovery", "broker_url"):
        if not isinstance(merged.get(name) or "", str):
            raise ConfigError(f"{name}={merged[name]!r}: write a text")
    return RuntimeConfig(**merged)


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for variable, name in (
        ("ZMQAGENTS_CLUSTER", "cluster"),
        ("INSTANCE_ID", "instance_id"),
        ("ZMQAGENTS_DISCOVERY", "discovery"),
        ("BROKER_URL", "broker_url"),
    ):
        if environment.get(variable):
            found[name] = environment[variable]
    for name in _LISTS:
        texts = tuple(text.strip() for text in environment.get(f"ZMQAGENTS_{name.upper()}", "").split(","))
        if any(texts):
            found[name] = tuple(text for text in texts if text)
    for name, rule in (
        ("port", "write a number from 0 to 65535"),
        ("gossip_port", "write a number from 0 to 65535"),
        ("weight", f"write a whole number from 0 to {MAX_WEIGHT:,}"),
    ):
        variable = f"ZMQAGENTS_{name.upper()}"
        number = environment.get(variable)
        if number:
            if not number.isdecimal():
                raise ConfigError(f"{variable}={number!r}: {rule}")
            found[name] = int(number)
    insecure = environment.get("ZMQAGENTS_INSECURE_LAN")
    if insecure:
        if insecure not in ("0", "1"):
            raise ConfigError(f"ZMQAGENTS_INSECURE_LAN={insecure!r}: write 1 or 0")
        found["insecure_lan"] = insecure == "1"
    return found


def keys_from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """``cluster_key`` and ``other_cluster_key``, as far as they are given. ConfigError for a file that is none."""
    given = {
        name: environment[variable].strip()
        for variable, name in _KEY_VARIABLES.items()
        if environment.get(variable, "").strip()
    }
    path = environment.get("ZMQAGENTS_CLUSTER_KEY_FILE")
    if not path:
        return given
    if given:
        raise ConfigError("ZMQAGENTS_CLUSTER_KEY_FILE is set beside keys in the environment; unset one or the other")
    return keys_from_file(path, f"ZMQAGENTS_CLUSTER_KEY_FILE={path!r}")


def keys_from_file(path: str, setting: str) -> dict[str, str]:
    """The same from the lines of a file that are not empty: one or two. ConfigError, naming ``setting``."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{setting} can't be read: {error.strerror}") from None
    lines = content.decode("utf-8", "replace").split()
    if len(content) > _MAX_KEY_FILE_BYTES or not 1 <= len(lines) <= len(_KEY_VARIABLES):
        raise ConfigError(
            f"{setting} is not a file with one key, or, while keys are changed, two lines with a key each"
        )
    return dict(zip(_KEY_VARIABLES.values(), lines, strict=False))


def check_weight(weight: object) -> None:
    """ConfigError unless it is a legal weight."""
    _check_number("weight", weight, 0, MAX_WEIGHT, f"write a whole number from 0 to {MAX_WEIGHT:,}", whole=True)


def _placements(placements: object) -> dict[str, Placement]:
    if not isinstance(placements, Mapping) or not all(isinstance(name, str) for name in placements):
        raise ConfigError(f'placements={placements!r:.80}: write policies by agent type: {{"worker": "rebalance"}}')
    return {agent_type: _placement(agent_type, placed) for agent_type, placed in placements.items()}


def _placement(agent_type: str, placed: object) -> Placement:
    if isinstance(placed, Placement):
        return placed
    if not isinstance(placed, str):
        raise ConfigError(f"placements[{agent_type!r}]={placed!r:.80}: write a policy's name, or Placement(...)")
    try:
        return Placement(placed)
    except ConfigError as error:
        raise ConfigError(f"placements[{agent_type!r}]: {error}") from None


def _texts(name: str, value: object) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, Sequence) or not all(isinstance(text, str) for text in value):
        raise ConfigError(f"{name}={value!r}: write a list of texts")
    return tuple(value)


def _check_number(name: str, value: object, least: float, most: float, rule: str, *, whole: bool = False) -> None:
    """ConfigError unless ``value`` is a number in the range; NaN is in none."""
    number = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    if not number or not least <= value <= most:  # type: ignore[operator]  # it is a number there
        raise ConfigError(f"{name}={value!r}: {rule}")


def _check_text(name: str, value: str, *, empty: bool) -> None:
    try:
        size_bytes = len(value.encode())
    except UnicodeEncodeError:
        raise ConfigError(f"{name}={value!r:.80}: write a text without lone surrogates") from None
    if size_bytes > MAX_LABEL_BYTES or (not value and not empty):
        raise ConfigError(f"{name}={value!r:.80}: write a text of 1 to {MAX_LABEL_BYTES} bytes")


def _check_listen(listen: tuple[str, ...], *, open_to_all: bool) -> None:
    for one in listen:
        if not _is_address(one) and (not one or any(mark in one for mark in ":/ ")):
            raise ConfigError(
                f"listen={one!r}: write an address without port, such as '127.0.0.1' or '::1', the name of an"
                " interface, or 'all'"
            )
        if not open_to_all and not _is_loopback(one):
            raise ConfigError(
                f"listen={one!r}: without a cluster key the runtime listens on loopback only, because whoever can"
                " connect can call every agent; set cluster_key to one that `zmqagents keygen` prints, the same for all"
                " processes, or write 'loopback' or '::1', or, on a network that nobody else is on, insecure_lan=True"
            )


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _is_loopback(text: str) -> bool:
    return text == "loopback" or (_is_address(text) and ipaddress.ip_address(text).is_loopback)


def _is_wildcard(text: str) -> bool:
    return _is_address(text) and ipaddress.ip_address(text).is_unspecified
