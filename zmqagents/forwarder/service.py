"""A forwarder at work: owns the clock, the timer and the socket, and does what ``protocol/relay.py`` decides."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
from typing import Any

from zmqagents.forwarder.health import HealthServer
from zmqagents.forwarder.settings import ForwarderSettings, parse_health
from zmqagents.protocol.ids import NodeId, make_node_id, short
from zmqagents.protocol.relay import Relay
from zmqagents.protocol.relay_state import Attached, Detached, Refused, RelayLimits, Stray
from zmqagents.transport.base import TransportOptions
from zmqagents.transport.strays import StrayLog
from zmqagents.transport.zeromq.relay_socket import RelaySocket

logger = logging.getLogger("zmqagents.forwarder")


class Forwarder:
    """One forwarder; ``start``, and then ``stop``. All in one event loop."""

    def __init__(self, settings: ForwarderSettings) -> None:
        self.settings = settings
        self.forwarder_id = make_node_id(os.urandom(16))
        self.relay: Relay | None = None
        self.started_s = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._socket: RelaySocket | None = None
        self._health: HealthServer | None = None
        self._strays = StrayLog(logger)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_s = math.inf
        self._emptied = asyncio.Event()

    # -- life --------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listen. Raises ConfigError if an address can't be bound; then nothing is left open."""
        loop = self._loop = asyncio.get_running_loop()
        settings = self.settings
        self.started_s = loop.time()
        limits = RelayLimits(max_nodes=settings.max_peers)
        self.relay = Relay(self.forwarder_id, settings.cluster, limits, now_s=self.started_s)
        options = TransportOptions(curve_secrets=settings.curve_secrets())
        self._socket = RelaySocket(settings.bind, self, options)
        try:
            if settings.health is not None:
                self._health = HealthServer(self)
                await self._health.start(*parse_health(settings.health))
        except BaseException:
            await self._socket.close()
            raise
        logger.info(
            "forwarder %s of cluster %r listens at %s, %s%s",
            short(self.forwarder_id),
            settings.cluster,
            ", ".join(self.endpoints),
            "with a cluster key" if settings.cluster_key is not None else "without a cluster key: nothing is encrypted",
            f"; health at http://{self._health.address}/healthz" if self._health is not None else "",
        )
        if settings.cluster_key is None and settings.insecure_lan:
            logger.warning("--insecure-lan without a cluster key: whoever can connect can call every agent")

    async def stop(self) -> None:
        """Send the nodes to their other ways, relay on while they go (at most for the drain time), end. Idempotent."""
        relay, socket = self.relay, self._socket
        if relay is None or socket is None:
            return
        if not relay.draining:
            logger.info("draining: %s nodes are attached", f"{len(relay.attached):,}")
            relay.drain(self._now())
            self.on_handled()
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._emptied.wait(), self.settings.drain_s)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await socket.close()
        if self._health is not None:
            await self._health.close()
        logger.info("ended: %s envelopes were relayed", f"{relay.counters.envelopes:,}")

    # -- what others look at -----------------------------------------------------------------------------------

    @property
    def endpoints(self) -> tuple[str, ...]:
        """Where it listens."""
        return self._socket.endpoints if self._socket is not None else ()

    @property
    def health_address(self) -> str:
        """``ADDRESS:PORT`` of the health endpoint; empty if there is none."""
        return self._health.address if self._health is not None else ""

    @property
    def waiting(self) -> tuple[int, int]:
        """Messages that wait for slow readers, and the bytes that they and others on their way hold."""
        if self._socket is None:
            return 0, 0
        self._socket.backlog.reap()
        return self._socket.backlog.waiting, self._socket.backlog.size_bytes

    @property
    def uptime_s(self) -> float:
        """Seconds since the start."""
        return self._now() - self.started_s

    # -- events of the socket ----------------------------------------------------------------------------------

    def on_message(self, node_id: NodeId, parts: list[Any]) -> None:
        """Relay it."""
        relay, socket = self._working()
        relay.receive(node_id, parts, self._now())
        for receiver, message in relay.take():
            socket.send(receiver, message)

    def on_handled(self) -> None:
        """Send what was made, tell what has happened, and see to the timer."""
        if self.relay is None or self._socket is None:
            return
        relay, socket = self._working()
        now_s = self._now()
        if relay.wake_s <= now_s:
            relay.tick(now_s)
        while sends := relay.take():  # what can't be sent may cause more, of which every node causes little and once
            for receiver, message in sends:
                if not socket.send(receiver, message):
                    relay.unsent(receiver)
        if relay.draining and not relay.attached:
            self._emptied.set()
        self._log_news(relay)
        self._set_timer(relay.wake_s)

    def on_unreachable(self, node_id: NodeId, messages: int) -> None:
        """The node has gone."""
        relay, _ = self._working()
        if messages:
            relay.counters.dropped["unreachable"] += messages
        relay.unreachable(node_id, self._now())

    def on_overflow(self, node_id: NodeId) -> None:
        """The node reads too slowly."""
        relay, _ = self._working()
        relay.counters.dropped["queue full"] += 1
        relay.overflowed(node_id, self._now())
        self._strays.report(f"{short(node_id)}'s queue", "it reads too slowly", self._now())

    def on_disconnected(self) -> None:
        """Somebody has gone."""
        if self.relay is not None:
            self.relay.disconnected(self._now())
            self.on_handled()

    def on_stray(self, reason: str) -> None:
        """Count and tell."""
        relay, _ = self._working()
        relay.counters.strays += 1
        self._strays.report("somebody", reason, self._now())

    def on_turned_away(self, host: str, reason: str) -> None:
        """Tell."""
        if self.relay is not None:
            self.relay.counters.refused["turned away"] += 1
        self._strays.report_turned_away(host, reason, self._now())

    # -- the rest ----------------------------------------------------------------------------------------------

    def _working(self) -> tuple[Relay, RelaySocket]:
        if self.relay is None or self._socket is None:
            raise RuntimeError("this forwarder has not started")
        return self.relay, self._socket

    def _now(self) -> float:
        return self._loop.time() if self._loop is not None else 0.0

    def _set_timer(self, at_s: float) -> None:
        if at_s == self._timer_s and self._timer is not None:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timer_s = at_s
        if at_s < math.inf and self._loop is not None:
            self._timer = self._loop.call_at(at_s, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.on_handled()

    def _log_news(self, relay: Relay) -> None:
        for news in relay.take_news():
            if isinstance(news, Attached):
                logger.debug("node %s is attached", short(news.node_id))
            elif isinstance(news, Detached):
                logger.debug("node %s is gone: %s", short(news.node_id), news.reason)
            elif isinstance(news, Refused):
                self._strays.report(f"node {short(news.node_id)}", f"{news.code.name}: {news.text}", self._now())
            elif isinstance(news, Stray):
                self._strays.report(f"node {short(news.node_id)}", news.text, self._now())
