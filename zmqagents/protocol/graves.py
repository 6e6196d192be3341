"""Members that died, dialled again for a while (SPEC.md section 6.4).

Two nodes that have buried each other, because the network between them was cut, hear nothing of each other any more:
each has ended its connections. So each dials the other's last endpoints now and then, as it would an unknown seed, and
asks who is there. If it is the buried one, the link that follows tells it of its death, which it refutes.
"""

from __future__ import annotations

from dataclasses import dataclass

from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.membership import TOMBSTONE_LIFE_S

MAX_GRAVES = 64  # sockets that dial the dead at a time; of a larger part that was cut off, these bring news of the rest
FIRST_WAIT_S = 2.0  # no sooner, for a crash is likelier than a cut
LAST_WAIT_S = 16.0  # between refused dials; one that nobody refuses goes on


@dataclass(slots=True)
class Grave:
    """Where a member that died was dialled."""

    endpoints: tuple[str, ...]
    until_s: float
    dial_at_s: float
    wait_s: float = FIRST_WAIT_S
    path: int | None = None


class Graves:
    """The dead that may be alive: the newest MAX_GRAVES of them, each until its tombstone expires."""

    def __init__(self) -> None:
        self._graves: dict[NodeId, Grave] = {}

    def dig(self, node_id: NodeId, endpoints: tuple[str, ...], now_s: float, *, seen: bool = False) -> int | None:
        """The member died; with ``seen``, discovery shows it nevertheless. Returns a path to close, if there is one."""
        grave = self._graves.get(node_id)
        if grave is not None and seen and grave.endpoints == endpoints:
            grave.dial_at_s = min(grave.dial_at_s, now_s)
            return None
        closed = self.fill(node_id)
        if closed is None and len(self._graves) >= MAX_GRAVES:
            closed = self.fill(next(iter(self._graves)))
        if endpoints:
            dial_at_s = now_s if seen else now_s + FIRST_WAIT_S
            self._graves[node_id] = Grave(endpoints, now_s + TOMBSTONE_LIFE_S, dial_at_s)
        return closed

    def fill(self, node_id: NodeId) -> int | None:
        """The node is back, or not to be looked for any more. Returns a path to close, if there is one."""
        grave = self._graves.pop(node_id, None)
        return grave.path if grave is not None else None

    def dialled(self, node_id: NodeId, path: int, now_s: float) -> None:
        """The grave is dialled on ``path``; should that be closed, then again after a while."""
        grave = self._graves[node_id]
        grave.path = path
        grave.dial_at_s = now_s + grave.wait_s
        grave.wait_s = min(2 * grave.wait_s, LAST_WAIT_S)

    def path_switched(self, old: int, new: int | None) -> None:
        """Whoever is looked for on the path ``old`` is so on ``new`` from now on; None if on no path."""
        for grave in self._graves.values():
            if grave.path == old:
                grave.path = new

    def due(self, now_s: float) -> list[tuple[NodeId, tuple[str, ...]]]:
        """Who is to be dialled now, and where."""
        return [
            (node_id, grave.endpoints)
            for node_id, grave in self._graves.items()
            if grave.path is None and grave.dial_at_s <= now_s
        ]

    def expired(self, now_s: float) -> list[NodeId]:
        """Those whose time is over."""
        return [node_id for node_id, grave in self._graves.items() if grave.until_s <= now_s]
