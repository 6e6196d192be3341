"""When to dial directly the members that are reached by a forwarder (SPEC.md section 12).

Two that met at a forwarder may be on one network, and a direct path that was broken may be whole again. So each is
dialled at once, and again after longer and longer waits. What a record says of endpoints need not hold here: behind NAT
the same address is another process, perhaps of our own cluster. So such a dial leads to nobody until who is there has
said who it is; only then it is the peer's path, and tells anything of its life.
"""

from __future__ import annotations

from dataclasses import dataclass

from zmqagents.protocol.ids import NodeId

MAX_TRIES = 16  # sockets that dial at a time: a thousand members behind NAT need not be tried at once
TRY_S = 5.0  # two handshakes of 2 s
FIRST_WAIT_S = 5.0  # after a dial that failed; doubles
LAST_WAIT_S = 60.0
SOON_S = 2.0  # the same where there is no other path


@dataclass(slots=True)
class _Try:
    at_s: float
    wait_s: float = FIRST_WAIT_S
    ended_s: float = 0.0
    path: int | None = None


class Shortcuts:
    """The dials that are under way, and when the next ones are due; one entry for each such member."""

    def __init__(self) -> None:
        self._tries: dict[NodeId, _Try] = {}
        self._under_way = 0

    def due(self, node_id: NodeId, now_s: float, *, pathless: bool) -> bool:
        """Whether to dial the member now; ``pathless``: it has no path at all."""
        if self._under_way >= MAX_TRIES:
            return False
        known = self._tries.get(node_id)
        if known is None:
            return True
        if known.path is not None:
            return False
        return known.at_s <= now_s or (pathless and now_s - known.ended_s >= SOON_S)

    def begun(self, node_id: NodeId, path: int, now_s: float) -> None:
        """The member is dialled on ``path``."""
        known = self._tries.setdefault(node_id, _Try(now_s))
        known.path, known.at_s = path, now_s + TRY_S
        self._under_way += 1

    def late(self, now_s: float) -> list[int]:
        """The paths of dials that have taken too long."""
        if not self._under_way:
            return []
        return [one.path for one in self._tries.values() if one.path is not None and one.at_s <= now_s]

    def path_switched(self, old: int, new: int) -> None:
        """What was dialled on ``old`` is so on ``new``."""
        for one in self._tries.values():
            if one.path == old:
                one.path = new

    def failed(self, node_id: NodeId, now_s: float) -> None:
        """The member was not found, or is lost there: it is dialled again after a while."""
        one = self._tries.setdefault(node_id, _Try(now_s))
        self._end(one)
        one.at_s, one.ended_s = now_s + one.wait_s, now_s
        one.wait_s = min(2 * one.wait_s, LAST_WAIT_S)

    def hurry(self, node_id: NodeId, now_s: float) -> None:
        """Something shows that the member can be reached: dial it as soon as may be."""
        one = self._tries.get(node_id)
        if one is not None and one.path is None:
            one.at_s = min(one.at_s, now_s)

    def drop(self, node_id: NodeId) -> int | None:
        """The member is found, or gone. Returns the path on which it was being dialled."""
        one = self._tries.pop(node_id, None)
        if one is None:
            return None
        path = one.path
        self._end(one)
        return path

    def _end(self, one: _Try) -> None:
        if one.path is not None:
            one.path = None
            self._under_way -= 1
