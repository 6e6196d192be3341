"""Several ``Node`` cores over a network in virtual time: the same seed gives the same run, to the last envelope.

Connections behave as libzmq's do over TCP: they deliver in order, each with its own delay; what is on its way when one
breaks is lost; they are dialled again by themselves, with waits from 50 ms doubling to 1 s; a dial is refused at once
where nobody listens. Gossip may be lost besides. All faults are methods of :class:`Network`.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable
from typing import Protocol, TypeAlias

from zmqagents.protocol.ids import NodeId

FIRST_DIAL_WAIT_S = 0.05
LAST_DIAL_WAIT_S = 1.0
ZMTP_TIMEOUT_S = 1.5
LOSS_SEEN_AFTER_S = 0.002
HANDSHAKE_S = 0.003
MAX_EVENTS = 2_000_000  # of one run: more is a storm

Callback: TypeAlias = Callable[[], None]


class Host(Protocol):
    """What the network knows of a process."""

    name: str
    node_id: NodeId
    alive: bool

    def do(self, callback: Callback) -> None:
        """Run an input of the process, at once or when its program gets to it."""

    def receive(self, path: int | bytes, parts: list[bytes]) -> None: ...

    def receive_gossip(self, parts: list[bytes]) -> None: ...


class DialEvents(Protocol):
    """Whom a dial tells how it goes."""

    def up(self) -> None: ...

    def down(self) -> None: ...

    def refused(self) -> None: ...


class Connection:
    """One connection between two processes; two queues that keep order."""

    def __init__(self, network: Network, dialler: Host, listener: Host, dial: Dial) -> None:
        self.ends = {dialler.name, listener.name}
        self.listener = listener
        self.dialler = dialler
        self.dial = dial
        self.open = True
        self._network = network
        self._last_s = {dialler.name: 0.0, listener.name: 0.0}

    def send(self, to: Host, arrive: Callback) -> None:
        """Have ``arrive`` run at ``to`` after a delay, unless the connection breaks before."""
        network = self._network
        at_s = max(network.now_s + network.delay_s(), self._last_s[to.name])
        self._last_s[to.name] = at_s
        network.at(at_s, lambda: to.do(arrive) if self.open and to.alive else None)

    def close(self) -> None:
        """End it; the dialler sees the loss and dials again."""
        if self.open:
            self.open = False
            self.dial.lost()


class Dial:
    """One endpoint being dialled for good, until it is closed."""

    def __init__(self, network: Network, owner: Host, endpoint: str, events: DialEvents) -> None:
        self.owner = owner
        self.endpoint = endpoint
        self.connection: Connection | None = None
        self.closed = False
        self._network = network
        self._events = events
        self._wait_s = FIRST_DIAL_WAIT_S
        network.after(network.delay_s(), self._attempt)

    @property
    def kind(self) -> str:
        """The scheme of the endpoint: data or gossip."""
        return self.endpoint.partition(":")[0]

    @property
    def is_up(self) -> bool:
        """Whether something sent now has a chance to arrive."""
        return self.connection is not None and self.connection.open and not self.closed

    def _attempt(self) -> None:
        if self.closed or not self.owner.alive:
            return
        network = self._network
        listener = network.listeners.get(self.endpoint)
        if listener is not None and network.is_cut(self.owner.name, listener.name):
            network.after(LAST_DIAL_WAIT_S, self._attempt)
        elif listener is None or network.is_walled(self.owner.name, listener.name):
            self._tell(self._events.refused)
            self._again()
        else:
            network.after(HANDSHAKE_S + network.delay_s(), lambda: self._shake_hands(listener))

    def _shake_hands(self, listener: Host) -> None:
        if self.closed or not self.owner.alive:
            return
        network = self._network
        if network.listeners.get(self.endpoint) is not listener or network.is_hindered(self.owner.name, listener.name):
            self._attempt()
            return
        network.hand_over(self)
        self.connection = Connection(network, self.owner, listener, self)
        network.connections.append(self.connection)
        self._wait_s = FIRST_DIAL_WAIT_S
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


class Network:
    """The clock, the connections and the faults. ``gossip_loss`` is the share of PUB messages that vanish."""

    def __init__(self, seed: int = 0, *, slowest_s: float = 0.004, gossip_loss: float = 0.0) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now_s = 1_000.0
        self.gossip_loss = gossip_loss
        self.listeners: dict[str, Host] = {}
        self.connections: list[Connection] = []
        self.envelopes = 0
        self._slowest_s = slowest_s
        self._events: list[tuple[float, int, Callback]] = []
        self._order = 0
        self._cuts: set[frozenset[str]] = set()
        self._walls: set[frozenset[str]] = set()
        self._fingerprint = hashlib.sha256()
        self._story: deque[str] = deque(maxlen=40)

    # -- time --------------------------------------------------------------------------------------------------

    def at(self, at_s: float, callback: Callback) -> None:
        self._order += 1
        heapq.heappush(self._events, (at_s, self._order, callback))

    def after(self, delay_s: float, callback: Callback) -> None:
        self.at(self.now_s + delay_s, callback)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end_s = self.now_s + seconds
        while self._events and self._events[0][0] <= end_s:
            self._step()
        self.now_s = end_s

    def run_until(self, condition: Callable[[], bool], *, within_s: float = 10.0) -> None:
        """Let time pass until the condition holds; AssertionError with the seed if it doesn't within the time."""
        end_s = self.now_s + within_s
        while not condition():
            if not self._events or self._events[0][0] > end_s:
                raise AssertionError(f"not within {within_s:g} s (seed {self.seed})\n" + self.story())
            self._step()

    def _step(self) -> None:
        at_s, order, callback = heapq.heappop(self._events)
        if order > MAX_EVENTS:
            raise AssertionError(f"a storm (seed {self.seed})\n" + self.story())
        self.now_s = max(self.now_s, at_s)
        callback()

    def delay_s(self) -> float:
        return self.random.uniform(0.0002, self._slowest_s)

    # -- the record of the run ---------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        line = f"{self.now_s:.6f} {text}"
        self._fingerprint.update(line.encode())
        self._story.append(line)

    def story(self) -> str:
        """The last things that happened."""
        return "\n".join(self._story)

    @property
    def fingerprint(self) -> str:
        """Equal for equal runs."""
        return self._fingerprint.hexdigest()

    # -- faults ------------------------------------------------------------------------------------------------

    def blip(self, one: str, other: str) -> None:
        """The connections between two processes break and can be made again at once."""
        self.note(f"blip {one} {other}")
        self._break(one, other)

    def cut(self, one: str, other: str) -> None:
        """Nothing comes through between two processes; both notice when ZMTP times out."""
        self.note(f"cut {one} {other}")
        self._cuts.add(frozenset((one, other)))
        for connection in self._between(one, other):
            connection.open = False
            self.after(ZMTP_TIMEOUT_S, connection.dial.lost)

    def wall(self, one: str, other: str) -> None:
        """Connections between two processes break and are refused, though both are alive."""
        self.note(f"wall {one} {other}")
        self._walls.add(frozenset((one, other)))
        self._break(one, other)

    def mend(self, one: str, other: str) -> None:
        """No cut and no wall is between the two any more."""
        self.note(f"mend {one} {other}")
        self._cuts.discard(frozenset((one, other)))
        self._walls.discard(frozenset((one, other)))

    def is_cut(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._cuts

    def is_walled(self, one: str, other: str) -> bool:
        return frozenset((one, other)) in self._walls

    def is_hindered(self, one: str, other: str) -> bool:
        return self.is_cut(one, other) or self.is_walled(one, other)

    def hand_over(self, dial: Dial) -> None:
        """A ROUTER has one connection for each routing id: the new one takes the place of the one before."""
        listener = self.listeners[dial.endpoint]
        if dial.kind != "data":
            return
        for connection in self.connections:
            between = connection.dialler is dial.owner and connection.listener is listener
            if between and connection.dial.kind == dial.kind:
                connection.close()

    def _between(self, one: str, other: str) -> list[Connection]:
        return [connection for connection in self.connections if connection.ends == {one, other}]

    def _break(self, one: str, other: str) -> None:
        for connection in self._between(one, other):
            connection.close()

    def disconnect(self, host: Host) -> None:
        """The process is gone: nobody listens any more, and its connections break."""
        self.listeners = {endpoint: owner for endpoint, owner in self.listeners.items() if owner is not host}
        for connection in [connection for connection in self.connections if host.name in connection.ends]:
            connection.close()
