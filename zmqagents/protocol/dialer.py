"""Which of a target's endpoints is dialled, and how that went.

A target (a peer's data or gossip endpoints, or a seed) has one or more endpoints; one is dialled at a time. A refused
one gives way to the next; when all have been refused since the last success, the target itself counts as refused. So
it does when an endpoint that had been connected is refused: whoever listened there is gone, and need not be sought at
addresses that may not be reachable from here. Once the target counts as refused, an endpoint is left after several
refusals only, so that the waits of the socket below, which grow from one attempt to the next, keep their effect.

An endpoint that neither answers nor refuses gives way too, since of the addresses of a host with several interfaces
some may lead nowhere from here; and so does one where another node is: two hosts may have the same address on a network
that only they are on. Neither tells anything of the target. After each round of all endpoints they get twice the time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

TRY_S = 1.0  # for one endpoint in the first round: a SYN, one repetition, and a CURVE handshake over a slow line
MOST_DOUBLINGS = 2  # of the time for each: who is back after a cut is to be found again soon
REFUSALS_EACH = 8  # some 5 s on one endpoint, with waits of 50 ms doubling to 1 s


@dataclass(slots=True)
class Dial:
    """One target being dialled."""

    endpoints: tuple[str, ...]
    since_s: float
    index: int = 0
    up: bool = False
    complete: bool = False
    """Whether the target has been connected before, at whichever endpoint."""
    proven: bool = False
    """Whether the endpoint being dialled has been connected before."""
    refusals: int = 0
    met: bool = False
    """Whether the target itself has been heard at the endpoint being dialled."""
    tried_s: float = field(init=False)
    """Since when that endpoint is dialled, or since its connection was lost."""
    mistakes: int = 0
    """Endpoints at which other nodes were found since the target was last heard."""
    moves: int = 0
    """Endpoints left without a refusal since the target was last heard."""

    def __post_init__(self) -> None:
        self.tried_s = self.since_s

    @property
    def endpoint(self) -> str:
        """The one being dialled."""
        return self.endpoints[self.index]

    @property
    def refused(self) -> bool:
        """Whether every endpoint, or the one that had been connected, has been refused since the last success.

        An endpoint where another node was found counts as refused until the target is met.
        """
        return self.refusals + self.mistakes >= len(self.endpoints)

    def succeeded(self) -> None:
        """The handshake is done."""
        self.up = self.complete = self.proven = True
        self.refusals = 0

    def lost(self, now_s: float) -> None:
        """The connection is gone; it is being dialled again."""
        if self.up:
            self.since_s = self.tried_s = now_s
        self.up = False

    def meets(self) -> None:
        """The target was heard there."""
        self.met = True
        self.moves = self.mistakes = 0

    def is_overdue(self, now_s: float, silent_after_s: float = math.inf) -> bool:
        """Whether the next endpoint is to be tried: this one is silent, or is up and the target was not heard there."""
        if len(self.endpoints) == 1 or (self.up and self.met):
            return False
        wait_s = silent_after_s if self.up else TRY_S
        return now_s - self.tried_s >= wait_s * (1 << min(self.moves // len(self.endpoints), MOST_DOUBLINGS))

    def move(self, now_s: float) -> None:
        """Dial the next endpoint."""
        self.lost(now_s)
        self.index = (self.index + 1) % len(self.endpoints)
        self.proven = self.met = False
        self.tried_s = now_s
        self.moves += 1

    def mistaken(self, now_s: float) -> None:
        """Another node is at the endpoint, and the target never was: dial the next one."""
        self.mistakes += 1
        self.move(now_s)

    def turned_away(self) -> bool:
        """An attempt was refused. True if another endpoint is to be dialled now."""
        self.up = False
        self.refusals = max(self.refusals + 1, len(self.endpoints) if self.proven else 0)
        if len(self.endpoints) == 1 or (self.refused and self.refusals % REFUSALS_EACH):
            return False
        self.index = (self.index + 1) % len(self.endpoints)
        self.proven = self.met = False
        return True

    def restart(self, now_s: float) -> None:
        """What was seen so far tells nothing any more: a connection that is down counts as down since now."""
        if not self.up:
            self.since_s = self.tried_s = now_s
        self.refusals = self.mistakes = 0
