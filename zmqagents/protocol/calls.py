"""Calls that wait for their answer, and calls being served (SPEC.md section 8.2).

A pending call ends exactly once: the first of answer, deadline, cancellation or loss of the peer takes it out of the
table, and whatever comes later finds nothing.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Generic, TypeVar

from zmqagents.protocol.ids import CallId, NodeId

TokenT = TypeVar("TokenT")
"""What the owner wants back with the outcome, such as a future."""


SPARE_DEADLINES = 1_024
"""Deadlines of ended calls that may stay in the heap, beside one for each call that waits."""


@dataclass(slots=True)
class Pending(Generic[TokenT]):
    """One call that waits."""

    peer: NodeId
    token: TokenT
    deadline_s: float | None


class PendingCalls(Generic[TokenT]):
    """Calls this node has made."""

    def __init__(self) -> None:
        self._calls: dict[CallId, Pending[TokenT]] = {}
        self._deadlines: list[tuple[float, CallId]] = []
        self._last_id = 0
        self.late_answers = 0

    def __len__(self) -> int:
        return len(self._calls)

    def next_id(self) -> CallId:
        """A call id not used before."""
        self._last_id += 1
        return self._last_id

    def begin(self, call_id: CallId, peer: NodeId, token: TokenT, deadline_s: float | None) -> None:
        """The call's REQUEST goes to ``peer``."""
        self._calls[call_id] = Pending(peer, token, deadline_s)
        if deadline_s is not None:
            if len(self._deadlines) >= 2 * len(self._calls) + SPARE_DEADLINES:
                self._drop_ended()
            heapq.heappush(self._deadlines, (deadline_s, call_id))

    def _drop_ended(self) -> None:
        self._deadlines = [entry for entry in self._deadlines if entry[1] in self._calls]
        heapq.heapify(self._deadlines)

    def end(self, call_id: CallId, peer: NodeId) -> Pending[TokenT] | None:
        """An answer came from ``peer``; None (and counted) if the call has ended, or was not for that peer."""
        pending = self._calls.get(call_id)
        if pending is None or pending.peer != peer:
            self.late_answers += 1
            return None
        del self._calls[call_id]
        return pending

    def abandon(self, call_id: CallId) -> Pending[TokenT] | None:
        """The caller gave the call up; None if it has ended already."""
        return self._calls.pop(call_id, None)

    def lose_peer(self, peer: NodeId) -> list[tuple[CallId, TokenT]]:
        """End all calls to ``peer``."""
        lost = [(call_id, pending.token) for call_id, pending in self._calls.items() if pending.peer == peer]
        for call_id, _ in lost:
            del self._calls[call_id]
        return lost

    def abandon_all(self) -> list[TokenT]:
        """Give every call up."""
        tokens = [pending.token for pending in self._calls.values()]
        self._calls.clear()
        return tokens

    def expire(self, now_s: float) -> list[tuple[CallId, Pending[TokenT]]]:
        """End the calls whose deadline has passed."""
        expired: list[tuple[CallId, Pending[TokenT]]] = []
        while self._deadlines and self._deadlines[0][0] <= now_s:
            _, call_id = heapq.heappop(self._deadlines)
            pending = self._calls.pop(call_id, None)
            if pending is not None:
                expired.append((call_id, pending))
        return expired

    def deadline_s(self) -> float | None:
        """The earliest deadline of a call that waits; calls that ended are dropped on the way."""
        while self._deadlines and self._deadlines[0][1] not in self._calls:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else None


class ServedCalls(Generic[TokenT]):
    """Calls being handled here for others."""

    def __init__(self) -> None:
        self._calls: dict[tuple[NodeId, CallId], TokenT] = {}

    def __len__(self) -> int:
        return len(self._calls)

    def begin(self, peer: NodeId, call_id: CallId, token: TokenT) -> None:
        """The handler of a call has started."""
        self._calls[peer, call_id] = token

    def end(self, peer: NodeId, call_id: CallId) -> bool:
        """The handler has ended; False if nobody waits for its answer any more."""
        if (peer, call_id) not in self._calls:
            return False
        del self._calls[peer, call_id]
        return True

    def get(self, peer: NodeId, call_id: CallId) -> TokenT | None:
        """What was given at ``begin``, for a CANCEL."""
        return self._calls.get((peer, call_id))

    def lose_peer(self, peer: NodeId) -> list[TokenT]:
        """The peer is gone: nobody waits for these."""
        lost = [key for key in self._calls if key[0] == peer]
        return [self._calls.pop(key) for key in lost]
