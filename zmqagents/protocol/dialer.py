"""Which of a target's endpoints is dialled, and how that went.

A target (a peer's data or gossip endpoints, or a seed) has one or more endpoints; one is dialled at a time. A refused
one gives way to the next; when all have been refused since the last success, the target itself counts as refused. So
it does when an endpoint that had been connected is refused: whoever listened there is gone, and need not be sought at
addresses that may not be reachable from here. Once the target counts as refused, an endpoint is left after several
refusals only, so that the waits of the socket below, which grow from one attempt to the next, keep their effect.
"""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def endpoint(self) -> str:
        """The one being dialled."""
        return self.endpoints[self.index]

    @property
    def refused(self) -> bool:
        """Whether every endpoint, or the one that had been connected, has been refused since the last success."""
        return self.refusals >= len(self.endpoints)

    def succeeded(self) -> None:
        """The handshake is done."""
        self.up = self.complete = self.proven = True
        self.refusals = 0

    def lost(self, now_s: float) -> None:
        """The connection is gone; it is being dialled again."""
        if self.up:
            self.since_s = now_s
        self.up = False

    def turned_away(self) -> bool:
        """An attempt was refused. True if another endpoint is to be dialled now."""
        self.up = False
        self.refusals = max(self.refusals + 1, len(self.endpoints) if self.proven else 0)
        if len(self.endpoints) == 1 or (self.refused and self.refusals % REFUSALS_EACH):
            return False
        self.index = (self.index + 1) % len(self.endpoints)
        self.proven = False
        return True

    def restart(self, now_s: float) -> None:
        """What was seen so far tells nothing any more: a connection that is down counts as down since now."""
        if not self.up:
            self.since_s = now_s
        self.refusals = 0
