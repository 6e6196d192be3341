"""One simulated process: a ``Shell`` with an application that serves what comes in, and records everything."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tests.simulation.clocks import Clock
from tests.simulation.network import Callback, Network
from tests.simulation.shell import Shell
from tests.unit.protocol.builders import event, make_record, node_id, reply, request
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.membership import MemberChange
from zmqagents.protocol.records import SubscriptionKind
from zmqagents.protocol.state import NodeLimits

SLOW, STUCK = "slow", "stuck"
"""Texts that begin so are handled for up to SLOW_S, or until they are cancelled."""
SLOW_S = 0.6


@dataclass
class Call:
    """A call made here, and how it ended: by one outcome."""

    call_id: int
    target: str
    peer: NodeId = b""
    begun_s: float = 0.0
    """By the network's clock, as all times of the record are."""
    deadline_s: float | None = None
    """How long it may take."""
    ended_s: float | None = None
    cancelled: bool = False
    outcomes: list[f.Reply | f.Error | e.Fate] = field(default_factory=list)

    @property
    def outcome(self) -> f.Reply | f.Error | e.Fate | None:
        if not self.outcomes:
            return None
        [outcome] = self.outcomes
        return outcome


class Seen(NamedTuple):
    """A change of a member that the node told of, and at which version the member is buried, if it is."""

    at_s: float
    change: MemberChange
    buried_at: int | None


class Process(Shell):
    """A process named ``name`` that listens at ``port``, and serves what comes in after ``handler_s`` (None: never)."""

    def __init__(
        self,
        network: Network,
        name: str,
        *,
        port: str | None = None,
        cluster: str = "default",
        types: Iterable[str] = (),
        subscriptions: Iterable[tuple[SubscriptionKind, str, str]] = (),
        handler_s: float | None = 0.001,
        limits: NodeLimits | None = None,
        protocol: tuple[int, int] = (1, 1),
        label: str | None = None,
        identity: NodeId | None = None,
        clock: Clock | None = None,
    ) -> None:
        place = port or name
        clock = clock or Clock()
        record = make_record(
            name,
            types=types,
            subscriptions=subscriptions,
            label=name if label is None else label,
            cluster=cluster,
            endpoints=(f"data://{place}",),
            gossip_endpoints=(f"gossip://{place}",),
        )
        identity = identity or node_id(name)
        started_ms = clock.wall_ms(network.now_s)
        record = replace(record, protocol=protocol, node_id=identity, started_ms=started_ms)
        super().__init__(network, name, place, record, limits, clock)
        self.handler_s = handler_s
        self.calls: list[Call] = []
        self._open: list[Call] = []
        self.executed: Counter[tuple[NodeId, int]] = Counter()
        self.repeated: tuple[NodeId, int] | None = None
        """A call that was executed more than once."""
        self.running: dict[tuple[NodeId, int], float] = {}
        """The handlers of calls that have not ended, and since when."""
        self.cancelled: list[tuple[NodeId, int]] = []
        self.published: dict[tuple[NodeId, str], int] = {}
        """Events sent from here: to whom, and their message ids; with numbers that grow."""
        self.heard: list[tuple[NodeId, str]] = []
        """Events that came in: who sent them, and their message ids."""
        self.abandoned: list[tuple[NodeId, str]] = []
        self.refusals: list[e.PeerRefused] = []
        self.strays: list[e.Strayed] = []
        self.serving_ended: list[int] = []
        self.seen: list[Seen] = []
        self._settle()

    # -- what a test does --------------------------------------------------------------------------------------

    def sight(self, *others: Process) -> None:
        """Discovery shows the other processes."""
        for other in others:
            self.node.contacts.sighted((other.endpoint,), other.node_id, self.now_s)
        self._settle()

    def seed(self, *ports: str) -> None:
        """The endpoints are given as seeds: whoever is there."""
        for port in ports:
            self.node.contacts.sighted((f"data://{port}",), None, self.now_s)
        self._settle()

    def call(self, target: Process | NodeId, text: str = "", *, deadline_s: float | None = None) -> Call:
        """Call the agent ``worker/a`` of the other process."""
        target_id = target if isinstance(target, bytes) else target.node_id
        call = Call(self.node.pending.next_id(), text, target_id, self.network.now_s, deadline_s)
        self.calls.append(call)
        self._open.append(call)
        deadline = None if deadline_s is None else self.now_s + deadline_s
        self.node.call(target_id, request(call.call_id, text=text), call, deadline, self.now_s)
        self._settle()
        return call

    def cancel(self, call: Call) -> None:
        call.cancelled = True
        call.ended_s = self.network.now_s
        self.node.cancel(call.call_id)
        self._settle()

    def publish(self, target: Process | NodeId, message_id: str) -> None:
        """Send an event to the other process."""
        target_id = target if isinstance(target, bytes) else target.node_id
        self.published[target_id, message_id] = len(self.published)
        self.node.publish(target_id, event(message_id), self.now_s)
        self._settle()

    def change_record(self, types: Sequence[str]) -> None:
        """Host these agent types from now on."""
        self.node.publish_record(replace(self.node.record, types=make_record(0, types=types).types))
        self._settle()

    def leave(self) -> None:
        """Leave, and be gone once what was to be said is on its way."""
        self.network.note(f"{self.name} leaves")
        self.ended_s = self.network.now_s
        self.node.leave()
        self._settle()
        self.network.after(0.1, self.kill)

    def inject(self, target: Process, parts: list[bytes]) -> None:
        """Send something on whichever connection with the target there is."""
        self._send_raw(self._path_to(target), parts)

    # -- what a test asks --------------------------------------------------------------------------------------

    def knows(self, other: Process) -> bool:
        """Whether the other is a live member here, as it is now."""
        return self.node.membership.get(other.node_id) == other.node.record

    def lost(self, other: Process) -> bool:
        """Whether the other is no member here."""
        return self.node.membership.get(other.node_id) is None

    def open_calls(self) -> list[Call]:
        """The calls made here that have not ended."""
        self._open = [call for call in self._open if not call.outcomes and not call.cancelled]
        return self._open

    @property
    def members(self) -> set[str]:
        return {record.instance_id for record in self.node.membership.live()}

    # -- the application ---------------------------------------------------------------------------------------

    def apply(self, effect: e.Effect) -> None:
        self.network.note(f"{self.name} {describe(effect, self.network.names)}")
        if isinstance(effect, e.Incoming):
            self._serve(effect)
        elif isinstance(effect, e.CallEnded):
            effect.token.outcomes.append(effect.outcome)
            effect.token.ended_s = self.network.now_s
        elif isinstance(effect, e.ServingEnded):
            for handler in effect.tokens:
                self.running.pop(handler, None)
                self.serving_ended.append(handler[1])
        elif isinstance(effect, e.EventsAbandoned):
            self.abandoned.extend((effect.peer, abandoned.message_id) for abandoned in effect.events)
        elif isinstance(effect, e.MemberChanged):
            buried_at = self.node.membership.buried_at(effect.change.record.node_id)
            self.seen.append(Seen(self.network.now_s, effect.change, buried_at))
        elif isinstance(effect, e.PeerRefused):
            self.refusals.append(effect)
        elif isinstance(effect, e.Strayed):
            self.strays.append(effect)

    def _serve(self, incoming: e.Incoming) -> None:
        peer, frame = incoming.peer, incoming.frame
        if isinstance(frame, f.Request):
            handler = (peer, frame.call_id)
            self.executed[handler] += 1
            if self.executed[handler] > 1:
                self.repeated = handler
            self.running[handler] = self.network.now_s
            self.node.served.begin(peer, frame.call_id, handler)
            text = frame.payload.decode()
            self._after_handling(text, lambda: self._answer(handler, f"{self.name} {text}"))
        elif isinstance(frame, f.Cancel):
            self.cancelled.append((peer, frame.call_id))
            self.running.pop((peer, frame.call_id), None)
            self.node.answer(peer, f.Error(frame.call_id, f.ErrorCode.CANCELLED, "", "", b""))
        elif isinstance(frame, f.Event):
            self.heard.append((peer, frame.message_id))
            self._after_handling(frame.message_id, lambda: self.node.event_done(peer, incoming.number))

    def _answer(self, handler: tuple[NodeId, int], text: str) -> None:
        self.running.pop(handler, None)
        self.node.answer(handler[0], reply(handler[1], text))

    def _after_handling(self, text: str, callback: Callback) -> None:
        if self.handler_s is not None and not text.startswith(STUCK):
            longest_s = SLOW_S if text.startswith(SLOW) else 2 * self.handler_s
            self.network.after(self.network.random.uniform(0, longest_s), lambda: self.do(callback))


def describe(effect: e.Effect, names: Mapping[NodeId, str]) -> str:
    """The effect in a few words, which are the same in every run."""
    if isinstance(effect, e.MemberChanged):
        change = effect.change
        return f"sees {names.get(change.record.node_id)} {change.change.name} v{change.record.version}"
    if isinstance(effect, e.Incoming):
        frame = effect.frame
        what = frame.message_id if isinstance(frame, f.Event) else frame.call_id
        return f"gets {type(frame).__name__} {what} of {names.get(effect.peer)}, number {effect.number}"
    if isinstance(effect, e.CallEnded):
        outcome = effect.outcome
        how = outcome.name if isinstance(outcome, e.Fate) else type(outcome).__name__
        return f"call {effect.token.call_id} of {names.get(effect.peer)} ended: {how}"
    if isinstance(effect, e.ServingEnded):
        return f"serves {len(effect.tokens)} calls no more"
    if isinstance(effect, e.EventsAbandoned):
        return f"is handed back {[one.message_id for one in effect.events]} by {names.get(effect.peer)}"
    if isinstance(effect, e.Strayed):
        return f"strayed: {names.get(effect.peer or b'')} {effect.code.name} {effect.text}"
    if isinstance(effect, e.PeerRefused):
        return f"refused: {names.get(effect.peer)} {effect.code} {effect.text}"
    return type(effect).__name__


def converged(processes: Iterable[Process]) -> bool:
    """Whether those alive know one another, and nobody else, as they are now."""
    alive = [process for process in processes if process.alive]
    return all(
        one.node.membership.live_count == len(alive) and all(one.knows(other) for other in alive) for one in alive
    )


def start(network: Network, *names: str, handler_s: float | None = 0.001) -> list[Process]:
    """Processes that have found one another."""
    processes = [Process(network, name, types=["worker"], handler_s=handler_s) for name in names]
    for process in processes:
        process.sight(*(other for other in processes if other is not process))
    network.run_until(lambda: converged(processes) and all(one.node.is_synchronised() for one in processes))
    return processes
