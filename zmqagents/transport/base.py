"""What the driver asks of a transport, and what a transport tells the driver.

A transport moves multipart messages over *paths* (SPEC.md section 1) and gossip over PUB/SUB. It knows no frames. It
may lose, repeat or reorder what it carries only when a connection is lost; the link above makes up for that. All calls
and all callbacks happen in the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import NodeId, PathId

MAX_PARTS = 2_048
"""Parts of one message, beyond which it is stray (SPEC.md section 10)."""


@dataclass(frozen=True, slots=True)
class Bound:
    """Where a transport listens: ``tcp://host:port``, in the order of ``TransportOptions.listen``."""

    endpoints: tuple[str, ...]
    gossip_endpoints: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TransportOptions:
    """Settings of a transport; each trade-off stands beside its default."""

    listen: tuple[str, ...] = ("127.0.0.1",)
    """Addresses to bind, without port: ``127.0.0.1``, ``::1``; ``0.0.0.0`` for all of IPv4, ``::`` for all."""
    port: int = 0
    """Port of the ROUTER; 0 takes a free one."""
    gossip_port: int = 0
    """Port of the PUB; 0 takes a free one."""
    max_part_bytes: int = 128 << 20
    """MAXMSGSIZE: a larger part makes libzmq drop the connection it came on."""
    queue_messages: int = 4_096
    """High-water mark of each data connection, in envelopes: above the link's window of 1,024, so that the link, which
    can wait, is full before the socket, which would have to refuse."""
    gossip_queue_messages: int = 16_384
    """High-water mark of each gossip connection; what is lost beyond is pulled later."""
    zmtp_heartbeat_ms: int = 750
    """Interval of ZMTP PINGs, answered by libzmq's own thread even when the program is busy."""
    zmtp_timeout_ms: int = 750
    """How long a PING may be unanswered before the connection counts as lost: two retransmissions of TCP (0.2 s and
    0.4 s). With both this and the interval longer, a cut that lets packets through one way, whose last ones put the
    timeout off by a second, would not be known in 5 s (SPEC.md section 6.4)."""
    reconnect_ms: int = 50
    """First wait before a lost connection is dialled again; doubles up to ``reconnect_max_ms``."""
    reconnect_max_ms: int = 1_000
    linger_ms: int = 500
    """How long closing may wait for what is queued."""
    curve_secrets: tuple[bytes, ...] = field(default=(), repr=False)
    """Secret CURVE keys, 32 bytes each, which all nodes of the cluster share: none (nothing is encrypted, and whoever
    can connect is let in), one, or two while keys are being changed, of which the first is the one to bind with."""


class TransportEvents(Protocol):
    """Callbacks of a transport."""

    def is_late(self) -> bool:
        """Whether the event loop was held up: all that came meanwhile is then to be read before anything else happens.

        What a peer asked for, and then took back, must not be begun in between.
        """

    def on_message(self, path: PathId, parts: list[Part]) -> None:
        """A multipart message came; ``path`` (an int for a dialled one, else the peer's node id) can be answered on."""

    def on_lone_message(self, path: PathId, parts: list[Part]) -> None:
        """As ``on_message``, for a message that is probably the only one that has come; who tells so is done with it.

        Called by the event loop, never from within a task: tasks may be resumed within. Transports need not tell it.
        """

    def on_gossip(self, parts: list[Part]) -> None:
        """A gossip message came from one of the subscribed endpoints."""

    def on_path_up(self, path: int) -> None:
        """The ZMTP handshake of a dialled path is done: the first time, or again after a loss."""

    def on_path_down(self, path: int) -> None:
        """A dialled path that was up lost its connection; it is being dialled again."""

    def on_path_refused(self, path: int) -> None:
        """An attempt to dial was refused (nobody listens there); more follow by themselves."""

    def on_gossip_up(self, endpoint: str) -> None:
        """The ZMTP handshake with a gossip endpoint is done."""

    def on_gossip_down(self, endpoint: str) -> None:
        """The connection with a gossip endpoint was lost."""

    def on_gossip_refused(self, endpoint: str) -> None:
        """An attempt to dial a gossip endpoint was refused."""

    def on_stray(self, reason: str) -> None:
        """Something came that is not a message at all (for counters and one log line); nothing else is disturbed."""

    def on_turned_away(self, host: str, reason: str) -> None:
        """No connection with a host was made because of keys, ours or its, or because it doesn't speak ZMTP."""


class Transport(Protocol):
    """Sockets of one node."""

    def bind(self, node_id: NodeId, options: TransportOptions, events: TransportEvents) -> Bound:
        """Listen; callbacks begin. Raises ConfigError if an address can't be bound, with what to change."""

    def open_path(self, path: int, endpoint: str) -> None:
        """Dial ``endpoint``; ``path`` is the caller's new number for it. Returns at once."""

    def close_path(self, path: int) -> None:
        """End a dialled path; unknown numbers are ignored. No callback for it follows."""

    def send(self, path: PathId, parts: Sequence[Part]) -> bool:
        """Queue one multipart message; False if the path takes none now (unknown, not connected, or full)."""

    def subscribe(self, endpoint: str) -> None:
        """Connect to a peer's gossip endpoint; a second call for it is ignored."""

    def unsubscribe(self, endpoint: str) -> None:
        """Disconnect from it; unknown ones are ignored. No callback for it follows."""

    def publish(self, parts: Sequence[bytes]) -> None:
        """Send gossip to whoever has subscribed."""

    async def close(self) -> None:
        """Send what is queued for at most ``linger_ms``, then end every socket. No callback follows. Idempotent."""
