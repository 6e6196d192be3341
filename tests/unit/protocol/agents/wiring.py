"""Several real nodes, wired to each other without sockets: what one sends waits until a test delivers it.

Each site has a small application: agents that note which messages they have handled, and callers that follow their
agents as the runtime's do.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NamedTuple

from tests.unit.protocol.builders import event, make_record, node_id, request
from zmqagents.errors import RemoteProtocolError, WireCode
from zmqagents.protocol import effects as e
from zmqagents.protocol import frames as f
from zmqagents.protocol.agents.arrivals import HOLD
from zmqagents.protocol.agents.locations import Itinerary
from zmqagents.protocol.agents.residents import Stay
from zmqagents.protocol.codec import decode_envelope
from zmqagents.protocol.ids import AgentKey, NodeId
from zmqagents.protocol.node import Node
from zmqagents.protocol.placement import rendezvous_home
from zmqagents.protocol.records import HostedType, Phase
from zmqagents.protocol.state import NodeLimits

STEP_S = 0.05
QUIET = NodeLimits(heartbeat_s=1e9)
"""No heartbeats: what the tests are about comes of messages and records."""


class Running(NamedTuple):
    """A handler that has not ended; ``caller`` is None for a call made on the same site."""

    key: AgentKey
    peer: NodeId
    number: int
    frame: f.Request | f.Event | f.Agent | None
    call: Call | None


class Call:
    """A call on its way, with its outcome once it has one."""

    def __init__(self, site: Site, key: AgentKey, text: str, deadline_s: float | None) -> None:
        self.site = site
        self.key = key
        self.text = text
        self.deadline_s = deadline_s
        self.outcomes: list[str] = []
        self.asked: list[NodeId] = []
        """The nodes that it was sent to, in order."""
        self._way = Itinerary(site.node.agency.locations, key)
        self.waits = False
        """Whether it looks again as soon as anything has come to its site."""
        self.pauses = False
        """Whether it looks again in a moment."""
        self.sent_as = 0

    def go(self) -> None:
        """Ask the agent's node, or wait."""
        self.waits = self.pauses = False
        node = self.site.node
        target = self._way.target()
        if target is None:
            self.waits = True
        elif target == node.node_id:
            self._enter()
        else:
            self.asked.append(target)
            now_s = self.site.wiring.now_s
            left_ms = None if self.deadline_s is None else max(int((self.deadline_s - now_s) * 1_000), 0)
            frame = request(node.pending.next_id(), self.key, left_ms, self.text)
            self.sent_as = frame.call_id
            if not node.call(target, frame, self, self.deadline_s, now_s):
                self._way.moved(target, None)
                self.pauses = True

    def _enter(self) -> None:
        node = self.site.node
        place = node.agency.arrivals.enter(self.key, self.site.wiring.now_s)
        if place == node.node_id:
            self.site.begin(Running(self.key, node.node_id, 0, None, self), self.text)
        elif place is None:
            self._way.locations.forget(self.key)
            self.pauses = True
        elif place is HOLD:
            self.waits = True
        else:
            self.go()

    def ended(self, peer: NodeId, outcome: f.Reply | f.Error | e.Fate) -> None:
        """It was answered, or lost."""
        if isinstance(outcome, f.Reply):
            self.outcomes.append(bytes(outcome.payload).decode())
        elif isinstance(outcome, f.Error) and outcome.code == f.ErrorCode.MOVED:
            to: NodeId | None = outcome.payload
            if to is not None and to != self.site.node.node_id and self.site.node.membership.get(to) is None:
                to = None
            self.pauses = not self._way.moved(peer, to)
            if not self.pauses:
                self.go()
        elif outcome is e.Fate.UNDELIVERABLE or (
            isinstance(outcome, f.Error) and outcome.code == f.ErrorCode.UNDELIVERABLE
        ):
            self._way.moved(peer, None)
            self.pauses = True
        else:
            code = f.ErrorCode(outcome.code) if isinstance(outcome, f.Error) else outcome
            self.outcomes.append(code.name)


@dataclass
class Agent:
    """An agent: what it has handled, here and where it was before."""

    seen: list[str]


class Site:
    """One node with its application."""

    def __init__(
        self,
        wiring: Wiring,
        name: int | str,
        types: Iterable[str] | Mapping[str, int],
        *,
        phase: Phase,
        policy: str,
        pinned: Iterable[str],
        limits: NodeLimits,
    ) -> None:
        record = make_record(name, phase=phase, types=types, pinned=pinned)
        hosted = {agent_type: HostedType(policy, old.weight) for agent_type, old in record.types.items()}
        self.wiring = wiring
        self.name = name
        self.node = Node(replace(record, types=hosted), limits, now_s=wiring.now_s)
        self.node_id = self.node.node_id
        self.agents: dict[AgentKey, Agent] = {}
        self.running: list[Running] = []
        self.slow: set[AgentKey] = set()
        """Agents whose handlers end only when the test says so."""
        self.stuck_packing: set[AgentKey] = set()
        """Agents whose state is not saved before the test says so."""
        self.stateless: set[AgentKey] = set()
        self.refusing: set[AgentKey] = set()
        """Agents whose state can't be loaded here."""
        self.handled: list[tuple[AgentKey, str]] = []
        self.dead: list[tuple[str, str]] = []
        """Message ids and reasons of events that did not reach somebody."""
        self.evicted: list[e.Evicted] = []
        self.cancelled: list[int] = []
        self.packing: list[AgentKey] = []
        self.calls: list[Call] = []

    # -- what a test asks of it ----------------------------------------------------------------------------------

    def call(self, key: AgentKey, text: str = "", timeout_s: float | None = None) -> Call:
        """Call an agent, wherever it is."""
        call = Call(self, key, text, None if timeout_s is None else self.wiring.now_s + timeout_s)
        self.calls.append(call)
        call.go()
        self.work()
        return call

    def cancel(self, call: Call) -> None:
        """Give up a call that was sent."""
        self.node.cancel(call.sent_as)
        self.work()

    def publish(self, text: str, *keys: AgentKey) -> None:
        """Send an event to these agents."""
        for key in keys:
            here = self.node.agency.locations.target(key) == self.node_id
            if here and self.node.agency.arrivals.enter_event(key, self.wiring.now_s):
                frame = event(text, [key], text)
                self.begin(Running(key, self.node_id, 0, frame, None), text)
            else:
                self.node.deliver(event(text, [key], text), self.wiring.now_s)
            self.work()

    def publish_together(self, text: str, *keys: AgentKey) -> None:
        """Send one event to all these agents, by way of the node."""
        self.node.deliver(event(text, keys, text), self.wiring.now_s)
        self.work()

    def finish(self, key: AgentKey, count: int = 1) -> None:
        """So many handlers of an agent end, the first ones first."""
        for running in [one for one in self.running if one.key == key][:count]:
            self.running.remove(running)
            self._end(running)
        self.work()

    def become(self, phase: Phase) -> None:
        """Publish another phase."""
        self.node.publish_record(replace(self.node.record, phase=phase))
        self.work()

    def host(self, *types: str) -> None:
        """Publish that just these types are hosted, each with weight 1."""
        self.node.publish_record(replace(self.node.record, types={name: HostedType("by_key", 1) for name in types}))
        self.work()

    def stay(self, key: AgentKey) -> Stay | None:
        """Where the agent stands here."""
        resident = self.node.agency.residents.get(key)
        return None if resident is None else resident.stay

    def seen(self, key: AgentKey) -> list[str]:
        """What the agent here has handled in all its stays."""
        return self.agents[key].seen

    def pack(self, key: AgentKey) -> None:
        """Save the state of an agent that waits for that."""
        self.packing.remove(key)
        agent = self.agents.get(key)
        state = None if agent is None or key in self.stateless else json.dumps(agent.seen).encode()
        self.node.packed(key, state)
        self.work()

    # -- the application -----------------------------------------------------------------------------------------

    def begin(self, running: Running, text: str) -> None:
        """Start a handler; it ends at once unless the agent is slow."""
        self.agents.setdefault(running.key, Agent([])).seen.append(text)
        self.handled.append((running.key, text))
        self.wiring.log.append((self.name, running.key, text))
        if running.key in self.slow:
            self.running.append(running)
        else:
            self._end(running)

    def _end(self, running: Running) -> None:
        if running.call is not None:
            self.node.agency.arrivals.left(running.key)
            running.call.outcomes.append(f"{self.name}:{running.call.text}")
        elif isinstance(running.frame, f.Event):
            self.node.event_done(running.peer, running.number, [running.key])
        elif running.frame is not None:
            text = f"{self.name}:{bytes(running.frame.payload).decode()}"
            self.node.answer(running.peer, f.Reply(running.frame.call_id, "Text", "text", text.encode()))

    def _incoming(self, peer: NodeId, number: int, frame: f.Request | f.Event | f.Agent | f.Cancel) -> None:
        if isinstance(frame, f.Cancel):
            self.cancelled.append(frame.call_id)
        elif isinstance(frame, f.Event):
            for key in frame.recipients:
                self.begin(Running(key, peer, number, frame, None), bytes(frame.payload).decode())
        elif isinstance(frame, f.Agent) and frame.operation == f.Operation.ADOPT:
            self._adopt(peer, frame)
        elif frame.timeout_ms == 0:
            self.node.answer(peer, f.Error(frame.call_id, f.ErrorCode.DEADLINE, "", "", b""))
        else:
            self.begin(Running(frame.agent, peer, number, frame, None), bytes(frame.payload).decode())

    def _adopt(self, peer: NodeId, frame: f.Agent) -> None:
        self.agents.pop(frame.agent, None)
        if frame.agent in self.refusing:
            self.node.answer(peer, f.Error(frame.call_id, f.ErrorCode.RAISED, "ValueError", "no such state", b""))
            return
        self.agents[frame.agent] = Agent(json.loads(frame.payload))
        self.node.answer(peer, f.Reply(frame.call_id, "", "", b""))

    def work(self) -> None:
        """Do what the node asks for, and hand what it sends to the wires."""
        while self.node.state.effects:
            for effect in self.node.take_effects():
                self._perform(effect)
        for path, parts in self.node.transmit(self.wiring.now_s):
            self.wiring.put(self.node_id, path, parts)
        if self.node.state.effects:
            self.work()

    def _perform(self, effect: e.Effect) -> None:
        if isinstance(effect, e.Incoming):
            self._incoming(effect.peer, effect.number, effect.frame)
        elif isinstance(effect, e.CallEnded):
            effect.token.ended(effect.peer, effect.outcome)
        elif isinstance(effect, e.EventDead):
            self.dead.append((effect.event.message_id, effect.reason))
        elif isinstance(effect, e.Pack):
            self.packing.append(effect.agent)
            if effect.agent not in self.stuck_packing:
                self.pack(effect.agent)
        elif isinstance(effect, e.Evicted):
            self.agents.pop(effect.agent, None)
            self.evicted.append(effect)
        elif isinstance(effect, e.Publish):
            self.wiring.gossip(self.node_id, effect.parts)

    def look_again(self, *, paused: bool = False) -> None:
        """Let the calls go on that wait for a change; with ``paused``, also those that wait for a moment to pass."""
        for call in self.calls:
            if (call.waits or (paused and call.pauses)) and not call.outcomes:
                call.go()
        self.work()


Wire = tuple[NodeId, NodeId]


class Wiring:
    """All sites, and what is on the way between each two of them, in order."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.sites: dict[NodeId, Site] = {}
        self.wires: dict[Wire, deque[list[f.Part]]] = {}
        self.news: dict[Wire, deque[list[f.Part]]] = {}
        """Gossip, which goes its own way."""
        self.held: set[frozenset[NodeId]] = set()
        """Pairs between which nothing arrives now."""
        self.sent: Counter[str] = Counter()
        """How many frames of each name were sent."""
        self.log: list[tuple[int | str, AgentKey, str]] = []
        """What was handled: by which site, for which agent."""

    def add(
        self,
        name: int | str,
        types: Iterable[str] | Mapping[str, int] = (),
        *,
        phase: Phase = Phase.ACTIVE,
        policy: str = "by_key",
        pinned: Iterable[str] = (),
        limits: NodeLimits = QUIET,
    ) -> Site:
        """A new site that knows nobody."""
        site = Site(self, name, types, phase=phase, policy=policy, pinned=pinned, limits=limits)
        self.sites[site.node_id] = site
        return site

    def join(self, name: int | str, types: Iterable[str] | Mapping[str, int] = (), **settings: Any) -> Site:
        """A new site that has met all others."""
        site = self.add(name, types, **settings)
        for other in self.sites.values():
            if other is not site:
                self.connect(site, other)
        self.settle()
        return site

    def connect(self, one: Site, other: Site) -> None:
        """Let two sites greet each other."""
        self.held.discard(frozenset((one.node_id, other.node_id)))
        for here, there in ((one, other), (other, one)):
            peer = here.node.state.peer(there.node_id)
            peer.accepted = True
            peer.heard_s = self.now_s
        one.node._greeter.greet(one.node.state.peer(other.node_id), other.node_id, self.now_s)
        one.work()

    # -- the wires -----------------------------------------------------------------------------------------------

    def put(self, source: NodeId, path: Any, parts: list[f.Part]) -> None:
        """A node has sent an envelope."""
        if path in self.sites and source in self.sites:
            self.sent.update(type(frame).__name__ for frame in decode_envelope(parts).frames)
            self.wires.setdefault((source, path), deque()).append(parts)

    def gossip(self, source: NodeId, parts: Sequence[f.Part]) -> None:
        """A node has published gossip."""
        for other in self.sites:
            if other != source and source in self.sites:
                self.news.setdefault((source, other), deque()).append([*parts])

    def ready(self, lanes: dict[Wire, deque[list[f.Part]]]) -> list[Wire]:
        """Between whom something can be delivered."""
        return [wire for wire, queue in lanes.items() if queue and frozenset(wire) not in self.held]

    def deliver(self, wire: Wire) -> None:
        """The next envelope between these two arrives."""
        source, destination = wire
        site = self.sites[destination]
        site.node.receive(source, self.wires[wire].popleft(), self.now_s)
        site.work()
        site.look_again()

    def deliver_news(self, wire: Wire) -> None:
        """The next gossip between these two arrives."""
        site = self.sites[wire[1]]
        site.node.receive_gossip(self.news[wire].popleft(), self.now_s)
        site.work()
        site.look_again()

    def settle(self, until: Callable[[], bool] = lambda: False) -> None:
        """Deliver everything, news first, until nothing is on the way."""
        for _ in range(100_000):
            for site in self.sites.values():
                site.work()
            news, wires = self.ready(self.news), self.ready(self.wires)
            if until() or not (news or wires):
                return
            if news:
                self.deliver_news(news[0])
            else:
                self.deliver(wires[0])
        raise AssertionError("the nodes never come to rest")

    def pass_time(self, seconds: float) -> None:
        """Time passes in small steps, and everything that is sent arrives."""
        until_s = self.now_s + seconds
        while self.now_s < until_s - 1e-9:
            self.now_s += STEP_S
            for site in list(self.sites.values()):
                site.node.tick(self.now_s)
                site.work()
                site.look_again(paused=True)
            self.settle()

    # -- faults --------------------------------------------------------------------------------------------------

    def hold(self, one: Site, other: Site) -> None:
        """Nothing arrives between the two until ``release``."""
        self.held.add(frozenset((one.node_id, other.node_id)))

    def release(self, one: Site, other: Site) -> None:
        """What waits between the two can arrive again."""
        self.held.discard(frozenset((one.node_id, other.node_id)))

    def reset(self, one: Site, other: Site) -> None:
        """``one`` ends the link with ``other``, as after an illegal message; they greet again a little later."""
        error = RemoteProtocolError(WireCode.BAD_FIELD, "a test's doing")
        one.node._close_link(one.node.state.peer(other.node_id), error, self.now_s)
        one.work()

    def bury(self, one: Site, other: Site) -> None:
        """``one`` holds ``other`` for dead."""
        self._forget_wires(one.node_id, other.node_id)
        peer = one.node.state.peers.get(other.node_id)
        if peer is not None:
            peer.accepted = False
        one.node._bury(other.node_id, self.now_s)
        one.work()

    def kill(self, site: Site) -> None:
        """The site's process dies; whoever is to know it is told with ``bury``."""
        del self.sites[site.node_id]
        for lanes in (self.wires, self.news):
            for wire in [wire for wire in lanes if site.node_id in wire]:
                del lanes[wire]

    def die(self, site: Site) -> None:
        """The site's process dies, and everybody knows."""
        self.kill(site)
        for other in self.sites.values():
            self.bury(other, site)
        self.settle()

    def split(self, one: Site, other: Site) -> None:
        """The two hold each other for dead."""
        self.hold(one, other)
        self.bury(one, other)
        self.bury(other, one)

    def _forget_wires(self, one: NodeId, other: NodeId) -> None:
        for lanes in (self.wires, self.news):
            for wire in ((one, other), (other, one)):
                lanes.pop(wire, None)


# -- agents by their homes -------------------------------------------------------------------------------------------


def keys_at(home: Site, count: int = 1, agent_type: str = "worker") -> list[AgentKey]:
    """Agents whose home ``home`` takes itself to be."""
    found = (f"{agent_type}/{number}" for number in range(10_000))
    keys = list(islice((key for key in found if home.node.directory.home(key) == home.node_id), count))
    assert len(keys) == count
    return keys


def key_that_goes(before: Site, after: NodeId, agent_type: str = "worker", weight: int = 1) -> AgentKey:
    """An agent that has its home at ``before`` now, and at ``after`` once that hosts its type too."""
    hosts = {host: entry.weight for host, entry in before.node.directory.hosts(agent_type).items()}
    for number in range(10_000):
        key = f"{agent_type}/{number}"
        if (
            before.node.directory.home(key) == before.node_id
            and rendezvous_home(key, {**hosts, after: weight}.items()) == after
        ):
            return key
    raise AssertionError("no such agent")


def active_at(wiring: Wiring, key: AgentKey) -> list[int | str]:
    """The names of the sites where the agent is; from one that has sent its state off it has gone."""
    sites = [(site.name, site.node.agency.residents.get(key)) for site in wiring.sites.values()]
    return [name for name, one in sites if one is not None and one.stay is not Stay.AWAITED and one.bound_for is None]


__all__ = ["Agent", "Call", "Running", "Site", "Wiring", "active_at", "key_that_goes", "keys_at", "node_id"]
