"""A network and shells plain enough for a thousand nodes, which exchange millions of messages.

A connection is a delay that stays the same, so that it keeps order. Nothing is lost but what is on its way to a killed
node. What the promises under faults are is the subject of the other modules here; this one is for what large clusters
cost.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias

from zmqagents.protocol import effects as e
from zmqagents.protocol.frames import Part
from zmqagents.protocol.ids import NodeId, PathId, make_node_id
from zmqagents.protocol.node import Node
from zmqagents.protocol.records import Phase, Record

FIRST_DIAL_WAIT_S, LAST_DIAL_WAIT_S = 0.05, 1.0
LOSS_SEEN_AFTER_S = 0.002
SLOWEST_S = 0.004  # of one way: a LAN whose processes are not quite idle
LOOK_EVERY_S = 0.02  # how exactly times of convergence are measured
WITHIN_S = 60.0

Callback: TypeAlias = Callable[[], None]


class World:
    """The clock and the processes that listen."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_s = 1_000.0
        self.cells: dict[str, Cell] = {}
        """By name; only those alive."""
        self.strays: list[str] = []
        """What came that was illegal: there is nothing in a run that could cause it."""
        self._events: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._order = 0

    def after(self, delay_s: float, callback: Callable[..., None], *arguments: Any) -> None:
        """Call it so much later."""
        self._order += 1
        heapq.heappush(self._events, (self.now_s + delay_s, self._order, callback, arguments))

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        end_s = self.now_s + seconds
        events = self._events
        while events and events[0][0] <= end_s:
            self.now_s, _, callback, arguments = heapq.heappop(events)
            callback(*arguments)
        self.now_s = end_s

    def run_until(self, condition: Callable[[], bool], what: str) -> float:
        """How long it took. AssertionError if it took longer than WITHIN_S, or something illegal came."""
        begun_s = self.now_s
        while not condition():
            if self.strays:
                raise AssertionError(f"{what}: {self.strays[0]}")
            if self.now_s - begun_s > WITHIN_S:
                raise AssertionError(f"{what}: not within {WITHIN_S:g} s")
            self.run(LOOK_EVERY_S)
        return self.now_s - begun_s

    def delay_s(self) -> float:
        """Of a new connection."""
        return self.random.uniform(0.0002, SLOWEST_S)

    # -- what the nodes agree on -------------------------------------------------------------------------------

    def converged(self) -> bool:
        """Whether all tables are equal and name those alive."""
        count = len(self.cells)
        digests = set()
        for cell in self.cells.values():
            membership = cell.node.membership
            if membership.live_count != count:
                return False
            digests.add(membership.digest)
            if len(digests) > 1:
                return False
        return True

    def received(self) -> list[int]:
        """The bytes that each node has received."""
        return [cell.received_bytes for cell in self.cells.values()]


class _Dial:
    """An endpoint being dialled by a cell until it is closed."""

    def __init__(self, owner: Cell, endpoint: str, up: Callback, down: Callback, refused: Callback) -> None:
        self.owner, self.endpoint = owner, endpoint
        self.target: Cell | None = None
        """Who is connected; None while nobody is."""
        self.closed = False
        self.delay_s = owner.world.delay_s()
        self._up, self._down, self._refused = up, down, refused
        self._wait_s = FIRST_DIAL_WAIT_S
        owner.world.after(2 * self.delay_s, self._attempt)

    def _attempt(self) -> None:
        owner = self.owner
        if self.closed or not owner.alive:
            return
        target = owner.world.cells.get(self.endpoint.partition("://")[2])
        if target is None:
            owner.world.after(self._wait_s, self._attempt)
            self._wait_s = min(2 * self._wait_s, LAST_DIAL_WAIT_S)
            owner.do(self._refused)
            return
        self.target = target
        self._wait_s = FIRST_DIAL_WAIT_S
        target.dialled_by[self] = None
        owner.do(self._up)

    def lost(self) -> None:
        """The process at the other end is gone."""
        self.target = None
        self.owner.world.after(LOSS_SEEN_AFTER_S, self._tell_loss)
        self.owner.world.after(FIRST_DIAL_WAIT_S, self._attempt)

    def _tell_loss(self) -> None:
        if not self.closed:
            self.owner.do(self._down)

    def close(self) -> None:
        self.closed = True
        if self.target is not None:
            self.target.dialled_by.pop(self, None)
            self.target.forget(self)


class Cell:
    """One node and its shell, which does at once what the node asks for."""

    def __init__(self, world: World, name: str) -> None:
        self.world, self.name, self.alive = world, name, True
        self.node_id = make_node_id(world.random.randbytes(16))
        self.received_bytes = 0
        self.dialled_by: dict[_Dial, None] = {}
        self.listeners: dict[_Dial, None] = {}
        self._paths: dict[int, _Dial] = {}
        self._gossip: dict[str, _Dial] = {}
        self._accepted: dict[NodeId, tuple[_Dial, int]] = {}
        self._armed_s = float("inf")
        self._active = False
        self.node = Node(_record(self.node_id, name), now_s=world.now_s)
        world.cells[name] = self

    def join(self, seeds: list[str]) -> None:
        """Start, with these seeds."""
        for seed in seeds:
            self.node.contacts.sighted((f"data://{seed}",), None, self.world.now_s)
        self._settle()

    def sight(self, other: Cell) -> None:
        """Discovery shows the other."""
        if self.alive and other.alive:
            self.node.contacts.sighted(other.node.record.endpoints, other.node_id, self.world.now_s)
            self._settle()

    def kill(self) -> None:
        """SIGKILL."""
        self.alive = False
        del self.world.cells[self.name]
        for dial in (*self._paths.values(), *self._gossip.values()):
            dial.close()
        for dial in self.dialled_by:
            dial.lost()

    @property
    def listens_to(self) -> int:
        """How many gossip connections it has made."""
        return len(self._gossip)

    @property
    def dials(self) -> int:
        """How many data connections it has made or is making."""
        return len(self._paths)

    # -- the shell ---------------------------------------------------------------------------------------------

    def do(self, callback: Callback) -> None:
        """Give the node an input."""
        if self.alive:
            callback()
            self._settle()

    def _settle(self) -> None:
        node = self.node
        now_s = self.world.now_s
        while node.state.effects or node.state.dirty or node.state.direct:
            for effect in node.take_effects():
                if type(effect) is not e.MemberChanged:
                    self._perform(effect)
            for path, parts in node.transmit(now_s):
                self._send(path, parts)
        if not self._active and node.is_synchronised():
            self._active = True
            node.publish_record(replace(node.record, phase=Phase.ACTIVE))
            self._settle()
        elif node.wake_s < self._armed_s:
            self._armed_s = node.wake_s
            self.world.after(max(0.0, self._armed_s - now_s), self._tick, self._armed_s)

    def _tick(self, at_s: float) -> None:
        if self.alive and at_s == self._armed_s:
            self._armed_s = float("inf")
            self.node.tick(max(self.world.now_s, at_s))
            self._settle()

    def _send(self, path: PathId, parts: list[Part]) -> None:
        if isinstance(path, int):
            dial = self._paths.get(path)
            if dial is not None and dial.target is not None:
                self.world.after(dial.delay_s, dial.target.receive_accepted, dial, path, parts)
            else:
                self.node.contacts.send_failed(path, self.world.now_s)
            return
        accepted = self._accepted.get(path)
        if accepted is not None:
            dial, number = accepted
            self.world.after(dial.delay_s, dial.owner.receive, number, parts)
        else:
            self.node.contacts.send_failed(path, self.world.now_s)

    def receive_accepted(self, dial: _Dial, number: int, parts: list[Part]) -> None:
        """A message came on a connection that another cell has made."""
        if self.alive and dial.target is self:
            source = dial.owner.node_id
            self._accepted[source] = (dial, number)
            self.receive(source, parts)

    def receive(self, path: PathId, parts: list[Part]) -> None:
        """A message came on that path."""
        if self.alive and (isinstance(path, bytes) or path in self._paths):
            self.received_bytes += sum(map(len, parts))
            self.node.receive(path, parts, self.world.now_s)
            self._settle()

    def receive_gossip(self, dial: _Dial, parts: list[Part], size: int) -> None:
        """Gossip came on a connection that this cell has made."""
        if self.alive and not dial.closed:
            self.received_bytes += size
            self.node.receive_gossip(parts, self.world.now_s)
            self._settle()

    def forget(self, dial: _Dial) -> None:
        """The one who made the connection has closed it."""
        self.listeners.pop(dial, None)
        accepted = self._accepted.get(dial.owner.node_id)
        if accepted is not None and accepted[0] is dial:
            del self._accepted[dial.owner.node_id]

    # -- effects -----------------------------------------------------------------------------------------------

    def _perform(self, effect: e.Effect) -> None:
        if isinstance(effect, e.Publish):
            size = sum(map(len, effect.parts))
            for dial in self.listeners:
                self.world.after(dial.delay_s, dial.owner.receive_gossip, dial, effect.parts, size)
        elif isinstance(effect, e.OpenPath):
            self._open(effect.path, effect.endpoint)
        elif isinstance(effect, e.ClosePath):
            self._paths.pop(effect.path).close()
        elif isinstance(effect, e.Subscribe):
            self._listen(effect.endpoint)
        elif isinstance(effect, e.Unsubscribe):
            self._gossip.pop(effect.endpoint).close()
        elif isinstance(effect, e.Strayed):
            self.world.strays.append(f"{self.name}: {effect.text}")

    def _open(self, path: int, endpoint: str) -> None:
        contacts, world = self.node.contacts, self.world
        self._paths[path] = _Dial(
            self,
            endpoint,
            lambda: contacts.path_up(path, world.now_s),
            lambda: contacts.path_down(path, world.now_s),
            lambda: contacts.path_refused(path, world.now_s),
        )

    def _listen(self, endpoint: str) -> None:
        contacts, world = self.node.contacts, self.world

        def up() -> None:
            if dial.target is not None:
                dial.target.listeners[dial] = None
            contacts.gossip_up(endpoint, self.world.now_s)

        dial = self._gossip[endpoint] = _Dial(
            self,
            endpoint,
            up,
            lambda: contacts.gossip_down(endpoint, world.now_s),
            lambda: contacts.gossip_refused(endpoint, world.now_s),
        )


def _record(node_id: NodeId, name: str) -> Record:
    """It hosts nothing and has no instance id: what the directory and the labels cost is another subject."""
    return Record(
        node_id=node_id,
        version=1,
        phase=Phase.JOINING,
        instance_id="",
        cluster="default",
        endpoints=(f"data://{name}",),
        gossip_endpoints=(f"gossip://{name}",),
        protocol=(1, 1),
        types={},
        pinned=frozenset(),
        subscriptions={},
        readable={f"Message{number}": ("application/json", "application/x-msgpack") for number in range(2)},
        load=0,
    )
