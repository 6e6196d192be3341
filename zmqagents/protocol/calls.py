"""Calls that wait for their answer, and calls being served (SPEC.md section 8.2).

A pending call ends exactly once: the first of answer, deadline, cancellation or loss of the peer takes it out of the
table, and whatever comes later finds nothing. In the window of its peer (section 5) it stays until it is answered,
also when its caller has given it up: the handler may still run. So what a peer serves for us, and what waits for it
here, CANCELs included, never exceeds the window; and a peer that has far more served here ignores it.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from msgspec import Struct

from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol.ids import AgentKey, CallId, NodeId
from zmqagents.protocol.windows import Load


class Adoption(NamedTuple):
    """The token of an ADOPT call, which the core itself makes: its end belongs to the agent's move."""

    key: AgentKey
    to: NodeId


TokenT = TypeVar("TokenT")
"""What the owner wants back with the outcome, such as a future."""


SPARE_DEADLINES = 1_024
"""Deadlines of ended calls that may stay in the heap, beside one for each call that waits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallLimits:
    """The call window of SPEC.md section 5."""

    window_calls: int = 8_192
    window_bytes: int = 32 << 20


class Pending(Struct, Generic[TokenT]):
    """One call that waits."""

    peer: NodeId
    token: TokenT
    deadline_s: float | None
    weight_bytes: int = 0


@dataclass(slots=True)
class _Unanswered:
    """What one peer has been asked and has not answered."""

    load: Load = field(default_factory=Load)
    given_up: dict[CallId, int] = field(default_factory=dict)
    """The weights of those among them for which nobody waits."""


class PendingCalls(Generic[TokenT]):
    """Calls this node has made."""

    def __init__(self, limits: CallLimits | None = None) -> None:
        self._limits = limits or CallLimits()
        self.calls: dict[CallId, Pending[TokenT]] = {}
        """Those that wait."""
        self._unanswered: dict[NodeId, _Unanswered] = {}
        self._deadlines: list[tuple[float, CallId]] = []
        self._last_id = 0
        self.late_answers = 0

    def __len__(self) -> int:
        return len(self.calls)

    def next_id(self) -> CallId:
        """A call id not used before."""
        self._last_id += 1
        return self._last_id

    def has_room(self, peer: NodeId) -> bool:
        """Whether the window of the peer takes one call more."""
        unanswered = self._unanswered.get(peer)
        limits = self._limits
        return unanswered is None or unanswered.load.fits(limits.window_calls, limits.window_bytes)

    def unanswered(self, peer: NodeId) -> int:
        """How many calls the peer has not answered, those given up among them."""
        unanswered = self._unanswered.get(peer)
        return 0 if unanswered is None else unanswered.load.count

    def begin(
        self, call_id: CallId, peer: NodeId, token: TokenT, deadline_s: float | None, weight_bytes: int = 0
    ) -> None:
        """The call's REQUEST, which weighs so much, goes to ``peer``."""
        self.calls[call_id] = Pending(peer, token, deadline_s, weight_bytes)
        unanswered = self._unanswered.get(peer)
        if unanswered is None:
            unanswered = self._unanswered[peer] = _Unanswered()
        unanswered.load.add(weight_bytes)
        if deadline_s is not None:
            if len(self._deadlines) >= 2 * len(self.calls) + SPARE_DEADLINES:
                self._drop_ended()
            heapq.heappush(self._deadlines, (deadline_s, call_id))

    def _drop_ended(self) -> None:
        self._deadlines = [entry for entry in self._deadlines if entry[1] in self.calls]
        heapq.heapify(self._deadlines)

    def end(self, call_id: CallId, peer: NodeId) -> Pending[TokenT] | None:
        """An answer came from ``peer``; None (and counted) if the call has ended, or was not for that peer."""
        pending = self.calls.get(call_id)
        unanswered = self._unanswered.get(peer)
        if unanswered is None or pending is None or pending.peer != peer:
            self.late_answers += 1
            if unanswered is not None:
                weight_bytes = unanswered.given_up.pop(call_id, None)
                if weight_bytes is not None:
                    unanswered.load.remove(weight_bytes)
            return None
        del self.calls[call_id]
        unanswered.load.remove(pending.weight_bytes)
        return pending

    def abandon(self, call_id: CallId) -> Pending[TokenT] | None:
        """The caller gave the call up; None if it has ended already."""
        pending = self.calls.pop(call_id, None)
        if pending is not None:
            self._unanswered[pending.peer].given_up[call_id] = pending.weight_bytes
        return pending

    def lose_peer(self, peer: NodeId) -> list[tuple[CallId, TokenT]]:
        """End all calls to ``peer``."""
        if self._unanswered.pop(peer, None) is None:
            return []
        lost = [(call_id, pending.token) for call_id, pending in self.calls.items() if pending.peer == peer]
        for call_id, _ in lost:
            del self.calls[call_id]
        return lost

    def abandon_all(self) -> list[TokenT]:
        """Give every call up."""
        calls = list(self.calls)
        return [pending.token for pending in map(self.abandon, calls) if pending is not None]

    def expire(self, now_s: float) -> list[tuple[CallId, Pending[TokenT]]]:
        """End the calls whose deadline has passed."""
        expired: list[tuple[CallId, Pending[TokenT]]] = []
        while self._deadlines and self._deadlines[0][0] <= now_s:
            _, call_id = heapq.heappop(self._deadlines)
            pending = self.abandon(call_id)
            if pending is not None:
                expired.append((call_id, pending))
        return expired

    def deadline_s(self) -> float | None:
        """The earliest deadline of a call that waits; calls that ended are dropped on the way."""
        while self._deadlines and self._deadlines[0][1] not in self.calls:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None


class _Serving(Struct, Generic[TokenT]):
    """One call that is served."""

    weight_bytes: int
    token: TokenT | None = None


class ServedCalls(Generic[TokenT]):
    """Calls being handled here for others."""

    def __init__(self, limits: CallLimits | None = None) -> None:
        self._limits = limits or CallLimits()
        self.calls: dict[tuple[NodeId, CallId], _Serving[TokenT]] = {}
        """Those whose answer somebody waits for."""
        self._loads: dict[NodeId, Load] = {}

    def __len__(self) -> int:
        return len(self.calls)

    def arrived(self, peer: NodeId, call_id: CallId, weight_bytes: int) -> None:
        """A REQUEST of that weight came, and is served from now on.

        RemoteProtocolError if the peer ignores its window, or uses an id twice.
        """
        load = self._loads.get(peer)
        if load is None:
            load = self._loads[peer] = Load()
        key = (peer, call_id)
        if key in self.calls:
            raise RemoteProtocolError(WireCode.BAD_FIELD, f"call {call_id} is being served already")
        load.admit(weight_bytes, "calls", self._limits.window_calls, self._limits.window_bytes)
        self.calls[key] = _Serving(weight_bytes)

    def attach(self, peer: NodeId, call_id: CallId, token: TokenT) -> bool:
        """What ``get`` is to give for a call that has begun; False if nobody waits for it any more."""
        serving = self.calls.get((peer, call_id))
        if serving is None:
            return False
        serving.token = token
        return True

    def end(self, peer: NodeId, call_id: CallId) -> bool:
        """The handler has ended; False if nobody waits for its answer any more."""
        serving = self.calls.pop((peer, call_id), None)
        if serving is None:
            return False
        self._loads[peer].remove(serving.weight_bytes)
        return True

    def get(self, peer: NodeId, call_id: CallId) -> TokenT | None:
        """What ``attach`` was given, for a CANCEL."""
        serving = self.calls.get((peer, call_id))
        return None if serving is None else serving.token

    def lose_peer(self, peer: NodeId) -> list[TokenT | None]:
        """The peer is gone: nobody waits for these."""
        self._loads.pop(peer, None)
        lost = [key for key in self.calls if key[0] == peer]
        return [self.calls.pop(key).token for key in lost]
