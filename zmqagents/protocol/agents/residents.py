"""The agents that are active on this node, and what waits for them (SPEC.md section 8.6).

Only agents whose key binds them to one node are here: not pinned ones, which never go, and not those of policies that
balance each message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, KeysView
from enum import Enum, auto
from typing import NamedTuple

from zmqagents.errors import LocalProtocolError
from zmqagents.protocol.frames import Agent, Event, Request
from zmqagents.protocol.ids import AgentKey, NodeId, agent_type_of


class Stay(Enum):
    """Where an agent stands on this node."""

    AWAITED = auto()  # messages have come; whether it is active elsewhere is being asked
    ARRIVING = auto()  # its state has come and is being loaded
    ACTIVE = auto()
    DRAINING = auto()  # it goes once its handlers have ended
    PACKED = auto()  # none of its handlers runs; its state is being saved and sent


_NEXT: dict[Stay, frozenset[Stay]] = {  # SPEC.md section 8.6; what is not here is a bug of ours
    Stay.AWAITED: frozenset({Stay.ACTIVE, Stay.ARRIVING}),
    Stay.ARRIVING: frozenset({Stay.ACTIVE}),
    Stay.ACTIVE: frozenset({Stay.DRAINING}),
    Stay.DRAINING: frozenset({Stay.PACKED, Stay.ACTIVE}),
    Stay.PACKED: frozenset({Stay.ACTIVE}),
}

_CLAIMED = frozenset({Stay.ARRIVING, Stay.ACTIVE, Stay.DRAINING, Stay.PACKED})
"""The agent's state is here; and perhaps on its way to another node, which may have it by now."""


class Held(NamedTuple):
    """A message that waits. ``receipt`` is that of an event; ``since_s`` counts against a call's timeout."""

    peer: NodeId
    receipt: int
    frame: Request | Event | Agent
    since_s: float


class Resident:
    """One agent on this node."""

    __slots__ = ("_held", "bound_for", "key", "running", "stay", "told")

    def __init__(self, key: AgentKey, stay: Stay) -> None:
        self.key = key
        self.stay = stay
        self.running = 0
        """Its handlers that run."""
        self.bound_for: NodeId | None = None
        """The node that its state has been sent to, as long as that has not answered."""
        self.told: NodeId | None = None
        """The home that knows from us that the agent is here."""
        self._held: deque[Held] | None = None  # most agents never have one

    def become(self, stay: Stay) -> None:
        """Pass to another stay. LocalProtocolError if that can't be."""
        if stay not in _NEXT[self.stay]:
            raise LocalProtocolError(f"{self.key} can't become {stay.name} after {self.stay.name}")
        self.stay = stay

    def is_claimed(self, against: NodeId) -> bool:
        """Whether the agent is here and not at ``against``, as far as is known here."""
        return self.stay in _CLAIMED and self.bound_for != against

    def hold(self, held: Held) -> None:
        """Keep a message, behind those that are kept."""
        if self._held is None:
            self._held = deque()
        self._held.append(held)

    @property
    def holds(self) -> bool:
        """Whether messages wait."""
        return bool(self._held)

    def take_held(self) -> list[Held]:
        """What waits, in order; it waits no more."""
        held, self._held = self._held, None
        return list(held or ())

    def drop_call(self, peer: NodeId, call_id: int) -> bool:
        """Forget a call that waits; whether there was one."""
        for held in self._held or ():
            if held.peer == peer and not isinstance(held.frame, Event) and held.frame.call_id == call_id:
                self._drop(held)
                return True
        return False

    def _drop(self, held: Held) -> None:
        if self._held is not None:
            self._held.remove(held)

    def drop_peer(self, peer: NodeId) -> None:
        """Forget what waits from a peer that is gone."""
        self._held = deque(held for held in self._held or () if held.peer != peer) or None


class Residents:
    """The table, with an index by agent type."""

    def __init__(self) -> None:
        self._residents: dict[AgentKey, Resident] = {}
        self._types: dict[str, dict[AgentKey, None]] = {}
        self._holding: dict[AgentKey, None] = {}
        self.get = self._residents.get
        """The resident of a key, or None."""

    def __len__(self) -> int:
        return len(self._residents)

    def __iter__(self) -> Iterator[Resident]:
        return iter(list(self._residents.values()))

    def add(self, key: AgentKey, stay: Stay) -> Resident:
        """A new resident. LocalProtocolError if there is one of that key."""
        if key in self._residents:
            raise LocalProtocolError(f"{key} is here already")
        resident = self._residents[key] = Resident(key, stay)
        self._types.setdefault(agent_type_of(key), {})[key] = None
        return resident

    def remove(self, key: AgentKey) -> None:
        """The agent is here no more."""
        del self._residents[key]
        self._holding.pop(key, None)
        agent_type = agent_type_of(key)
        keys = self._types[agent_type]
        del keys[key]
        if not keys:
            del self._types[agent_type]

    def of_type(self, agent_type: str) -> list[Resident]:
        """The residents of a type."""
        return [self._residents[key] for key in self._types.get(agent_type, ())]

    @property
    def types(self) -> KeysView[str]:
        """The types of which there are residents."""
        return self._types.keys()

    # -- what waits --------------------------------------------------------------------------------------------

    def hold(self, resident: Resident, held: Held) -> None:
        """Keep a message for the resident."""
        resident.hold(held)
        self._holding[resident.key] = None

    def take_held(self, resident: Resident) -> list[Held]:
        """What waits for the resident, in order; it waits no more."""
        self._holding.pop(resident.key, None)
        return resident.take_held()

    def drop_peer(self, peer: NodeId) -> None:
        """Forget what waits from a peer that is gone."""
        for key in list(self._holding):
            resident = self._residents[key]
            resident.drop_peer(peer)
            if not resident.holds:
                del self._holding[key]

    @property
    def holding(self) -> KeysView[AgentKey]:
        """The agents for which messages wait."""
        return self._holding.keys()
