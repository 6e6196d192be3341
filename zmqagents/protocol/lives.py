"""Two lives of one process: a newcomer takes the place of the older node of its instance id (SPEC.md section 6.4).

A process that was started again after a crash of its machine would share its id with its old life until silence tells
that this is dead. So the old one is marked dead at once. If it is alive, because two processes were given one
instance id, it refutes that and stays: it is marked once only, by those who knew it before the newcomer.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from zmqagents.protocol.effects import Superseded
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.membership import Change, MemberChange
from zmqagents.protocol.records import Phase, Record
from zmqagents.protocol.state import NodeState

MAX_REMEMBERED = 1_024  # pairs of lives; one that is forgotten is at worst superseded once more


class Lives:
    """Which members have which instance id. ``bury`` is called with those whose place is taken."""

    def __init__(self, state: NodeState, bury: Callable[[NodeId, float], None]) -> None:
        self._state = state
        self._bury = bury
        self._lives: dict[str, dict[NodeId, Record]] = {}
        self._superseded: OrderedDict[tuple[NodeId, NodeId], None] = OrderedDict()

    def changed(self, change: MemberChange, now_s: float) -> None:
        """A member joined, changed or is gone."""
        new, old = change.record, change.previous
        if old is not None:
            self._drop(old)
        if change.change in (Change.LEFT, Change.DIED) or not new.instance_id:
            return
        self._lives.setdefault(new.instance_id, {})[new.node_id] = new
        own = self._state.membership.own
        if change.change is not Change.JOINED or own.phase is Phase.JOINING:  # who joins can't tell who came first
            return
        older = [life for life in self._lives[new.instance_id].values() if self._supersedes(new, life)]
        if own.instance_id == new.instance_id and self._supersedes(new, own):
            older.append(own)
        for life in older:
            self._state.effects.append(Superseded(life.node_id, new.node_id, new.instance_id))
            if life is not own:
                self._bury(life.node_id, now_s)

    def _drop(self, record: Record) -> None:
        lives = self._lives.get(record.instance_id, {})
        lives.pop(record.node_id, None)
        if not lives:
            self._lives.pop(record.instance_id, None)

    def _supersedes(self, new: Record, older: Record) -> bool:
        """Whether it is news that ``new`` takes the place of ``older``; one that is leaving may finish its work."""
        pair = (older.node_id, new.node_id)
        if not 0 < older.started_ms < new.started_ms or older.phase is Phase.LEAVING or pair in self._superseded:
            return False
        self._superseded[pair] = None
        while len(self._superseded) > MAX_REMEMBERED:
            self._superseded.popitem(last=False)
        return True
