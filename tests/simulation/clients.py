"""Calls to agents by their keys, which go on to wherever the agent is said to be, as the runtime's do."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.simulation.application import Handler, name_of
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.arrivals import Hold
from zmqagents.protocol.agents.locations import Itinerary
from zmqagents.protocol.ids import AgentKey, NodeId, is_node_id

if TYPE_CHECKING:
    from tests.simulation.process import Process

LOOK_AGAIN_S = 0.1
DISCOVERY_TIMEOUT_S = 5.0


@dataclass(eq=False)
class AgentCall:
    """One call to an agent, begun by ``advance``. Times are of the network's clock."""

    process: Process
    key: AgentKey
    text: str
    message_id: str
    deadline_s: float | None
    """How long it may take."""
    begun_s: float = 0.0
    ended_s: float | None = None
    cancelled: bool = False
    outcomes: list[f.Reply | f.Error | e.Fate] = field(default_factory=list)
    tries: int = 0
    _refused_by: NodeId | None = None
    _exchange: int | None = None
    """The number of the exchange that is under way."""
    _give_up_s: float = math.inf
    _handler: Handler | None = None

    def __post_init__(self) -> None:
        self.begun_s = self.process.network.now_s
        self._give_up_s = self.begun_s + DISCOVERY_TIMEOUT_S
        self._itinerary = Itinerary(self.process.node.agency.locations, self.key)
        if self.deadline_s is not None:
            self.process.after(self.deadline_s, self._expire)

    def __str__(self) -> str:
        return f"call {self.message_id} of {self.key}"

    @property
    def is_open(self) -> bool:
        return not self.outcomes and not self.cancelled

    @property
    def _is_late(self) -> bool:
        return self.deadline_s is not None and self.process.network.now_s >= self.begun_s + self.deadline_s

    # -- the way -----------------------------------------------------------------------------------------------

    def advance(self) -> None:
        """Ask the next node, if that can be told."""
        if not self.is_open or self._exchange is not None or self._handler is not None:
            return
        if self._is_late:
            self.end(e.Fate.DEADLINE, self.process.network.now_s)  # it passed while an exchange was under way
            return
        node = self.process.node
        target = self._itinerary.target()
        if target is None or target == self._refused_by:
            self._wait()
        elif target == node.node_id:
            self._enter()
        elif not node.can_send(target):
            self.process.after(LOOK_AGAIN_S, self.advance)
        else:
            self._ask(target)

    def _ask(self, target: NodeId) -> None:
        node = self.process.node
        self.tries += 1
        call_id = node.pending.next_id()
        left_s = None if self.deadline_s is None else self.begun_s + self.deadline_s - self.process.network.now_s
        timeout_ms = None if left_s is None else max(math.ceil(left_s * 1_000), 0)
        frame = f.Request(
            call_id, self.key, self.message_id, None, "Text", "text", timeout_ms, self._itinerary.hops, None,
            self.text.encode(),
        )  # fmt: skip
        self._exchange = call_id
        deadline_s = None if left_s is None else self.process.now_s + max(left_s, 0.0)
        if not node.call(target, frame, Exchange(self, target), deadline_s, self.process.now_s):
            self.answered(target, e.Fate.UNDELIVERABLE)

    def _enter(self) -> None:
        """The agent is here, or is to be."""
        process = self.process
        place = process.node.agency.arrivals.enter(self.key, process.now_s)
        if isinstance(place, Hold):
            process.after(LOOK_AGAIN_S, self.advance)
        elif place == process.node_id:
            self.tries += 1
            number = process.node.pending.next_id()
            self._handler = Handler(
                process.node_id, number, self.key, self.message_id, self.text, process.network.now_s
            )
            process.handle_own(self, self._handler)
        elif place is None:
            self._itinerary.locations.forget(self.key)
            self._refused_by = process.node_id
            self._wait()
        else:
            self.advance()

    def _wait(self) -> None:
        now_s = self.process.network.now_s
        if self._is_late:
            self.end(e.Fate.DEADLINE, now_s)
        elif now_s >= self._give_up_s:
            self.end(e.Fate.UNDELIVERABLE, now_s)
        else:
            self._refused_by = None
            self.process.after(LOOK_AGAIN_S, self.advance)

    # -- outcomes ----------------------------------------------------------------------------------------------

    def answered(self, by: NodeId, outcome: f.Reply | f.Error | e.Fate) -> None:
        """An exchange has ended."""
        self._exchange = None
        if self.is_open and not self._goes_on(by, outcome):
            self.end(outcome, self.process.network.now_s)

    def _goes_on(self, by: NodeId, outcome: f.Reply | f.Error | e.Fate) -> bool:
        node = self.process.node
        moved = isinstance(outcome, f.Error) and outcome.code == f.ErrorCode.MOVED
        unknown = isinstance(outcome, f.Error) and outcome.code == f.ErrorCode.UNDELIVERABLE
        if not moved and not unknown and outcome is not e.Fate.UNDELIVERABLE:
            return False
        to = outcome.payload if isinstance(outcome, f.Error) and moved and is_node_id(outcome.payload) else None
        if to is not None and to != node.node_id and node.membership.get(to) is None:
            to = None
        self._refused_by = by if unknown else None
        if self._itinerary.moved(by, to) and moved:
            self.advance()
        else:
            self._wait()
        return True

    def end(self, outcome: f.Reply | f.Error | e.Fate, now_s: float) -> None:
        """The call is over."""
        self.outcomes.append(outcome)
        self.ended_s = now_s
        self.process.network.note(f"{self.process.name} {self} is over: {name_of(outcome)}")

    def _expire(self) -> None:
        if self.is_open and self._exchange is None:  # else the node tells
            self.end(e.Fate.DEADLINE, self.process.network.now_s)

    def cancel(self) -> None:
        """Give it up."""
        if self.is_open:
            self.cancelled = True
            self.ended_s = self.process.network.now_s
            if self._exchange is not None:
                self.process.node.cancel(self._exchange)
            if self._handler is not None:
                self.process.cancel_own(self._handler)


@dataclass(eq=False)
class Exchange:
    """One try of a call, at one node."""

    call: AgentCall
    target: NodeId

    def __str__(self) -> str:
        return str(self.call)

    def end(self, outcome: f.Reply | f.Error | e.Fate, now_s: float) -> None:
        """See CallEnded."""
        self.call.answered(self.target, outcome)
