"""The application of a simulated process: agents that handle, count, pack up and settle in; and a record of it all."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tests.simulation.clocks import Clock
from tests.simulation.network import Callback, Network
from tests.simulation.shell import Shell
from tests.unit.protocol.builders import reply
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.protocol.membership import MemberChange
from zmqagents.protocol.records import Record
from zmqagents.protocol.state import NodeLimits

SLOW, STUCK = "slow", "stuck"
"""Texts that begin so are handled for up to SLOW_S, or until they are cancelled or their time is up."""
SLOW_S = 0.6
SAVE_S = 0.02  # an agent's state is saved or loaded within this


class Seen(NamedTuple):
    """A change of a member that the node told of, and at which version the member is buried, if it is."""

    at_s: float
    change: MemberChange
    buried_at: int | None


class Hearing(NamedTuple):
    """An agent here began to handle an event."""

    at_s: float
    key: AgentKey
    message_id: str


@dataclass(eq=False)
class Handler:
    """A call being handled. ``call_id`` is that of its peer; ``peer`` is our own node for a call of this process."""

    peer: NodeId
    call_id: int
    key: AgentKey
    message_id: str
    text: str
    since_s: float
    ended: bool = False


class Application(Shell):
    """Serves what comes in after ``handler_s`` at most (None: never)."""

    def __init__(
        self,
        network: Network,
        name: str,
        place: str,
        record: Record,
        limits: NodeLimits | None,
        clock: Clock,
        *,
        handler_s: float | None,
    ) -> None:
        super().__init__(network, name, place, record, limits, clock)
        self.handler_s = handler_s
        self.agents: dict[AgentKey, int] = {}
        """The instances here, and how many messages each has begun to handle, here and before it came: its state."""
        self.executed: Counter[tuple[NodeId, int]] = Counter()
        """Calls that came in, by caller and number."""
        self.ran: list[tuple[AgentKey, str]] = []
        """Calls whose handlers began: agents and message ids."""
        self.running: dict[tuple[NodeId, int], Handler] = {}
        self.cancelled: list[tuple[NodeId, int]] = []
        self.heard: list[tuple[NodeId, str]] = []
        """Events that came in: from whom, and their message ids."""
        self.hearings: list[Hearing] = []
        self.listening = 0
        """Handlers of events that have not ended."""
        self.dead: list[tuple[AgentKey, str]] = []
        """Events that this node gave up: recipients and message ids."""
        self.evicted: list[e.Evicted] = []
        self.refusals: list[e.PeerRefused] = []
        self.strays: list[e.Strayed] = []
        self.serving_ended: list[int] = []
        self.seen: list[Seen] = []

    def apply(self, effect: e.Effect) -> None:
        self.network.note(f"{self.name} {describe(effect, self.network.names)}")
        if isinstance(effect, e.Incoming):
            self._serve(effect)
        elif isinstance(effect, e.CallEnded):
            effect.token.end(effect.outcome, self.network.now_s)
        elif isinstance(effect, e.ServingEnded):
            for handler in effect.tokens:
                if handler is not None:
                    self.serving_ended.append(handler.call_id)
                    self._finish(handler, f.Error(handler.call_id, f.ErrorCode.CANCELLED, "", "", b""))
        elif isinstance(effect, e.EventDead):
            self.dead += [(key, effect.event.message_id) for key in effect.event.recipients]
        elif isinstance(effect, e.Pack):
            self._after(SAVE_S, lambda: self.node.packed(effect.agent, self._state_of(effect.agent)))
        elif isinstance(effect, e.Evicted):
            self.agents.pop(effect.agent, None)
            self.evicted.append(effect)
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
            self.executed[peer, frame.call_id] += 1
            text = bytes(frame.payload).decode()
            handler = Handler(peer, frame.call_id, frame.agent, frame.message_id, text, self.network.now_s)
            if not self.node.served.attach(peer, frame.call_id, handler):
                self.node.answer(peer, f.Error(frame.call_id, f.ErrorCode.CANCELLED, "", "", b""))
                return
            timeout_s = None if frame.timeout_ms is None else frame.timeout_ms / 1_000
            self.handle(handler, timeout_s)
        elif isinstance(frame, f.Cancel):
            self.cancelled.append((peer, frame.call_id))
            cancelled = self.running.get((peer, frame.call_id))
            if cancelled is not None:
                self._finish(cancelled, f.Error(frame.call_id, f.ErrorCode.CANCELLED, "", "", b""))
        elif isinstance(frame, f.Event):
            self._hear(peer, incoming.number, frame)
        else:
            self._operate(peer, frame)

    # -- calls -------------------------------------------------------------------------------------------------

    def handle(self, handler: Handler, timeout_s: float | None) -> None:
        """Begin to handle a call."""
        self.running[handler.peer, handler.call_id] = handler
        self.ran.append((handler.key, handler.message_id))
        self.agents[handler.key] = self.agents.get(handler.key, 0) + 1
        answer = reply(handler.call_id, f"{self.name} {handler.text}")
        self._after_handling(handler.text, lambda: self._finish(handler, answer))
        if timeout_s is not None:
            late = f.Error(handler.call_id, f.ErrorCode.DEADLINE, "", "", b"")
            self._after(timeout_s, lambda: self._finish(handler, late))

    def _finish(self, handler: Handler, answer: f.Reply | f.Error) -> None:
        if not handler.ended:
            handler.ended = True
            self.running.pop((handler.peer, handler.call_id), None)
            self.handled(handler, answer)

    def handled(self, handler: Handler, answer: f.Reply | f.Error) -> None:
        """A handler has ended."""
        self.node.answer(handler.peer, answer)

    def _after_handling(self, text: str, callback: Callback) -> None:
        if self.handler_s is not None and not text.startswith(STUCK):
            self._after(SLOW_S if text.startswith(SLOW) else 2 * self.handler_s, callback)

    def _after(self, longest_s: float, callback: Callback) -> None:
        exact = longest_s if longest_s > SLOW_S else self.network.random.uniform(0, longest_s)
        self.network.after(exact, lambda: self.do(callback))

    # -- events ------------------------------------------------------------------------------------------------

    def _hear(self, peer: NodeId, number: int, event: f.Event) -> None:
        self.heard.append((peer, event.message_id))
        for key in event.recipients:
            self.hearings.append(Hearing(self.network.now_s, key, event.message_id))
            self.agents[key] = self.agents.get(key, 0) + 1
            self.listening += 1
            self._after_handling(event.message_id, lambda key=key: self._heard(peer, number, key))  # type: ignore[misc]

    def _heard(self, peer: NodeId, number: int, key: AgentKey) -> None:
        self.listening -= 1
        self.node.event_done(peer, number, [key])

    # -- moving ------------------------------------------------------------------------------------------------

    def _state_of(self, key: AgentKey) -> bytes | None:
        count = self.agents.get(key)
        return None if count is None else json.dumps(count).encode()

    def _operate(self, peer: NodeId, frame: f.Agent) -> None:
        def settle_in() -> None:
            self.agents[frame.agent] = json.loads(frame.payload)
            self.node.answer(peer, f.Reply(frame.call_id, "", "application/json", b""))

        self._after(SAVE_S, settle_in)


def describe(effect: e.Effect, names: Mapping[NodeId, str]) -> str:
    """The effect in a few words, which are the same in every run."""
    if isinstance(effect, e.MemberChanged):
        change = effect.change
        return f"sees {names.get(change.record.node_id)} {change.change.name} v{change.record.version}"
    if isinstance(effect, e.Incoming):
        frame = effect.frame
        what = f"{frame.message_id} for {','.join(frame.recipients)}" if isinstance(frame, f.Event) else frame.call_id
        whom = f" for {frame.agent}" if isinstance(frame, f.Request | f.Agent) else ""
        return f"gets {type(frame).__name__} {what}{whom} of {names.get(effect.peer)}, number {effect.number}"
    if isinstance(effect, e.CallEnded):
        return f"{effect.token} at {names.get(effect.peer)} ended: {name_of(effect.outcome)}"
    if isinstance(effect, e.ServingEnded):
        return f"serves {len(effect.tokens)} calls no more"
    if isinstance(effect, e.EventsAbandoned):
        return f"has {effect.events} unfinished events at {names.get(effect.peer)}, which is lost"
    if isinstance(effect, e.EventDead):
        return f"gives up {effect.event.message_id} for {','.join(effect.event.recipients)}: {effect.reason}"
    if isinstance(effect, e.Evicted):
        return f"loses {effect.agent} to {names.get(effect.to or b'')} {effect.lost}"
    if isinstance(effect, e.Strayed):
        return f"strayed: {names.get(effect.peer or b'')} {effect.code.name} {effect.text}"
    return type(effect).__name__ + "".join(
        f" {names.get(value, '') if isinstance(value, bytes) else value}" for value in effect
    )


def name_of(outcome: f.Reply | f.Error | e.Fate) -> str:
    """How a call ended, in a word."""
    if isinstance(outcome, e.Fate):
        return outcome.name.lower()
    return f.ErrorCode(outcome.code).name.lower() if isinstance(outcome, f.Error) else "reply"
