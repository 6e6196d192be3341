"""Deliberate breakages of the core, each of which the simulation has to notice.

A mutant is a small patch of one function, as somebody might break it by mistake. One that no seed catches shows what
the simulation doesn't look at. What a link does with sessions of its earlier lives is left to
tests/property/test_link.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest

from tests.simulation.faults import faults_named
from tests.simulation.world import Report, Scenario, World
from zmqagents.protocol import watch as watch_module
from zmqagents.protocol.agents.arrivals import Arrivals
from zmqagents.protocol.agents.claims import Claims
from zmqagents.protocol.agents.locations import Locations
from zmqagents.protocol.agents.moves import Moves
from zmqagents.protocol.agents.residents import Residents
from zmqagents.protocol.agents.routes import EventRoutes
from zmqagents.protocol.calls import PendingCalls, ServedCalls
from zmqagents.protocol.events import EventInbox, EventOutbox
from zmqagents.protocol.link import Greeting, Link
from zmqagents.protocol.membership import Membership
from zmqagents.protocol.peers import Peer
from zmqagents.protocol.records import decode_record
from zmqagents.protocol.state import NodeState
from zmqagents.protocol.sync import Sync
from zmqagents.protocol.traffic import Traffic

Function = Callable[..., Any]
Wrapper = Callable[[Function], Function]


@dataclass(frozen=True)
class Mutant:
    """``owner.function`` is replaced by what ``wrap`` makes of it; ``faults`` are those that bring it out."""

    name: str
    owner: type | Any
    function: str
    wrap: Wrapper
    faults: str = "all"

    def __str__(self) -> str:
        return self.name


def nothing(result: object = None) -> Wrapper:
    """Does nothing, and returns ``result``."""
    return lambda original: lambda *arguments, **named: result


# -- links -----------------------------------------------------------------------------------------------------


def deliver_duplicates(original: Function) -> Function:
    def deliver(self: Link, first: int, frames: list[Any], now_s: float) -> Any:
        if first <= self._delivered:
            self._delivered = first - 1
        return original(self, first, frames, now_s)

    return deliver


def acknowledge_what_is_missing(original: Function) -> Function:
    def deliver(self: Link, first: int, frames: list[Any], now_s: float) -> Any:
        self._delivered = max(self._delivered, first - 1)
        return original(self, first, frames, now_s)

    return deliver


def deliver_ahead_of_a_gap(original: Function) -> Function:
    def deliver(self: Link, first: int, frames: list[Any], now_s: float) -> Any:
        early = first > self._delivered + 1
        fresh = original(self, first, frames, now_s)
        return list(enumerate(frames, first)) if early else fresh

    return deliver


def forget_what_is_unacknowledged(original: Function) -> Function:
    def resend(self: Link) -> None:
        self._unacked.clear()
        self._inflight_bytes = 0
        original(self)

    return resend


def adopt_without_reset(original: Function) -> Function:
    def hello(self: Link, session: int, known_session: int) -> Greeting:
        outcome: Greeting = original(self, session, known_session)
        if outcome is Greeting.RESET_FIRST:
            self._adopt(session)
            return Greeting.ADOPTED
        return outcome

    return hello


LINKS = [
    Mutant("duplicates are delivered", Link, "_deliver", deliver_duplicates),
    Mutant("what is missing is acknowledged", Link, "_deliver", acknowledge_what_is_missing),
    Mutant("frames are delivered ahead of a gap", Link, "_deliver", deliver_ahead_of_a_gap),
    Mutant("nothing is sent again", Link, "resend", forget_what_is_unacknowledged),
    Mutant("a PONG proves no loss", Link, "pong", nothing()),
    Mutant("the window is ignored", Link, "_admits", nothing(True)),
    Mutant("a newer session is adopted without a reset", Link, "hello", adopt_without_reset),
]


# -- calls and events ------------------------------------------------------------------------------------------


def end_twice(original: Function) -> Function:
    def end(self: PendingCalls[Any], call_id: int, peer: bytes) -> Any:
        pending = original(self, call_id, peer)
        if pending is not None and call_id % 3 == 0:
            self.begin(call_id, peer, pending.token, None, pending.weight_bytes)
        return pending

    return end


def drop_events(original: Function) -> Function:
    def drain(self: EventOutbox) -> list[Any]:
        original(self)
        return []

    return drain


def take_all_for_unread(original: Function) -> Function:
    def reset_link(self: NodeState, peer: Peer) -> None:
        peer.said_bye = True
        original(self, peer)

    return reset_link


def forget_deadline(original: Function) -> Function:
    def begin(self: PendingCalls[Any], call_id: int, peer: bytes, token: object, _: object, weight: int = 0) -> None:
        original(self, call_id, peer, token, None, weight)

    return begin


MESSAGES = [
    Mutant("calls to a lost peer wait on", PendingCalls, "lose_peer", nothing([])),
    Mutant("a call ends twice", PendingCalls, "end", end_twice),
    Mutant("deadlines are forgotten", PendingCalls, "begin", forget_deadline),
    Mutant("no handler hears that its caller is gone", ServedCalls, "lose_peer", nothing([])),
    Mutant("a deadline cancels no handler", Traffic, "_send_cancel", nothing()),
    Mutant("whatever was lost is undeliverable", NodeState, "reset_link", take_all_for_unread),
    Mutant("unfinished events are dropped with their link", EventOutbox, "drain", drop_events),
    Mutant("a finished event is not told of", EventInbox, "finished", nothing()),
    Mutant("an agent's events take several ways at once", EventRoutes, "_count", nothing(), "moves"),
]


# -- membership ------------------------------------------------------------------------------------------------


def accept_stale_records(original: Function) -> Function:
    def merge(self: Membership, encoded: bytes, now_s: float) -> Any:
        record = decode_record(encoded)
        known = self.get(record.node_id)
        if known is not None and record.node_id != self._own_id and record.version < known.version:
            self._remove(record.node_id, 0, now_s)
        return original(self, encoded, now_s)

    return merge


def ignore_tombstones(original: Function) -> Function:
    def merge(self: Membership, encoded: bytes, now_s: float) -> Any:
        self._tombstones.pop(decode_record(encoded).node_id, None)
        return original(self, encoded, now_s)

    return merge


def refute_nothing(original: Function) -> Function:
    def mark_dead(self: Membership, node_id: bytes, version: int, now_s: float) -> Any:
        return None if node_id == self._own_id else original(self, node_id, version, now_s)

    return mark_dead


MEMBERS = [
    Mutant(
        "stale records are accepted", Membership, "merge", accept_stale_records, "accuse,delay,dup,reorder,gossip-loss"
    ),
    Mutant("tombstones are ignored", Membership, "merge", ignore_tombstones),
    Mutant("a death is not refuted", Membership, "mark_dead", refute_nothing),
    Mutant("digests are not compared", Sync, "heartbeat", nothing()),
    Mutant("nobody is ever out of reach", watch_module, "is_out_of_reach", nothing(False), "lives"),
    Mutant(
        "others are not asked about a suspect", watch_module.Watch, "judge", lambda original: bury_at_once, "gentle"
    ),
]


def bury_at_once(self: watch_module.Watch, node_id: bytes, now_s: float) -> None:
    """Takes a member for dead as soon as one connection with it is down."""
    if self._state.membership.get(node_id) is not None:
        self._bury(node_id, now_s)


# -- placement -------------------------------------------------------------------------------------------------


def lose_state(original: Function) -> Function:
    return lambda self, key, state: original(self, key, None)


def forget_held(original: Function) -> Function:
    def take_held(self: Residents, resident: Any) -> list[Any]:
        original(self, resident)
        return []

    return take_held


AGENTS = [
    Mutant("agents are activated without a census", Claims, "is_known", nothing(True), "moves"),
    Mutant("claims are forgotten", Claims, "_claimed", nothing()),
    Mutant("a second activation does not give way", Moves, "evict", nothing()),
    Mutant("held messages are forgotten", Residents, "take_held", forget_held),
    Mutant("an agent's state is lost as it moves", Moves, "packed", lose_state, "moves"),
    Mutant("a node that leaves keeps its agents", Moves, "leave", nothing(), "moves"),
    Mutant("what is said of an agent's place is not learned", Locations, "learn", nothing()),
    Mutant("an agent serves while its state arrives", Arrivals, "_arrived", nothing(), "moves"),
]

MUTANTS = [*LINKS, *MESSAGES, *MEMBERS, *AGENTS]


def hunt(name: str, seeds: Iterable[int]) -> Report | None:
    """The first run in which something is noticed of the mutant; None if there is none."""
    [mutant] = [mutant for mutant in MUTANTS if mutant.name == name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mutant.owner, mutant.function, mutant.wrap(getattr(mutant.owner, mutant.function)))
        for seed in seeds:
            report = World(Scenario(seed=seed, faults=faults_named(mutant.faults))).run()
            if report.violation is not None:
                return report
    return None
