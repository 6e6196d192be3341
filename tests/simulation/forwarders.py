"""A simulated forwarder: a ``Relay`` at a port, and a shell as thin as the real one."""

from __future__ import annotations

from tests.simulation.connections import LOSS_SEEN_AFTER_S, Connection
from tests.simulation.network import Network
from tests.simulation.program import Program
from tests.simulation.shell import answer
from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import NodeId, make_node_id
from zmqagents.protocol.relay import Relay


class Forwarder(Program):
    """The process ``name``, which listens at ``place``; each life has an id of its own."""

    def __init__(
        self, network: Network, name: str, *, place: str | None = None, cluster: str = "default", identity: bytes = b""
    ) -> None:
        super().__init__(network, name, place or name, make_node_id(identity or name.encode().rjust(16, b"f")))
        self.endpoint = f"data://{self.place}"
        self.relay = Relay(self.node_id, cluster, now_s=network.now_s)
        self._armed_s = float("inf")
        network.listeners[self.endpoint] = self

    def shaken(self, source: NodeId, connection: Connection) -> None:
        self._accepted[source] = connection

    def accept(self, source: NodeId, connection: Connection, parts: list[Part]) -> None:
        if connection.open:
            self._accepted[source] = connection
        self.relay.receive(source, parts, self.network.now_s)

    def hung_up(self) -> None:
        if self.alive:
            self.network.after(LOSS_SEEN_AFTER_S, lambda: self.do(lambda: self.relay.disconnected(self.network.now_s)))

    def drain(self) -> None:
        """SIGTERM, as its first moment: it says goodbye, and goes on for a while."""
        self.do(lambda: self.relay.drain(self.network.now_s))

    def has(self, *nodes: Program) -> bool:
        """Whether these are attached."""
        return all(node.node_id in self.relay.attached for node in nodes)

    def _settle(self) -> None:
        while sends := self.relay.take():
            for node_id, parts in sends:
                connection = self._accepted.get(node_id)
                if connection is not None and connection.open:
                    answer(connection, parts, sure=parts[0][4:20] == self.node_id)
                else:
                    self.relay.unsent(node_id)
                    self.relay.unreachable(node_id, self.network.now_s)
        self.relay.take_news()
        if self.relay.wake_s < self._armed_s:
            at_s = self._armed_s = self.relay.wake_s
            self.network.at(at_s, lambda: self.do(lambda: self._tick(at_s)))

    def _tick(self, at_s: float) -> None:
        if at_s == self._armed_s:
            self._armed_s = float("inf")
            self.relay.tick(self.network.now_s)


def restarted(forwarder: Forwarder) -> Forwarder:
    """The next life of a forwarder, at the same place."""
    return Forwarder(
        forwarder.network,
        f"{forwarder.place}+",
        place=forwarder.place,
        cluster=forwarder.relay.cluster,
        identity=forwarder.network.random.randbytes(16),
    )
