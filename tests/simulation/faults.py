"""The faults that a run may have, and the hand that deals them out."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum
from itertools import product
from typing import TYPE_CHECKING

from tests.simulation.clocks import MAX_DRIFT, Clock
from tests.simulation.forwarders import restarted

if TYPE_CHECKING:
    from tests.simulation.process import Process
    from tests.simulation.world import World


class Fault(str, Enum):
    """What can go wrong; the values are the names on the command line."""

    DELAY = "delay"  # slow connections, each with a delay of its own
    GOSSIP_LOSS = "gossip-loss"
    LOSS = "loss"  # of envelopes, as a forwarder may lose them
    DUPLICATION = "dup"
    REORDERING = "reorder"
    BLIP = "blip"
    CUT = "cut"
    ONE_WAY = "one-way"  # a cut in one direction
    SPLIT = "split"  # cuts between all of one side and all of the other
    WALL = "wall"  # connections are refused though both ends live
    CRASH = "crash"  # SIGKILL; the port stays empty for a while
    RESTART = "restart"  # SIGKILL, and a new life at the same port at once
    LEAVE = "leave"
    PAUSE = "pause"  # SIGSTOP and SIGCONT
    BUSY = "busy"  # the program blocks, its sockets live
    SKEW = "skew"  # clocks differ, and drift by up to 1 %
    ACCUSE = "accuse"  # somebody takes somebody for dead, for no reason
    FORWARDER = "forwarder"  # many can reach each other by two forwarders alone, of which one may be away


ALL = frozenset(Fault) - {Fault.FORWARDER}
GENTLE = frozenset(
    {
        Fault.DELAY,
        Fault.GOSSIP_LOSS,
        Fault.LOSS,
        Fault.DUPLICATION,
        Fault.REORDERING,
        Fault.BLIP,
        Fault.BUSY,
        Fault.SKEW,
    }
)
"""Those under which no call and no event may fail, and no agent may lose its state."""

MOVES = GENTLE - {Fault.LOSS, Fault.BLIP} | {Fault.LEAVE}
"""The same, with processes that leave and come back. (The last words of one that leaves must not be lost.)"""

LIVES = GENTLE | {Fault.LEAVE, Fault.CRASH, Fault.RESTART}
"""Those under which nobody may take a process for dead that lives."""

PROFILES = {
    "all": ALL,
    "gentle": GENTLE,
    "moves": MOVES,
    "lives": LIVES,
    "relayed": GENTLE | {Fault.FORWARDER},
    "relayed-lives": LIVES | {Fault.FORWARDER},
    "relayed-all": frozenset(Fault),
    "none": frozenset[Fault](),
}
"""Sets of faults that have a name."""


def name_of(kinds: frozenset[Fault]) -> str:
    """What these are called on the command line."""
    for name, profile in PROFILES.items():
        if kinds == profile:
            return name
    return ",".join(kind.value for kind in Fault if kind in kinds)


def faults_named(text: str) -> frozenset[Fault]:
    """What a command line means. ValueError if there is no such fault."""
    kinds: frozenset[Fault] = frozenset()
    for name in text.split(","):
        kinds |= PROFILES[name] if name in PROFILES else {Fault(name)}
    return kinds


FAULTS_EACH_S = 2.5  # what begins in a second of virtual time
LASTING = {
    Fault.CUT: (0.2, 9.0),
    Fault.ONE_WAY: (0.2, 9.0),
    Fault.SPLIT: (0.2, 9.0),
    Fault.WALL: (0.2, 4.0),
    Fault.PAUSE: (0.1, 9.0),
    Fault.BUSY: (0.1, 4.0),
    Fault.CRASH: (0.3, 4.0),
    Fault.FORWARDER: (0.0, 4.0),
}
"""How long they last, in seconds: on both sides of the 1.5 s of ZMTP, and of the 5 s after which silence is death."""

SHARES = {Fault.LOSS: 0.2, Fault.DUPLICATION: 0.3, Fault.REORDERING: 0.3}
"""The worst share of envelopes that chance touches, for up to ROUGH_S."""
ROUGH_S = 2.5
RETURNS_AFTER_S = 0.5  # at least, after a process has left
HINDRANCES = 4  # cuts and walls at a time, so that something is left of the cluster
SLOWEST_S = 0.15


class Faults:
    """Causes the faults that are switched on; ``begun`` counts them."""

    def __init__(self, world: World, kinds: Iterable[Fault]) -> None:
        self._world = world
        self._network = world.network
        self._random = world.network.random
        self._kinds = frozenset(kinds)
        self._hindrances = 0
        self.over_at_s = 0.0
        """When the last of them has ended, if no more begin."""
        self._sudden = [kind for kind in Fault if kind in self._kinds and kind in _DO]
        self._set_stage()

    def _set_stage(self) -> None:
        if Fault.DELAY in self._kinds and self._random.random() < 0.5:
            self._network.slowest_s = self._network.base_s = SLOWEST_S / 2
            self._count(Fault.DELAY)
        if Fault.GOSSIP_LOSS in self._kinds:
            self._network.gossip_loss = self._random.choice((0.02, 0.1, 0.4))

    def _count(self, kind: Fault) -> None:
        self._network.caused[kind.value] += 1

    def clock(self, wall_offset_s: float) -> Clock:
        """The clock of a new process on a machine whose wall clock is so far off."""
        if Fault.SKEW not in self._kinds:
            return Clock()
        self._count(Fault.SKEW)
        rate = 1 + self._random.uniform(-MAX_DRIFT, MAX_DRIFT)
        return Clock(self._random.uniform(0, 10_000), rate, wall_offset_s)

    def step(self, seconds: float) -> None:
        """Perhaps begin a fault, when so much time passes until the next step."""
        if self._sudden and self._random.random() < seconds * FAULTS_EACH_S:
            kind = self._random.choice(self._sudden)
            if _DO[kind](self, kind):
                self._count(kind)

    def end(self) -> None:
        """Nothing more goes wrong; what was broken is whole again, and every port has its process."""
        self._network.note("faults end")
        self._network.calm()
        for place, process in self._world.at_place.items():
            if not process.alive:
                self._world.start(place)
        for place in self._world.forwarders:
            self._replace(place)

    def _lasts(self, kind: Fault) -> float:
        seconds = self._random.uniform(*LASTING[kind]) * self._random.random()
        self.over_at_s = max(self.over_at_s, self._network.now_s + seconds)
        return seconds

    def _somebody(self) -> Process:
        return self._random.choice(self._world.alive)

    # -- between two -------------------------------------------------------------------------------------------

    def _blip(self, kind: Fault) -> bool:
        one, other = self._two()
        self._network.blip(one, other)
        return True

    def _cut(self, kind: Fault) -> bool:
        pair = self._two()
        return self._hinder(kind, [pair], one_way=kind is Fault.ONE_WAY)

    def _split(self, kind: Fault) -> bool:
        places = list(self._world.at_place)
        self._random.shuffle(places)
        middle = self._random.randrange(1, len(places))
        return self._hinder(kind, list(product(places[:middle], places[middle:])))

    def _wall(self, kind: Fault) -> bool:
        return self._hinder(kind, [self._two()])

    def _hinder(self, kind: Fault, pairs: list[tuple[str, str]], *, one_way: bool = False) -> bool:
        if self._hindrances >= HINDRANCES:
            return False
        self._hindrances += 1
        for one, other in pairs:
            if kind is Fault.WALL:
                self._network.wall(one, other)
            else:
                self._network.cut(one, other, one_way=one_way)
        self._network.after(self._lasts(kind), lambda: self._mend(pairs))
        return True

    def _mend(self, pairs: list[tuple[str, str]]) -> None:
        self._hindrances -= 1
        for one, other in pairs:
            self._network.mend(one, other)

    def _two(self) -> tuple[str, str]:
        one, other = self._random.sample([*self._world.at_place, *self._world.forwarders], 2)
        return one, other

    # -- of one ------------------------------------------------------------------------------------------------

    def _crash(self, kind: Fault) -> bool:
        victim = self._somebody()
        if len(self._world.alive) < 3:
            return False
        victim.kill()
        if kind is Fault.RESTART:
            self._world.start(victim.place)
        else:
            self._network.after(self._lasts(kind), lambda: self._come_back(victim.place))
        return True

    def _come_back(self, place: str) -> None:
        if not self._world.at_place[place].alive:
            self._world.start(place)

    def _leave(self, kind: Fault) -> bool:
        victim = self._somebody()
        active = [process for process in self._world.alive if process.is_active]
        if len(active) < 3 or victim.is_held_up or not victim.is_active:
            return False
        victim.retire()
        self._return_later(victim)
        return True

    def _return_later(self, victim: Process) -> None:
        """Start the next life once the one that leaves is gone."""

        def look() -> None:
            if victim.alive:
                self._return_later(victim)
            else:
                self._come_back(victim.place)

        self._network.after(RETURNS_AFTER_S, look)

    def _pause(self, kind: Fault) -> bool:
        victim = self._somebody()
        if victim.suspended:
            return False
        victim.suspend(self._lasts(kind))
        return True

    def _busy(self, kind: Fault) -> bool:
        self._somebody().freeze(self._lasts(kind))
        return True

    def _accuse(self, kind: Fault) -> bool:
        accuser, victim = self._somebody(), self._random.choice(self._world.everybody)
        if victim is accuser:
            return False
        accuser.do(lambda: accuser.node._bury(victim.node_id, accuser.now_s))
        return True

    def _forwarder(self, kind: Fault) -> bool:
        """Kill one, if all nodes can do without it."""
        forwarders = self._world.forwarders
        if not all(one.alive and one.has(*self._world.alive) for one in forwarders.values()):
            return False
        place = self._random.choice(list(forwarders))
        forwarders[place].kill()
        self._network.after(self._lasts(kind), lambda: self._replace(place))
        return True

    def _replace(self, place: str) -> None:
        if not self._world.forwarders[place].alive:
            self._world.forwarders[place] = restarted(self._world.forwarders[place])

    # -- chance ------------------------------------------------------------------------------------------------

    def _rough(self, kind: Fault) -> bool:
        attribute = {Fault.LOSS: "loss", Fault.DUPLICATION: "duplication", Fault.REORDERING: "reordering"}[kind]
        if getattr(self._network, attribute):
            return False
        setattr(self._network, attribute, self._random.uniform(0, SHARES[kind]))
        self._network.after(self._random.uniform(0, ROUGH_S), lambda: setattr(self._network, attribute, 0.0))
        return True


_DO = {
    Fault.LOSS: Faults._rough,
    Fault.DUPLICATION: Faults._rough,
    Fault.REORDERING: Faults._rough,
    Fault.BLIP: Faults._blip,
    Fault.CUT: Faults._cut,
    Fault.ONE_WAY: Faults._cut,
    Fault.SPLIT: Faults._split,
    Fault.WALL: Faults._wall,
    Fault.CRASH: Faults._crash,
    Fault.RESTART: Faults._crash,
    Fault.LEAVE: Faults._leave,
    Fault.PAUSE: Faults._pause,
    Fault.BUSY: Faults._busy,
    Fault.ACCUSE: Faults._accuse,
    Fault.FORWARDER: Faults._forwarder,
}
