"""Events among nodes that disagree about where an agent is, in any way and for as long as they like."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

import pytest

from tests.unit.protocol.agents.wiring import QUIET, Site, Wiring
from zmqagents.protocol.agents.arrivals import Hold
from zmqagents.protocol.events import EventLimits
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.state import NodeLimits

KEY = "worker/a"
NODES = 4
HOST = NODES
"""The agent is there; the others have views of their own."""
SMALL_WINDOW = replace(QUIET, events=EventLimits(window_events=8))
HEALING_S = 30.0  # links that were lost are up again by then, also those that were lost often


@dataclass
class Circles:
    """Nodes that publish to one agent, and each take it to be somewhere."""

    limits: NodeLimits = QUIET
    wiring: Wiring = field(default_factory=Wiring)
    sites: list[Site] = field(default_factory=list)
    views: dict[int, int] = field(default_factory=dict)
    published: dict[int, int] = field(default_factory=lambda: dict.fromkeys(range(NODES), 0))

    def __post_init__(self) -> None:
        self.sites = [self.wiring.join(name, limits=self.limits) for name in range(NODES)]
        self.sites.append(self.wiring.join(HOST, ["worker"], limits=self.limits))
        for name in range(NODES):
            self.see(name, HOST)

    def see(self, name: int, where: int) -> None:
        """From now on, node ``name`` sends the agent's messages to ``where``."""
        site, place = self.sites[name], self.sites[where].node_id
        self.views[name] = where

        def take_to_be_there(key: str, now_s: float) -> NodeId | Hold | None:
            return place

        site.node.agency.arrivals._place_of_absent = take_to_be_there  # type: ignore[method-assign]

    def publish(self, name: int, spaces: int = 0) -> None:
        site, where = self.sites[name], self.sites[self.views[name]].node_id
        if not site.node.can_publish(where):
            return
        site.node.agency.locations.learn(KEY, where)
        site.publish(f"{name}:{self.published[name]}" + " " * spaces, KEY)
        self.published[name] += 1

    def deliver(self, which: int) -> None:
        """One of what is on its way arrives."""
        ready = self.wiring.ready(self.wiring.wires)
        if ready:
            self.wiring.deliver(ready[which % len(ready)])

    def reset(self, name: int, other: int) -> None:
        """The link between two is lost, and what is unfinished there with it."""
        self.wiring.reset(self.sites[name], self.sites[other])

    def agree(self) -> None:
        """All find the agent where it is, and whatever is on its way arrives."""
        for name in range(NODES):
            self.see(name, HOST)
        self.wiring.settle()
        until_s = self.wiring.now_s + HEALING_S
        while any(site.node.unfinished_events for site in self.sites) and self.wiring.now_s < until_s:
            self.wiring.pass_time(0.5)

    def check_all_are_finished(self, run: str) -> None:
        """Every event was handled, or is known to be dead, and nobody waits for one."""
        ended = {text.strip() for _, _, text in self.wiring.log}
        ended |= {text.strip() for site in self.sites for text, _ in site.dead}
        assert ended == {f"{name}:{number}" for name, count in self.published.items() for number in range(count)}, run
        assert [site.node.unfinished_events for site in self.sites] == [0] * len(self.sites), run
        assert not any(site.node.agency.routes.ways for site in self.sites), run

    def check_order(self, run: str) -> None:
        """Those of one publisher were handled once, in the order in which they were published."""
        for name in self.published:
            texts = (text.partition(":") for _, _, text in self.wiring.log)
            numbers = [int(number) for publisher, _, number in texts if publisher == str(name)]
            assert numbers == sorted(set(numbers)), f"{run}, publisher {name}"


def run(seed: int, *, resets: bool = False, limits: NodeLimits = QUIET) -> Circles:
    """A random run in which everybody changes their mind now and then, until all agree."""
    random = Random(seed)
    circles = Circles(limits)
    nodes = random.randint(2, NODES)
    tells, changes = random.choice((0.1, 0.3)), random.choice((0.05, 0.2))
    for _ in range(random.choice((20, 60, 200, 500))):
        chance, name = random.random(), random.randrange(nodes)
        others = [other for other in range(nodes) if other != name]
        if chance < tells:
            circles.publish(name)
        elif chance < tells + changes:
            circles.see(name, random.choice([*others, HOST] if random.random() < 0.3 else others))
        elif resets and chance > 0.99:
            circles.reset(name, random.choice([*others, HOST]))
        else:
            circles.deliver(random.randrange(100))
    circles.agree()
    return circles


@pytest.mark.parametrize("limits", [QUIET, SMALL_WINDOW], ids=["normal", "small window"])
@pytest.mark.parametrize("first", [0, 50])
def test_no_events_wait_for_each_other_and_all_come_once_and_in_order(first: int, limits: NodeLimits) -> None:
    for seed in range(first, first + 50):
        circles = run(seed, limits=limits)
        circles.check_all_are_finished(f"seed {seed}")
        circles.check_order(f"seed {seed}")


def test_two_nodes_that_send_back_each_others_large_events_come_to_an_end() -> None:
    """Each of them fills a window alone."""
    circles = Circles(replace(QUIET, events=EventLimits(window_bytes=1_000)))
    circles.see(0, 1)
    circles.see(1, 0)
    for name in (0, 1):
        for _ in range(2):
            circles.publish(name, spaces=900)
    circles.wiring.settle()
    circles.agree()
    circles.check_all_are_finished("0 and 1")
    circles.check_order("0 and 1")


def test_order_holds_when_a_link_was_lost_of_which_nothing_had_come() -> None:
    circles = Circles()
    publisher, first, second = circles.sites[:3]
    circles.see(1, 2)
    circles.see(0, 1)
    circles.publish(0)
    circles.wiring._forget_wires(publisher.node_id, first.node_id)
    circles.reset(0, 1)
    circles.wiring.hold(first, second)
    circles.wiring.pass_time(3)  # it has been sent anew, and then on to where it has not come
    circles.see(1, HOST)
    circles.publish(0)
    circles.wiring.settle()
    circles.wiring.release(first, second)
    circles.agree()
    circles.check_all_are_finished("two")
    circles.check_order("two")


def test_nothing_is_left_when_links_are_lost_meanwhile() -> None:
    for seed in range(50):
        run(seed, resets=True).check_all_are_finished(f"seed {seed}")
