"""One simulated process, and what tests do with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from tests.simulation.application import Application, Handler
from tests.simulation.clients import AgentCall
from tests.simulation.clocks import Clock
from tests.simulation.network import Callback, Network
from tests.simulation.program import Program
from tests.unit.protocol.builders import event as make_event
from tests.unit.protocol.builders import make_record, node_id, request
from zmqagents.errors import LocalProtocolError
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import AgentKey, NodeId, short
from zmqagents.protocol.records import HostedType, Phase, SubscriptionKind
from zmqagents.protocol.state import NodeLimits

JOIN_TIMEOUT_S = 3.0
DRAIN_TIMEOUT_S = 10.0
POLL_S = 0.05
LINGER_S = 0.5  # from a node's last words to the end of its process: time for one that comes late


def agent_at(node_id: NodeId) -> AgentKey:
    """An agent that is pinned to the node, for calls to a node rather than to wherever an agent lives."""
    return f"at-{node_id.hex()}/a"


@dataclass(eq=False)
class Call:
    """A call made here to one node, and how it ended: by one outcome."""

    call_id: int
    target: str
    """What it says."""
    peer: NodeId = b""
    cancelled: bool = False
    outcomes: list[f.Reply | f.Error | e.Fate] = field(default_factory=list)

    def __str__(self) -> str:
        return f"call {self.call_id}"

    @property
    def outcome(self) -> f.Reply | f.Error | e.Fate | None:
        if not self.outcomes:
            return None
        [outcome] = self.outcomes
        return outcome

    def end(self, outcome: f.Reply | f.Error | e.Fate, now_s: float) -> None:
        """See CallEnded."""
        self.outcomes.append(outcome)


class Process(Application):
    """A process named ``name`` that listens at ``port``, and serves what comes in after ``handler_s`` (None: never).

    One that joins is no host before it has heard what the others know, as in the runtime.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        *,
        port: str | None = None,
        cluster: str = "default",
        types: Iterable[str] = (),
        hosted: dict[str, HostedType] | None = None,
        subscriptions: Iterable[tuple[SubscriptionKind, str, str]] = (),
        handler_s: float | None = 0.001,
        limits: NodeLimits | None = None,
        protocol: tuple[int, int] = (1, 1),
        label: str | None = None,
        identity: NodeId | None = None,
        clock: Clock | None = None,
        joining: bool = False,
    ) -> None:
        place = port or name
        clock = clock or Clock()
        identity = identity or node_id(name)
        record = make_record(
            name,
            phase=Phase.JOINING if joining else Phase.ACTIVE,
            types=types,
            pinned=[agent_at(identity)],
            subscriptions=subscriptions,
            label=name if label is None else label,
            cluster=cluster,
            endpoints=(f"data://{place}",),
            gossip_endpoints=(f"gossip://{place}",),
        )
        record = replace(
            record,
            protocol=protocol,
            node_id=identity,
            started_ms=clock.wall_ms(network.now_s),
            types=record.types if hosted is None else hosted,
        )
        super().__init__(network, name, place, record, limits, clock, handler_s=handler_s)
        self.calls: list[Call] = []
        self.asked: list[AgentCall] = []
        self._open: list[AgentCall] = []
        self.published: dict[str, list[AgentKey]] = {}
        """Events of this process, and their recipients."""
        self._own: dict[Handler, AgentCall] = {}
        self._settle()
        if joining:
            self._join()

    # -- its life ----------------------------------------------------------------------------------------------

    def _join(self) -> None:
        """Be a full member once the others have told what they know, or have had time to; as the runtime reckons it."""
        since_s = self.now_s

        def look() -> None:
            nonlocal since_s
            late = self.now_s >= since_s + JOIN_TIMEOUT_S
            if late and self.node.has_stalled_since(since_s, self.now_s):
                late, since_s = False, self.now_s
            if late or self.node.is_synchronised():
                self.node.publish_record(replace(self.node.record, phase=Phase.ACTIVE))
            else:
                self.after(POLL_S, look)

        self.after(POLL_S, look)

    @property
    def is_active(self) -> bool:
        """Whether it is alive, and a full member that neither joins nor leaves."""
        return self.alive and self.node.record.phase is Phase.ACTIVE

    def retire(self) -> None:
        """SIGTERM: take no more work, end what there is, let the agents go, leave."""
        self.network.note(f"{self.name} is to leave")
        self.node.publish_record(replace(self.node.record, phase=Phase.LEAVING))
        self._settle()
        self._retire_by(self.network.now_s + DRAIN_TIMEOUT_S)

    def _retire_by(self, give_up_s: float) -> None:
        def look() -> None:
            idle = (
                not self.running
                and not self.listening
                and not self.open_calls()
                and self.node.agency.is_empty
                and self.node.is_quiet()
            )
            if idle or self.network.now_s >= give_up_s:
                self.leave()
            else:
                self._retire_by(give_up_s)

        self.after(POLL_S, look)

    def leave(self) -> None:
        """Leave at once, and be gone once what was to be said is on its way."""
        self.network.note(f"{self.name} leaves")
        self.ended_s = self.network.now_s
        self.node.leave()
        self._settle()
        self.network.after(LINGER_S, self.kill)

    def after(self, seconds: float, callback: Callback) -> None:
        """Run an input so much later."""
        self.network.after(seconds, lambda: self.do(callback))

    def change_record(self, types: Sequence[str]) -> None:
        """Host these agent types from now on."""
        self.change_record_to(make_record(0, types=types).types)

    def change_record_to(self, hosted: Mapping[str, HostedType] | None) -> None:
        """Host these agent types from now on; None: the same, in a new version."""
        types = self.node.record.types if hosted is None else hosted
        self.node.publish_record(replace(self.node.record, types=types))
        self._settle()

    # -- how it finds others -----------------------------------------------------------------------------------

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

    def attach(self, *forwarders: Program | str) -> None:
        """The user names forwarders, or their places."""
        for forwarder in forwarders:
            place = forwarder if isinstance(forwarder, str) else forwarder.place
            self.node.contacts.attachments.add(f"data://{place}", self.now_s)
        self._settle()

    # -- calls and events to a node ----------------------------------------------------------------------------

    def call(self, target: Process | NodeId, text: str = "", *, deadline_s: float | None = None) -> Call:
        """Call an agent that the other process has for good. LocalProtocolError if that is no member."""
        target_id = target if isinstance(target, bytes) else target.node_id
        call = Call(self.node.pending.next_id(), text, target_id)
        frame = request(call.call_id, agent_at(target_id), text=text)
        deadline = None if deadline_s is None else self.now_s + deadline_s
        if not self.node.call(target_id, frame, call, deadline, self.now_s):
            raise LocalProtocolError(f"node {short(target_id)} is not a member")
        self.calls.append(call)
        self._settle()
        return call

    def cancel(self, call: Call) -> None:
        call.cancelled = True
        self.node.cancel(call.call_id)
        self._settle()

    def publish(self, target: Process | NodeId, message_id: str) -> None:
        """Send an event to an agent that the other process has for good. LocalProtocolError if that is no member."""
        target_id = target if isinstance(target, bytes) else target.node_id
        event = make_event(message_id, [agent_at(target_id)])
        if not self.node.publish(target_id, event, self.now_s):
            raise LocalProtocolError(f"node {short(target_id)} is not a member")
        self._settle()

    def inject(self, target: Process, parts: list[f.Part]) -> None:
        """Send something on whichever connection with the target there is."""
        self._send_raw(self._path_to(target), parts)

    # -- calls and events to agents ----------------------------------------------------------------------------

    def ask(self, key: AgentKey, text: str = "", *, deadline_s: float | None = None) -> AgentCall:
        """Call an agent wherever it is."""
        call = AgentCall(self, key, text, f"{self.name}:{len(self.asked)}", deadline_s)
        self.asked.append(call)
        self._open.append(call)
        call.advance()
        self._settle()
        return call

    def give_up(self, call: AgentCall) -> None:
        """Cancel a call to an agent."""
        call.cancel()
        self._settle()

    def tell(self, keys: list[AgentKey], prefix: str = "e") -> None:
        """Publish an event to these agents, unless one of their nodes has no room for it."""
        node = self.node
        targets = {key: node.agency.locations.target(key) for key in keys}
        if all(to is None or to == self.node_id or node.can_publish(to) for to in targets.values()):
            message_id = f"{prefix}{len(self.published)}@{self.name}"
            self.published[message_id] = keys
            node.deliver(make_event(message_id, keys), self.now_s)
            self._settle()

    def handle_own(self, call: AgentCall, handler: Handler) -> None:
        """Begin to handle a call of this process; its agent has let it in."""
        self._own[handler] = call
        left_s = None if call.deadline_s is None else call.begun_s + call.deadline_s - self.network.now_s
        self.handle(handler, left_s)

    def cancel_own(self, handler: Handler) -> None:
        """The caller of a call that is handled here has given it up."""
        self._finish(handler, f.Error(handler.call_id, f.ErrorCode.CANCELLED, "", "", b""))

    def handled(self, handler: Handler, answer: f.Reply | f.Error) -> None:
        call = self._own.pop(handler, None)
        if call is None:
            super().handled(handler, answer)
            return
        self.node.agency.arrivals.left(handler.key)
        if call.is_open:
            call.end(answer, self.network.now_s)

    # -- what a test asks --------------------------------------------------------------------------------------

    def open_calls(self) -> list[AgentCall]:
        """The calls to agents made here that have not ended."""
        self._open = [call for call in self._open if call.is_open]
        return self._open

    def knows(self, other: Process) -> bool:
        """Whether the other is a live member here, as it is now."""
        return self.node.membership.get(other.node_id) == other.node.record

    def lost(self, other: Process) -> bool:
        """Whether the other is no member here."""
        return self.node.membership.get(other.node_id) is None

    @property
    def members(self) -> set[str]:
        return {record.instance_id for record in self.node.membership.live()}


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
