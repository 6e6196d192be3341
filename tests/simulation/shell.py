"""A ``Node`` and a shell around it as thin as the real one: sockets, timers, and what a whole process suffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tests.simulation.clocks import Clock
from tests.simulation.connections import Connection, Dial
from tests.simulation.network import Network
from tests.simulation.program import Program
from zmqagents.protocol import effects as e
from zmqagents.protocol.events import Sent
from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import ANYONE, NodeId, PathId
from zmqagents.protocol.node import Node
from zmqagents.protocol.records import Record
from zmqagents.protocol.state import NodeLimits


class Shell(Program):
    """Runs a node with ``record`` on the network; a subclass is its application."""

    def __init__(
        self, network: Network, name: str, place: str, record: Record, limits: NodeLimits | None, clock: Clock
    ) -> None:
        super().__init__(network, name, place, record.node_id)
        self.clock = clock
        self.endpoint, self.gossip_endpoint = record.endpoints[0], record.gossip_endpoints[0]
        self.node = Node(record, limits, now_s=self.now_s)
        self.sent_anew: dict[str, float] = {}
        """Events that were unfinished at a peer whose link was lost, by message id: when that was last so."""
        self._watch_lost_links()
        self._dials: dict[int, Dial] = {}
        self._gossip_dials: dict[str, Dial] = {}
        self._flush_scheduled = False
        self._armed_s = float("inf")
        network.listeners.update({self.endpoint: self, self.gossip_endpoint: self})

    def _watch_lost_links(self) -> None:
        tell = self.node.state.on_link_lost

        def lost(node_id: NodeId, unfinished: list[Sent]) -> None:
            self.sent_anew.update({sent.event.message_id: self.network.now_s for sent in unfinished})
            tell(node_id, unfinished)

        self.node.state.on_link_lost = lost

    def apply(self, effect: e.Effect) -> None:
        """What concerns the application."""
        raise NotImplementedError

    # -- inputs ----------------------------------------------------------------------------------------------

    @property
    def now_s(self) -> float:
        """What its own clock shows: the only time that the node ever sees."""
        return self.clock.read(self.network.now_s)

    def receive(self, path: PathId, parts: list[Part]) -> None:
        self.node.receive(path, parts, self.now_s)

    def receive_gossip(self, parts: list[Part]) -> None:
        self.node.receive_gossip(parts, self.now_s)

    # -- output ------------------------------------------------------------------------------------------------

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
        for path, parts in self.node.transmit(self.now_s):
            if not self._send_raw(path, parts):
                self.node.contacts.send_failed(path, self.now_s)
        if self.node.state.effects:
            self._settle()
        if self.node.wake_s < self._armed_s:
            self._armed_s = self.node.wake_s
            at_s = self._armed_s
            self.network.at(self.clock.true_s(at_s), lambda: self.do(lambda: self._tick(at_s)))

    def _tick(self, at_s: float) -> None:
        if at_s == self._armed_s:
            self._armed_s = float("inf")
            self.clock.wait_until(at_s)
            self.node.tick(self.now_s)

    def _send_raw(self, path: PathId, parts: list[Part]) -> bool:
        connection = self._accepted.get(path) if isinstance(path, bytes) else self._connection(path)
        if connection is None or not connection.open:
            return False
        self.network.envelopes += 1
        if isinstance(path, int):
            listener = connection.listener
            sure = self.node.contacts.attachments.owns(path) and parts[0][22:38] == ANYONE
            connection.send(listener, lambda: accept(listener, self.node_id, connection, parts), sure=sure)
        else:
            answer(connection, parts)
        return True

    def accept(self, source: NodeId, connection: Connection, parts: list[Part]) -> None:
        if connection.open:
            self._accepted[source] = connection
        self.receive(source, parts)

    def _connection(self, path: int) -> Connection | None:
        dial = self._dials.get(path)
        return dial.connection if dial is not None and dial.is_up else None

    def _path_to(self, target: Shell) -> PathId:
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
            self.apply(effect)

    def _publish_gossip(self, parts: Sequence[Part]) -> None:
        for connection in self.network.connections:
            if connection.listener is self and connection.dial.endpoint == self.gossip_endpoint:
                listening = connection.dialler
                connection.send(listening, lambda listening=listening: listening.receive_gossip([*parts]))  # type: ignore[misc]


def accept(listener: object, source: NodeId, connection: Connection, parts: list[Part]) -> None:
    """A message comes to a ROUTER."""
    assert isinstance(listener, Program)
    listener.accept(source, connection, parts)


def answer(connection: Connection, parts: list[Part], *, sure: bool = False) -> None:
    """Send a message from a ROUTER, on the connection on which the other side was heard."""
    dialler, dial = connection.dialler, connection.dial
    assert isinstance(dialler, Shell)

    def arrive() -> None:
        path = next((path for path, one in dialler._dials.items() if one is dial), None)
        if path is not None:
            dialler.receive(path, parts)

    connection.send(dialler, arrive, sure=sure)


@dataclass
class _PathEvents:
    process: Shell
    path: int

    def up(self) -> None:
        self.process.node.contacts.path_up(self.path, self.process.now_s)

    def down(self) -> None:
        self.process.node.contacts.path_down(self.path, self.process.now_s)

    def refused(self) -> None:
        self.process.node.contacts.path_refused(self.path, self.process.now_s)


@dataclass
class _GossipEvents:
    process: Shell
    endpoint: str

    def up(self) -> None:
        self.process.node.contacts.gossip_up(self.endpoint, self.process.now_s)

    def down(self) -> None:
        self.process.node.contacts.gossip_down(self.endpoint, self.process.now_s)

    def refused(self) -> None:
        self.process.node.contacts.gossip_refused(self.endpoint, self.process.now_s)
