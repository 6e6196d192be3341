"""One simulated process: a ``Node``, a shell as thin as the real one, an application that serves and records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from tests.simulation.network import Callback, Connection, Dial, Network
from tests.unit.protocol.builders import event, make_record, node_id, reply, request
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.ids import NodeId, PathId
from zmqagents.protocol.node import Node
from zmqagents.protocol.records import SubscriptionKind
from zmqagents.protocol.state import NodeLimits


@dataclass
class Call:
    """A call made here, and how it ended: by one outcome."""

    call_id: int
    target: str
    outcomes: list[f.Reply | f.Error | e.Fate] = field(default_factory=list)

    @property
    def outcome(self) -> f.Reply | f.Error | e.Fate | None:
        if not self.outcomes:
            return None
        [outcome] = self.outcomes
        return outcome


class Process:
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
    ) -> None:
        self.network, self.name, self.handler_s = network, name, handler_s
        self.node_id = node_id(name)
        self.alive = True
        self.endpoint, self.gossip_endpoint = f"data://{port or name}", f"gossip://{port or name}"
        record = make_record(
            name,
            types=types,
            subscriptions=subscriptions,
            label=name,
            cluster=cluster,
            endpoints=(self.endpoint,),
            gossip_endpoints=(self.gossip_endpoint,),
        )
        self.node = Node(replace(record, protocol=protocol), limits, now_s=network.now_s)
        self.calls: list[Call] = []
        self.executed: Counter[tuple[NodeId, int]] = Counter()
        self.cancelled: list[tuple[NodeId, int]] = []
        self.heard: list[tuple[NodeId, str]] = []
        """Events that came in: who sent them, and their message ids."""
        self.abandoned: list[tuple[NodeId, str]] = []
        self.refusals: list[e.PeerRefused] = []
        self.strays: list[e.Strayed] = []
        self.serving_ended: list[int] = []
        self._dials: dict[int, Dial] = {}
        self._gossip_dials: dict[str, Dial] = {}
        self._accepted: dict[NodeId, Connection] = {}
        self._flush_scheduled = False
        self._armed_s = float("inf")
        self._backlog: list[Callback] | None = None
        network.listeners.update({self.endpoint: self, self.gossip_endpoint: self})
        self._settle()

    # -- what a test does --------------------------------------------------------------------------------------

    def sight(self, *others: Process) -> None:
        """Discovery shows the other processes."""
        for other in others:
            self.node.contacts.sighted((other.endpoint,), other.node_id, self.network.now_s)
        self._settle()

    def seed(self, *ports: str) -> None:
        """The endpoints are given as seeds: whoever is there."""
        for port in ports:
            self.node.contacts.sighted((f"data://{port}",), None, self.network.now_s)
        self._settle()

    def call(self, target: Process | NodeId, text: str = "", *, deadline_s: float | None = None) -> Call:
        """Call the agent ``worker/a`` of the other process."""
        target_id = target if isinstance(target, bytes) else target.node_id
        call = Call(self.node.pending.next_id(), text)
        self.calls.append(call)
        deadline = None if deadline_s is None else self.network.now_s + deadline_s
        self.node.call(target_id, request(call.call_id, text=text), call, deadline, self.network.now_s)
        self._settle()
        return call

    def cancel(self, call: Call) -> None:
        self.node.cancel(call.call_id)
        self._settle()

    def publish(self, target: Process | NodeId, message_id: str) -> None:
        """Send an event to the other process."""
        target_id = target if isinstance(target, bytes) else target.node_id
        self.node.publish(target_id, event(message_id), self.network.now_s)
        self._settle()

    def change_record(self, types: Sequence[str]) -> None:
        """Host these agent types from now on."""
        self.node.publish_record(replace(self.node.record, types=make_record(0, types=types).types))
        self._settle()

    def leave(self) -> None:
        """Leave, and be gone once what was to be said is on its way."""
        self.node.leave()
        self._settle()
        self.network.after(0.1, self.kill)

    def kill(self) -> None:
        """SIGKILL."""
        if self.alive:
            self.network.note(f"{self.name} is killed")
            self.alive = False
            self.network.disconnect(self)

    def freeze(self, seconds: float) -> None:
        """The program is busy and reads nothing, while libzmq keeps its connections."""
        if self._backlog is None:
            self._backlog = []
            self.network.after(seconds, self._thaw)

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

    @property
    def members(self) -> set[str]:
        return {record.instance_id for record in self.node.membership.live()}

    # -- the shell ---------------------------------------------------------------------------------------------

    def do(self, callback: Callback) -> None:
        self._when_free(lambda: self._input(callback))

    def _when_free(self, callback: Callback) -> None:
        if self._backlog is not None:
            self._backlog.append(callback)
        elif self.alive:
            callback()

    def _input(self, callback: Callback) -> None:
        callback()
        self._settle()

    def receive(self, path: PathId, parts: list[bytes]) -> None:
        self.node.receive(path, parts, self.network.now_s)

    def receive_gossip(self, parts: list[bytes]) -> None:
        self.node.receive_gossip(parts, self.network.now_s)

    def _thaw(self) -> None:
        backlog, self._backlog = self._backlog or [], None
        for callback in backlog:
            self._when_free(callback)

    def _settle(self) -> None:
        if not self.alive:
            return
        while effects := self.node.take_effects():
            for effect in effects:
                self._perform(effect)
        if not self._flush_scheduled:
            self._flush_scheduled = True
            self.network.after(0.0, lambda: self._when_free(self._flush))

    def _flush(self) -> None:
        self._flush_scheduled = False
        for path, parts in self.node.transmit(self.network.now_s):
            if not self._send_raw(path, parts):
                self.node.contacts.send_failed(path)
        if self.node.state.effects:
            self._settle()
        if self.node.wake_s < self._armed_s:
            self._armed_s = self.node.wake_s
            at_s = self._armed_s
            self.network.at(at_s, lambda: self.do(lambda: self._tick(at_s)))

    def _tick(self, at_s: float) -> None:
        if at_s == self._armed_s:
            self._armed_s = float("inf")
            self.node.tick(self.network.now_s)

    def _send_raw(self, path: PathId, parts: list[bytes]) -> bool:
        connection = self._accepted.get(path) if isinstance(path, bytes) else self._connection(path)
        if connection is None or not connection.open:
            return False
        self.network.envelopes += 1
        if isinstance(path, int):
            listener = connection.listener
            connection.send(listener, lambda: _accept(listener, self.node_id, connection, parts))
        else:
            dialler, dial = connection.dialler, connection.dial
            connection.send(dialler, lambda: _answer(dialler, dial, parts))
        return True

    def _connection(self, path: int) -> Connection | None:
        dial = self._dials.get(path)
        return dial.connection if dial is not None and dial.is_up else None

    def _path_to(self, target: Process) -> PathId:
        for path, dial in self._dials.items():
            if dial.is_up and dial.connection is not None and dial.connection.listener is target:
                return path
        return target.node_id

    # -- effects -----------------------------------------------------------------------------------------------

    def _perform(self, effect: e.Effect) -> None:
        if isinstance(effect, e.Publish):
            self._publish_gossip(effect.parts)
        elif isinstance(effect, e.OpenPath):
            self._dials[effect.path] = Dial(self.network, self, effect.endpoint, _PathEvents(self, effect.path))
        elif isinstance(effect, e.ClosePath):
            self._dials.pop(effect.path).close()
        elif isinstance(effect, e.Subscribe):
            if effect.endpoint not in self._gossip_dials:
                events = _GossipEvents(self, effect.endpoint)
                self._gossip_dials[effect.endpoint] = Dial(self.network, self, effect.endpoint, events)
        elif isinstance(effect, e.Unsubscribe):
            dial = self._gossip_dials.pop(effect.endpoint, None)
            if dial is not None:
                dial.close()
        else:
            self._apply(effect)

    def _publish_gossip(self, parts: list[bytes]) -> None:
        network = self.network
        for connection in network.connections:
            if connection.listener is self and connection.dial.endpoint == self.gossip_endpoint:
                if network.random.random() < network.gossip_loss:
                    continue
                listening = connection.dialler
                connection.send(listening, lambda listening=listening: listening.receive_gossip(parts))  # type: ignore[misc]

    def _apply(self, effect: e.Effect) -> None:
        self.network.note(f"{self.name} {effect!r:.200}")
        if isinstance(effect, e.Incoming):
            self._serve(effect)
        elif isinstance(effect, e.CallEnded):
            effect.token.outcomes.append(effect.outcome)
        elif isinstance(effect, e.ServingEnded):
            self.serving_ended.extend(effect.tokens)
        elif isinstance(effect, e.EventsAbandoned):
            self.abandoned.extend((effect.peer, abandoned.message_id) for abandoned in effect.events)
        elif isinstance(effect, e.PeerRefused):
            self.refusals.append(effect)
        elif isinstance(effect, e.Strayed):
            self.strays.append(effect)

    def _serve(self, incoming: e.Incoming) -> None:
        peer, frame = incoming.peer, incoming.frame
        if isinstance(frame, f.Request):
            self.executed[peer, frame.call_id] += 1
            self.node.served.begin(peer, frame.call_id, frame.call_id)
            answer = reply(frame.call_id, f"{self.name} {frame.payload.decode()}")
            self._later(lambda: self.node.answer(peer, answer))
        elif isinstance(frame, f.Cancel):
            self.cancelled.append((peer, frame.call_id))
            self.node.answer(peer, f.Error(frame.call_id, f.ErrorCode.CANCELLED, "", "", b""))
        elif isinstance(frame, f.Event):
            self.heard.append((peer, frame.message_id))
            self._later(lambda: self.node.event_done(peer, incoming.number))

    def _later(self, callback: Callback) -> None:
        if self.handler_s is not None:
            self.network.after(self.network.random.uniform(0, 2 * self.handler_s), lambda: self.do(callback))


def _accept(listener: object, source: NodeId, connection: Connection, parts: list[bytes]) -> None:
    assert isinstance(listener, Process)
    listener._accepted[source] = connection
    listener.receive(source, parts)


def _answer(dialler: object, dial: Dial, parts: list[bytes]) -> None:
    assert isinstance(dialler, Process)
    path = next((path for path, one in dialler._dials.items() if one is dial), None)
    if path is not None:
        dialler.receive(path, parts)


@dataclass
class _PathEvents:
    process: Process
    path: int

    def up(self) -> None:
        self.process.node.contacts.path_up(self.path, self.process.network.now_s)

    def down(self) -> None:
        self.process.node.contacts.path_down(self.path, self.process.network.now_s)

    def refused(self) -> None:
        self.process.node.contacts.path_refused(self.path, self.process.network.now_s)


@dataclass
class _GossipEvents:
    process: Process
    endpoint: str

    def up(self) -> None:
        self.process.node.contacts.gossip_up(self.endpoint)

    def down(self) -> None:
        self.process.node.contacts.gossip_down(self.endpoint, self.process.network.now_s)

    def refused(self) -> None:
        self.process.node.contacts.gossip_refused(self.endpoint, self.process.network.now_s)


def converged(processes: Iterable[Process]) -> bool:
    """Whether those alive know one another, and nobody else, as they are now."""
    alive = [process for process in processes if process.alive]
    names = {process.name for process in alive}
    return all(one.members == names and all(one.knows(other) for other in alive) for one in alive)


def start(network: Network, *names: str, handler_s: float | None = 0.001) -> list[Process]:
    """Processes that have found one another."""
    processes = [Process(network, name, types=["worker"], handler_s=handler_s) for name in names]
    for process in processes:
        process.sight(*(other for other in processes if other is not process))
    network.run_until(lambda: converged(processes) and all(one.node.is_synchronised() for one in processes))
    return processes
