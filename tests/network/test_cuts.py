"""Hosts whose cables are cut: short cuts harm nothing, long ones end calls, and all of them heal."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from typing import Any

import pytest

from tests.integration.actors import ask, ask_all, start, told
from tests.integration.clusters import new_name
from tests.integration.processes import Launch, Program
from tests.network.namespaces import Lab, lan

pytestmark = pytest.mark.network

TALLY = {"tally": "tally"}
KEYS = [f"key-{number}" for number in range(20)]
CALLS_EVERY_S = 0.01
NOTICED_WITHIN_S = 5.0
HEALED_WITHIN_S = 15.0


class Site:
    """Processes of one cluster on the hosts of one network."""

    def __init__(self, net: Lab, launch: Launch) -> None:
        self._net = net
        self._launch = launch
        self._cluster = new_name()
        self.actors: dict[str, Program] = {}

    async def start(self, host: str, name: str, **settings: Any) -> Program:
        """One more; it finds the others by multicast unless it has seeds."""
        discovery = "none" if "seeds" in settings else "mdns"
        settings = {"discovery": discovery, "interfaces": ["eth0"], "kinds": TALLY, **settings}
        [actor] = await start(
            self._launch,
            self._cluster,
            name,
            count=False,
            prefix=self._net.inside(host),
            insecure_lan=True,
            listen=[self._net.address(host)],
            **settings,
        )
        self.actors[name] = actor
        return actor

    async def is_whole(self) -> None:
        """Return once every process sees every other one."""
        names = list(self.actors)
        waiting = (
            ask(
                actor,
                "wait_for_peers",
                names=[other for other in names if other != name],
                deadline_s=HEALED_WITHIN_S,
            )
            for name, actor in self.actors.items()
        )
        await asyncio.gather(*waiting)


async def test_short_cuts_and_broken_connections_lose_no_call_and_run_none_twice(launch: Launch) -> None:
    with lan("a", "b") as net:
        site = Site(net, launch)
        caller = await site.start("a", "caller", kinds={})
        worker = await site.start("b", "worker", seeds=[await ask(caller, "endpoint")])
        await site.is_whole()
        assert "INSECURE" in caller.stderr
        await caller.tell("keep_adding", keys=KEYS, seconds=4.0, every_s=CALLS_EVERY_S)
        await asyncio.sleep(0.5)
        net.separate("a", "b")
        await asyncio.sleep(0.8)
        net.join("a", "b")
        await asyncio.sleep(1.2)
        for _ in range(3):
            with net.breaking("a", "b"):
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)
        called = await told(caller, "keep_adding")
        assert called["failed"] == []
        executed = await ask(worker, "executed")
        assert sorted(number for _, number in executed) == list(range(sum(called["sent"].values())))
        assert Counter(key for key, _ in executed) == called["sent"]
        assert len(await ask(caller, "peers")) == 1


async def test_long_cut_ends_calls_and_both_sides_go_on_and_are_one_cluster_again_without_seeds(launch: Launch) -> None:
    with lan("a", "b") as net:
        site = Site(net, launch)
        introducer = await site.start("a", "introducer", kinds={})
        seeds = [await ask(introducer, "endpoint")]
        one, other, far = await asyncio.gather(
            site.start("a", "one", seeds=seeds),
            site.start("a", "other", seeds=seeds),
            site.start("b", "far", seeds=seeds, kinds={**TALLY, "sleeper": "sleeper"}),
        )
        await site.is_whole()
        del site.actors["introducer"]
        await introducer.stop()
        await site.is_whole()
        await one.tell("call", agent_type="sleeper", key="a", number=60_000)
        await far.report("handling")

        net.separate("a", "b")
        cut_s = time.monotonic()
        call = await told(one, "call")
        assert call.get("error") == "PeerLost"
        assert call["at_s"] - cut_s < NOTICED_WITHIN_S
        await asyncio.gather(
            ask(one, "wait_for_peers", names=["other"]),
            ask(other, "wait_for_peers", names=["one"]),
            ask(far, "wait_for_peers", names=[]),
        )
        near_answers, far_answers = await asyncio.gather(
            ask(one, "add", keys=KEYS, number=1), ask(far, "add", keys=KEYS, number=2)
        )
        near_pids = {pid for pid, _ in near_answers["answers"].values()}
        assert near_pids <= {one.pid, other.pid}
        assert {pid for pid, _ in far_answers["answers"].values()} == {far.pid}

        net.join("a", "b")
        await site.is_whole()
        assert sorted(await single_home(list(site.actors.values()))) == sorted(f"tally/{key}" for key in KEYS)
        answers = await ask_all([one, other, far], "add", keys=KEYS, number=3)
        homes = [{key: pid for key, (pid, _) in answer["answers"].items()} for answer in answers]
        assert homes[0] == homes[1] == homes[2]


async def single_home(actors: list[Program]) -> list[str]:
    """The agents that are active somewhere, once none of them is active twice. AssertionError if that doesn't come."""
    until = time.monotonic() + HEALED_WITHIN_S
    while True:
        active = [key for keys in await ask_all(actors, "active") for key in keys if key.startswith("tally/")]
        twice = [key for key, count in Counter(active).items() if count > 1]
        if not twice:
            return active
        assert time.monotonic() < until, f"still active in two processes: {twice}"
        await asyncio.sleep(0.05)


async def test_one_way_cut_between_two_hosts_that_a_third_sees_buries_nobody(launch: Launch) -> None:
    with lan("a", "b", "c") as net:
        site = Site(net, launch)
        left = await site.start("a", "left", kinds={"sleeper": "sleeper"})
        right, third = await asyncio.gather(
            site.start("b", "right", kinds={"far": "sleeper"}), site.start("c", "third", kinds={"third": "sleeper"})
        )
        await site.is_whole()
        await left.tell("call", agent_type="far", key="a", number=60_000)
        await right.report("handling")
        watched = asyncio.ensure_future(never_alone(site, NOTICED_WITHIN_S + 2.0))

        net.cut("a", "b")
        cut_s = time.monotonic()
        call = await told(left, "call")
        assert call.get("error") == "PeerLost"
        assert call["at_s"] - cut_s < NOTICED_WITHIN_S
        for agent_type, target in (("sleeper", left), ("far", right)):
            answer = await ask(third, "call", agent_type=agent_type, key="b", number=0)
            assert answer.get("answer") == target.pid
        for asker in (left, right):
            assert (await ask(asker, "call", agent_type="third", key="b", number=0)).get("answer") == third.pid
        states = await watched
        assert "unreachable" in states["left", "right"]
        assert "unreachable" not in states["left", "third"] | states["third", "right"]

        net.heal("a", "b")
        healed_s = time.monotonic()
        while (await ask(left, "call", agent_type="far", key="b", number=0, timeout_s=1.0)).get("answer") != right.pid:
            assert time.monotonic() - healed_s < HEALED_WITHIN_S
        await site.is_whole()


async def never_alone(site: Site, seconds: float) -> dict[tuple[str, str], set[str]]:
    """The states in which each process saw each other one. AssertionError if in that time it loses sight of one."""
    states: dict[tuple[str, str], set[str]] = defaultdict(set)
    until = time.monotonic() + seconds
    names = site.actors.keys()
    while time.monotonic() < until:
        for name, actor in site.actors.items():
            seen = {peer["instance_id"]: peer["state"] for peer in await ask(actor, "peers")}
            assert seen.keys() == names - {name}, f"{name} sees {seen}"
            for other, state in seen.items():
                states[name, other].add(state)
        await asyncio.sleep(0.1)
    return states
