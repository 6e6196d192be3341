"""Large clusters: N real ``Node`` cores in virtual time, for what convergence and gossip cost as N grows.

The network is plainer than that of network.py, because a thousand nodes exchange millions of messages: a connection
is a delay that stays the same, so that it keeps order; nothing is lost but what is on its way to a killed node.
Records and gossip are decoded once for all nodes, which is the one thing here that a real cluster doesn't do.
"""

from __future__ import annotations

import gc
import heapq
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, TypeAlias

from zmqagents.protocol import effects as e
from zmqagents.protocol import membership as membership_module
from zmqagents.protocol import node as node_module
from zmqagents.protocol import sync as sync_module
from zmqagents.protocol.ids import NodeId, PathId, make_node_id
from zmqagents.protocol.node import Node
from zmqagents.protocol.records import HostedType, Phase, Record

FIRST_DIAL_WAIT_S, LAST_DIAL_WAIT_S = 0.05, 1.0
LOSS_SEEN_AFTER_S = 0.002
SLOWEST_S = 0.004  # of one way, handshakes included: a LAN whose processes are not quite idle
LOOK_EVERY_S = 0.02  # how exactly times of convergence are measured
SEEDS = 3
BURST_S = 1.0  # within which all nodes start
CALM_S = 3.0  # from the end of one measurement to the next: pulls that were under way end
REST_S = 4.0
WITHIN_S = 60.0

Callback: TypeAlias = Callable[[], None]


@dataclass(frozen=True)
class ScaleReport:
    """What a cluster of ``nodes`` cost; times are virtual seconds, bytes are those that one node receives."""

    nodes: int
    seed: int
    start_s: float
    """From the start of the last node until all know all."""
    change_s: float
    """From the change of one record until all know it."""
    crash_s: float
    """From the crash of one node until all know of it."""
    start_bytes_per_s: float
    """From the first node's start until all know all."""
    start_bytes_most: int
    """Of the node that received most, which is a seed: in all, not in a second."""
    rest_bytes_per_s: float
    rest_bytes_per_s_most: float
    listened_to_mean: float
    listened_to_most: int
    listeners_most: int
    links_mean: float
    wall_s: float = field(compare=False)


class World:
    """The clock and the processes that listen."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.now_s = 1_000.0
        self.cells: dict[str, Cell] = {}
        """By name; only those alive."""
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
        """How long it took. AssertionError if it took longer than WITHIN_S."""
        begun_s = self.now_s
        while not condition():
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
                self._perform(effect)
            for path, parts in node.transmit(now_s):
                self._send(path, parts)
        if not self._active and node.is_synchronised():
            self._active = True
            node.publish_record(replace(node.record, phase=Phase.ACTIVE, types={"worker": HostedType("by_key", 1)}))
            self._settle()
        elif node.wake_s < self._armed_s:
            self._armed_s = node.wake_s
            self.world.after(max(0.0, self._armed_s - now_s), self._tick, self._armed_s)

    def _tick(self, at_s: float) -> None:
        if self.alive and at_s == self._armed_s:
            self._armed_s = float("inf")
            self.node.tick(max(self.world.now_s, at_s))
            self._settle()

    def _send(self, path: PathId, parts: list[bytes]) -> None:
        if isinstance(path, int):
            dial = self._paths.get(path)
            if dial is not None and dial.target is not None:
                self.world.after(dial.delay_s, dial.target.receive_accepted, dial, path, parts)
            else:
                self.node.contacts.send_failed(path)
            return
        accepted = self._accepted.get(path)
        if accepted is not None:
            dial, number = accepted
            self.world.after(dial.delay_s, dial.owner.receive, number, parts)
        else:
            self.node.contacts.send_failed(path)

    def receive_accepted(self, dial: _Dial, number: int, parts: list[bytes]) -> None:
        """A message came on a connection that another cell has made."""
        if self.alive and dial.target is self:
            source = dial.owner.node_id
            self._accepted[source] = (dial, number)
            self.receive(source, parts)

    def receive(self, path: PathId, parts: list[bytes]) -> None:
        """A message came on that path."""
        if self.alive and (isinstance(path, bytes) or path in self._paths):
            self.received_bytes += sum(map(len, parts))
            self.node.receive(path, parts, self.world.now_s)
            self._settle()

    def receive_gossip(self, dial: _Dial, parts: list[bytes], size: int) -> None:
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
            raise AssertionError(f"{self.name}: {effect.text}")

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
            contacts.gossip_up(endpoint)

        dial = self._gossip[endpoint] = _Dial(
            self,
            endpoint,
            up,
            lambda: contacts.gossip_down(endpoint, world.now_s),
            lambda: contacts.gossip_refused(endpoint, world.now_s),
        )


def _record(node_id: NodeId, name: str) -> Record:
    return Record(
        node_id=node_id,
        version=1,
        phase=Phase.JOINING,
        instance_id=name,
        cluster="default",
        endpoints=(f"data://{name}",),
        gossip_endpoints=(f"gossip://{name}",),
        protocol=(1, 1),
        types={},
        pinned=frozenset(),
        subscriptions={},
        readable={"Text": ("application/json", "application/x-msgpack")},
        load=0,
    )


@contextmanager
def _decoding_once() -> Iterator[None]:
    """Records and gossip that many nodes read are decoded once; and no garbage is sought, for there is little."""
    decode_record, decode_gossip = membership_module.decode_record, node_module.decode_gossip
    decode_parts = lru_cache(maxsize=8_192)(decode_gossip)
    collecting = gc.isenabled()
    gc.disable()
    membership_module.decode_record = sync_module.decode_record = lru_cache(maxsize=65_536)(decode_record)
    node_module.decode_gossip = lambda parts: decode_parts(tuple(parts))
    try:
        yield
    finally:
        membership_module.decode_record = sync_module.decode_record = decode_record
        node_module.decode_gossip = decode_gossip
        if collecting:
            gc.enable()


def run_scale(
    nodes: int, seed: int, *, everybody_sighted: bool = False, progress: Callable[[str], None] | None = None
) -> ScaleReport:
    """Start a cluster, change a record, kill a node; measure. AssertionError if the nodes don't come to agree.

    With ``everybody_sighted`` discovery shows everybody to everybody, as mDNS does; without it there are SEEDS seeds.
    """
    if nodes <= SEEDS:
        raise ValueError(f"more than {SEEDS} nodes are needed, got {nodes}")
    with _decoding_once():
        return _run(World(seed), nodes, seed, everybody_sighted, progress or (lambda _: None))


def _run(
    world: World, nodes: int, seed: int, everybody_sighted: bool, progress: Callable[[str], None]  # noqa: FBT001
) -> ScaleReport:
    wall_s = time.perf_counter()
    begun_s = world.now_s
    last_s = _start_all(world, nodes, everybody_sighted)
    world.run(last_s - world.now_s)
    progress(f"{nodes:,} nodes have started")
    start_s = world.run_until(lambda: len(world.cells) == nodes and world.converged(), "the start")
    start_bytes, started_s = world.received(), world.now_s - begun_s
    progress(f"all know all after {start_s:.2f} s")
    world.run(CALM_S)
    before = world.received()
    world.run(REST_S)
    rest = [(now - then) / REST_S for now, then in zip(world.received(), before, strict=True)]
    cells = list(world.cells.values())
    listened = [cell.listens_to for cell in cells]
    listeners = max(len(cell.listeners) for cell in cells)
    links = sum(len(cell.node.state.peers) for cell in cells) / nodes
    progress(f"at rest a node receives {sum(rest) / nodes:,.0f} bytes/s")
    change_s = _change_one(world)
    progress(f"all know of a change after {change_s:.2f} s")
    world.run(CALM_S)
    crash_s = _crash_one(world)
    progress(f"all know of a crash after {crash_s:.2f} s")
    return ScaleReport(
        nodes,
        seed,
        start_s,
        change_s,
        crash_s,
        sum(start_bytes) / nodes / started_s,
        max(start_bytes),
        sum(rest) / nodes,
        max(rest),
        sum(listened) / nodes,
        max(listened),
        listeners,
        links,
        time.perf_counter() - wall_s,
    )


def _start_all(world: World, nodes: int, everybody_sighted: bool) -> float:  # noqa: FBT001
    """Starts them in the course of BURST_S; returns when the last one will."""
    names = [f"node{number}" for number in range(nodes)]
    seeds = names[:SEEDS]

    def start(name: str) -> None:
        others = list(world.cells.values())
        cell = Cell(world, name)
        cell.join([] if everybody_sighted else [seed for seed in seeds if seed != name])
        if everybody_sighted:
            for other in others:
                world.after(world.delay_s(), cell.sight, other)
                world.after(world.delay_s(), other.sight, cell)

    starts_s = [0.0] * SEEDS + sorted(world.random.uniform(0.01, BURST_S) for _ in names[SEEDS:])
    for name, at_s in zip(names, starts_s, strict=True):
        world.after(at_s, start, name)
    return world.now_s + starts_s[-1]


def _change_one(world: World) -> float:
    """One node publishes a change of its record."""
    cell = world.random.choice(list(world.cells.values()))
    node = cell.node
    cell.do(lambda: node.publish_record(replace(node.record, load=1)))
    return world.run_until(world.converged, "a change")


def _crash_one(world: World) -> float:
    """One node that is no seed is killed."""
    world.random.choice(list(world.cells.values())[SEEDS:]).kill()
    return world.run_until(world.converged, "a crash")


def print_report(report: ScaleReport, write: Callable[[str], None] = print) -> None:
    """Show it to a person."""
    write(f"{report.nodes:,} nodes, seed {report.seed}: {report.wall_s:.1f} s of this machine's time")
    write(f"  start         all know all {report.start_s:.2f} s after the last of them started (all within {BURST_S:g} s)")
    write(f"  change        of one record is known to all after {report.change_s:.2f} s")
    write(f"  crash         of one node is known to all after {report.crash_s:.2f} s")
    write(
        f"  overlay       a node listens to {report.listened_to_mean:.1f} others (at most {report.listened_to_most}; "
        f"at most {report.listeners_most} listen to it) and has {report.links_mean:.1f} links"
    )
    write(
        f"  gossip, sync  at rest {report.rest_bytes_per_s:,.0f} bytes/s a node (at most "
        f"{report.rest_bytes_per_s_most:,.0f}); during the start {report.start_bytes_per_s:,.0f} bytes/s a node, "
        f"at most {report.start_bytes_most:,} bytes in all"
    )
