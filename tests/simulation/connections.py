"""Connections as libzmq's over TCP: they keep order, lose what is on its way when they break, and are dialled again.

A cut or a suspended process holds up what is on its way, as TCP does; it arrives when the hindrance ends before ZMTP
times out, and is lost with the connection after that. What a forwarder might do besides is chance, and a property of
the network: envelopes that are lost, come twice, or come late.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol, TypeAlias

from zmqagents.protocol.ids import NodeId

if TYPE_CHECKING:
    from tests.simulation.network import Network

FIRST_DIAL_WAIT_S = 0.05
LAST_DIAL_WAIT_S = 1.0
ZMTP_TIMEOUT_S = 1.5
LOSS_SEEN_AFTER_S = 0.002
HANDSHAKE_S = 0.003
LATE_S = 0.3  # how much later than its successors an envelope may come that is out of order, or a copy

Callback: TypeAlias = Callable[[], None]


class Host(Protocol):
    """What the network knows of a process."""

    name: str
    place: str
    """The machine and port, which the next life of the process has too. Faults are between names or places."""
    node_id: NodeId
    alive: bool
    suspended: bool

    def do(self, callback: Callback) -> None:
        """Run an input of the process, at once or when its program gets to it."""

    def shaken(self, source: NodeId, connection: Connection) -> None:
        """A connection that ``source`` has dialled is complete; its program need not know yet."""

    def hung_up(self) -> None:
        """A connection that somebody else had dialled has ended."""


class DialEvents(Protocol):
    """Whom a dial tells how it goes."""

    def up(self) -> None: ...

    def down(self) -> None: ...

    def refused(self) -> None: ...


class Connection:
    """One connection between two processes; two queues that keep order."""

    def __init__(self, network: Network, dialler: Host, listener: Host, dial: Dial) -> None:
        self.dialler = dialler
        self.listener = listener
        self.dial = dial
        self.open = True
        self._network = network
        self._base_s = network.random.uniform(0, network.base_s) if network.base_s else 0.0
        self._last_s = {dialler.name: 0.0, listener.name: 0.0}
        self._held: list[tuple[Host, Callback]] = []

    def send(self, to: Host, arrive: Callback, *, sure: bool = False) -> None:
        """Have ``arrive`` run at ``to`` after a delay, unless the connection breaks before, or by chance.

        What a forwarder and a node say to each other is ``sure``; what is relayed may not fit in its queues.
        """
        network = self._network
        at_s = max(network.now_s + self._base_s + network.delay_s(), self._last_s[to.name])
        if self.dial.kind == "gossip":
            if network.happens("gossip-loss", network.gossip_loss):
                return
        elif network.is_rough and not sure:
            if network.happens("dup", network.duplication):
                self._schedule(to, arrive, at_s + network.random.uniform(0, LATE_S))
            if network.happens("loss", network.loss):
                return
            if network.happens("reorder", network.reordering):
                self._schedule(to, arrive, at_s + network.random.uniform(0, LATE_S))
                return
        self._last_s[to.name] = at_s
        self._schedule(to, arrive, at_s)

    def _schedule(self, to: Host, arrive: Callback, at_s: float) -> None:
        self._network.at(at_s, lambda: self._arrive(to, arrive))

    def _arrive(self, to: Host, arrive: Callback) -> None:
        if not self.open or not to.alive:
            return
        if self._held_up(to):
            self._held.append((to, arrive))
        else:
            to.do(arrive)

    def _held_up(self, to: Host) -> bool:
        source = self.dialler if to is self.listener else self.listener
        return to.suspended or self._network.is_blocked(source, to)

    def release(self) -> None:
        """A hindrance has ended: what it held up and nothing else holds up goes on, in order."""
        held, self._held = self._held, []
        for to, arrive in held:
            self._arrive(to, arrive)

    def expire(self) -> None:
        """ZMTP has heard nothing for its timeout, if the hindrance still is."""
        if self.open and self._network.is_silent(self.dialler, self.listener):
            self.close()

    def close(self) -> None:
        """End it; the dialler sees the loss and dials again."""
        if self.open:
            self.open = False
            self._held.clear()
            self.dial.lost()
            self.listener.hung_up()


class Dial:
    """One endpoint being dialled for good, until it is closed."""

    def __init__(self, network: Network, owner: Host, endpoint: str, events: DialEvents) -> None:
        self.owner = owner
        self.endpoint = endpoint
        self.kind = endpoint.partition(":")[0]
        """The scheme of the endpoint: data or gossip."""
        self.connection: Connection | None = None
        self.closed = False
        self._network = network
        self._events = events
        self._wait_s = FIRST_DIAL_WAIT_S
        network.after(network.delay_s(), self._attempt)

    @property
    def is_up(self) -> bool:
        """Whether something sent now has a chance to arrive."""
        return self.connection is not None and self.connection.open and not self.closed

    def _attempt(self) -> None:
        if self.closed or not self.owner.alive:
            return
        network = self._network
        listener = network.listeners.get(self.endpoint)
        if (
            self.owner.suspended
            or network.is_hidden(self.endpoint, self.owner)
            or (listener is not None and network.is_silent(self.owner, listener))
        ):
            network.after(LAST_DIAL_WAIT_S, self._attempt)
        elif listener is None or network.is_walled(self.owner, listener):
            self._tell(self._events.refused)
            self._again()
        else:
            network.after(HANDSHAKE_S + network.delay_s(), lambda: self._shake_hands(listener))

    def _shake_hands(self, listener: Host) -> None:
        if self.closed or not self.owner.alive:
            return
        network = self._network
        hindered = network.is_silent(self.owner, listener) or network.is_walled(self.owner, listener)
        if hindered or network.listeners.get(self.endpoint) is not listener:
            self._attempt()
            return
        network.hand_over(self)
        self.connection = Connection(network, self.owner, listener, self)
        network.connections.append(self.connection)
        self._wait_s = FIRST_DIAL_WAIT_S
        listener.shaken(self.owner.node_id, self.connection)
        self._tell(self._events.up)

    def lost(self) -> None:
        """The connection broke."""
        self._network.connections = [one for one in self._network.connections if one is not self.connection]
        if not self.closed and self.owner.alive:
            self._network.after(LOSS_SEEN_AFTER_S, lambda: self._tell(self._events.down))
            self._again()

    def _again(self) -> None:
        self._network.after(self._wait_s, self._attempt)
        self._wait_s = min(2 * self._wait_s, LAST_DIAL_WAIT_S)

    def _tell(self, event: Callback) -> None:
        self.owner.do(lambda: None if self.closed else event())

    def close(self) -> None:
        """Dial no more."""
        self.closed = True
        if self.connection is not None:
            self.connection.close()
