"""What every simulated program has: inputs that may have to wait, and what a whole process suffers."""

from __future__ import annotations

from tests.simulation.connections import Callback, Connection
from tests.simulation.network import Network
from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import NodeId


class Program:
    """A process named ``name`` at ``place``; a subclass says what it does."""

    def __init__(self, network: Network, name: str, place: str, node_id: NodeId) -> None:
        self.network, self.name, self.place, self.node_id = network, name, place, node_id
        network.names[node_id] = name
        self.alive = True
        self.started_s = network.now_s
        self.ended_s = float("inf")
        """When it was killed, or began to leave."""
        self.suspended = False
        self._accepted: dict[NodeId, Connection] = {}
        """The newest connection of each routing id."""
        self._backlog: list[Callback] | None = None
        self._busy_until_s = 0.0
        self._thawed_at_s = 0.0

    def accept(self, source: NodeId, connection: Connection, parts: list[Part]) -> None:
        """A message came on a connection with our ROUTER."""
        raise NotImplementedError

    def shaken(self, source: NodeId, connection: Connection) -> None:
        """A connection with our ROUTER is complete: libzmq knows it by the routing id."""

    def hung_up(self) -> None:
        """A connection with our ROUTER has ended."""

    def _settle(self) -> None:
        """Do and send what an input has led to."""
        raise NotImplementedError

    # -- time and faults ---------------------------------------------------------------------------------------

    @property
    def is_held_up(self) -> bool:
        """Whether it is busy or suspended."""
        return self._backlog is not None

    def was_held_up(self, since_s: float) -> bool:
        """Whether it is, or has been since the network's clock showed ``since_s``."""
        return self.is_held_up or self._thawed_at_s >= since_s

    def kill(self) -> None:
        """SIGKILL."""
        if self.alive:
            self.network.note(f"{self.name} is killed")
            self.alive = False
            self.ended_s = min(self.ended_s, self.network.now_s)
            self.network.disconnect(self)

    def freeze(self, seconds: float) -> None:
        """The program is busy and reads nothing, while libzmq keeps its connections."""
        self.network.note(f"{self.name} is busy for {seconds:.3f}")
        self._busy_until_s = max(self._busy_until_s, self.network.now_s + seconds)
        self._hold_up(seconds)

    def suspend(self, seconds: float) -> None:
        """SIGSTOP, and SIGCONT so much later: its libzmq does nothing either."""
        if self.alive and not self.suspended:
            self.network.note(f"{self.name} is suspended for {seconds:.3f}")
            self.suspended = True
            self._hold_up(seconds)
            self.network.suspended(self)
            self.network.after(seconds, self._resume)

    def _resume(self) -> None:
        self.network.note(f"{self.name} goes on")
        self.suspended = False
        self._thaw()
        self.network.resumed(self)

    def _hold_up(self, seconds: float) -> None:
        self._backlog = [] if self._backlog is None else self._backlog
        self.network.after(seconds, self._thaw)

    def _thaw(self) -> None:
        if self.suspended or self.network.now_s < self._busy_until_s - 1e-9:
            return
        backlog, self._backlog = self._backlog or [], None
        self._thawed_at_s = self.network.now_s
        for callback in backlog:
            self._when_free(callback)

    # -- inputs ------------------------------------------------------------------------------------------------

    def do(self, callback: Callback) -> None:
        """Run an input, now or when the program gets to it."""
        self._when_free(lambda: self._input(callback))

    def _when_free(self, callback: Callback) -> None:
        if self._backlog is not None:
            self._backlog.append(callback)
        elif self.alive:
            callback()

    def _input(self, callback: Callback) -> None:
        callback()
        self._settle()
