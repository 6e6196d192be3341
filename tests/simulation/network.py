"""Several ``Node`` cores over a network in virtual time: the same seed gives the same run, to the last envelope.

All faults are attributes (shares of messages, from 0 to 1) and methods of :class:`Network`; what they have caused is
counted in ``caused``. Those between two processes name the processes, or their places, which outlive them.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import Counter, deque
from collections.abc import Callable

from tests.simulation.connections import (
    FIRST_DIAL_WAIT_S,
    HANDSHAKE_S,
    LAST_DIAL_WAIT_S,
    LOSS_SEEN_AFTER_S,
    ZMTP_TIMEOUT_S,
    Callback,
    Connection,
    Dial,
    DialEvents,
    Host,
)
from zmqagents.protocol.ids import NodeId

__all__ = [
    "FIRST_DIAL_WAIT_S",
    "HANDSHAKE_S",
    "LAST_DIAL_WAIT_S",
    "LOSS_SEEN_AFTER_S",
    "ZMTP_TIMEOUT_S",
    "Callback",
    "Connection",
    "Dial",
    "DialEvents",
    "Host",
    "Network",
]

MAX_EVENTS = 2_000_000  # of one run: more is a storm


class Network:
    """The clock, the connections and the faults."""

    def __init__(self, seed: int = 0, *, slowest_s: float = 0.004, gossip_loss: float = 0.0) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.now_s = 1_000.0
        self.base_s = 0.0
        """Each new connection adds a delay of its own to that of its messages, up to this."""
        self.gossip_loss = gossip_loss
        self.loss = 0.0
        self.duplication = 0.0
        self.reordering = 0.0
        self.caused: Counter[str] = Counter()
        self.listeners: dict[str, Host] = {}
        self.connections: list[Connection] = []
        self.names: dict[NodeId, str] = {}
        """What the processes are called in the record."""
        self.envelopes = 0
        self.tracer: Callable[[str], None] | None = None
        """Is given every line of the record as it is made."""
        self.slowest_s = slowest_s
        self._events: list[tuple[float, int, Callback]] = []
        self._order = 0
        self._cuts: dict[tuple[str, str], None] = {}
        """From whom to whom nothing comes through."""
        self._walls: dict[tuple[str, str], None] = {}
        self._apart: dict[tuple[str, str], bool] = {}
        """Who can never dial whom, and whether that is refused."""
        self._hidden: frozenset[str] = frozenset()
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
        return self.random.uniform(0.0002, self.slowest_s)

    # -- the record of the run ---------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        line = f"{self.now_s:.6f} {text}"
        self._fingerprint.update(line.encode())
        self._story.append(line)
        if self.tracer is not None:
            self.tracer(line)

    def story(self) -> str:
        """The last things that happened."""
        return "\n".join(self._story)

    @property
    def fingerprint(self) -> str:
        """Equal for equal runs."""
        return self._fingerprint.hexdigest()

    @property
    def steps(self) -> int:
        """How many things have happened, or are going to."""
        return self._order

    # -- chance ------------------------------------------------------------------------------------------------

    def happens(self, what: str, share: float) -> bool:
        """Whether chance has it so; counted if it does."""
        if share and self.random.random() < share:
            self.caused[what] += 1
            return True
        return False

    @property
    def is_rough(self) -> bool:
        """Whether chance may touch an envelope."""
        return bool(self.loss or self.duplication or self.reordering)

    # -- faults between two ------------------------------------------------------------------------------------

    def blip(self, one: str, other: str) -> None:
        """The connections between two processes break and can be made again at once."""
        self.note(f"blip {one} {other}")
        self._break(one, other)

    def cut(self, one: str, other: str, *, one_way: bool = False) -> None:
        """Nothing comes through between two processes, or, one way, from the first to the other; ZMTP times out."""
        self.note(f"{'one-way ' if one_way else ''}cut {one} {other}")
        self._cuts[one, other] = None
        if not one_way:
            self._cuts[other, one] = None
        self._expire_later(self._between(one, other))

    def wall(self, one: str, other: str) -> None:
        """Connections between two processes break and are refused, though both are alive."""
        self.note(f"wall {one} {other}")
        self._walls[one, other] = self._walls[other, one] = None
        self._break(one, other)

    def mend(self, one: str, other: str) -> None:
        """No cut and no wall is between the two any more."""
        self.note(f"mend {one} {other}")
        self._cuts.pop((one, other), None)
        self._cuts.pop((other, one), None)
        self._walls.pop((one, other), None)
        self._walls.pop((other, one), None)
        for connection in self._between(one, other):
            connection.release()

    def part(self, one: str, other: str, *, refuses: bool) -> None:
        """The two can't dial each other for good, being behind NAT: a dial is refused, or nobody answers it."""
        self.note(f"{one} and {other} are apart, {refuses=}")
        self._apart[one, other] = self._apart[other, one] = refuses

    def _are_apart(self, one: Host, other: Host) -> bool | None:
        """None if they aren't, else whether a dial is refused."""
        return self._apart.get((one.place, other.place)) if self._apart else None

    def calm(self) -> None:
        """Chance hinders nothing any more, and no cut and no wall is left."""
        self.gossip_loss = self.loss = self.duplication = self.reordering = 0.0
        for one, other in [*self._cuts, *self._walls]:
            self.mend(one, other)

    def is_blocked(self, source: Host, to: Host) -> bool:
        """Whether nothing comes through from one process to another."""
        return bool(self._cuts) and any(
            (one, other) in self._cuts for one in (source.name, source.place) for other in (to.name, to.place)
        )

    def is_silent(self, one: Host, other: Host) -> bool:
        """Whether two processes can't have a working connection, and are told of it by no refusal."""
        if one.suspended or other.suspended or self._are_apart(one, other) is False:
            return True
        return self.is_blocked(one, other) or self.is_blocked(other, one)

    def is_walled(self, one: Host, other: Host) -> bool:
        if self._are_apart(one, other):
            return True
        return bool(self._walls) and any(
            (a, b) in self._walls for a in (one.name, one.place) for b in (other.name, other.place)
        )

    def hide(self, *names: str) -> None:
        """Put processes behind a router with NAT: what others dial them with vanishes, but they can dial others."""
        self._hidden = frozenset(names)

    def is_hidden(self, endpoint: str, dialler: Host) -> bool:
        """Whether the endpoint is behind the router, and who dials it is not."""
        return bool(self._hidden) and endpoint.rpartition("/")[2] in self._hidden and dialler.name not in self._hidden

    def _between(self, one: str, other: str) -> list[Connection]:
        return [
            connection
            for connection in self.connections
            for a, b in [(connection.dialler, connection.listener)]
            if (one in (a.name, a.place) and other in (b.name, b.place))
            or (other in (a.name, a.place) and one in (b.name, b.place))
        ]

    def _break(self, one: str, other: str) -> None:
        for connection in self._between(one, other):
            connection.close()

    def _expire_later(self, connections: list[Connection]) -> None:
        for connection in connections:
            self.after(ZMTP_TIMEOUT_S, connection.expire)

    # -- faults of one process ---------------------------------------------------------------------------------

    def suspended(self, host: Host) -> None:
        """The process is stopped: its kernel takes what comes, but nobody answers."""
        self._expire_later(self._of(host))

    def resumed(self, host: Host) -> None:
        """The process goes on, and reads what its kernel holds."""
        for connection in self._of(host):
            connection.release()

    def disconnect(self, host: Host) -> None:
        """The process is gone: nobody listens any more, and its connections break."""
        self.listeners = {endpoint: owner for endpoint, owner in self.listeners.items() if owner is not host}
        for connection in self._of(host):
            connection.close()

    def _of(self, host: Host) -> list[Connection]:
        return [one for one in self.connections if one.dialler is host or one.listener is host]

    def hand_over(self, dial: Dial) -> None:
        """A ROUTER has one connection for each routing id: the new one takes the place of the one before."""
        listener = self.listeners[dial.endpoint]
        if dial.kind != "data":
            return
        for connection in self.connections:
            between = connection.dialler is dial.owner and connection.listener is listener
            if between and connection.dial.kind == dial.kind:
                connection.close()
