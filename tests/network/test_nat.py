"""One side behind a NAT router: it dials, and everything comes back over its connections."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Any

import pytest

from tests.integration.actors import ask, start, told
from tests.integration.clusters import new_name
from tests.integration.processes import Launch, Program
from tests.network.namespaces import Lab, lab
from tools.netlab_program.topologies import one_nat
from zmqagents.keys import make_key

pytestmark = pytest.mark.network

PORT = 7_000
EVENTS = 20
IDLE_S = 12.0
"""Longer than anybody takes to be taken for dead."""
KILLED_KNOWN_S = 4.0
SILENCE_KNOWN_S = 6.0


class Site:
    """Processes of one cluster inside and outside; the first one outside is everybody's seed."""

    def __init__(self, net: Lab, launch: Launch) -> None:
        self.net = net
        self._launch = launch
        self._cluster = new_name()
        self._key = make_key()
        self.actors: dict[str, Program] = {}

    async def start(self, host: str, **settings: Any) -> Program:
        seeds = [] if host == "out1" else [f"tcp://{self.net.address('out1')}:{PORT}"]
        port = {} if seeds else {"port": PORT}
        settings = {"discovery": "none", "seeds": seeds, "cluster_key": self._key, **port, **settings}
        name = settings.pop("name", host)
        [actor] = await start(self._launch, self._cluster, name, count=False, prefix=self.net.inside(host), **settings)
        self.actors[name] = actor
        return actor

    async def is_whole(self) -> None:
        """Return once every process sees every other one."""
        await asyncio.gather(
            *(
                ask(actor, "wait_for_peers", names=[other for other in self.actors if other != name])
                for name, actor in self.actors.items()
            )
        )

    async def call(self, caller: str, agent_type: str) -> float:
        """Call an agent of that type, which lives in the process of that name; how long it took."""
        began_s = time.monotonic()
        answer = await ask(self.actors[caller], "call", agent_type=agent_type, key="k", number=0, timeout_s=10.0)
        assert answer.get("answer") == self.actors[agent_type].pid, (caller, agent_type, answer)
        return time.monotonic() - began_s


@pytest.fixture
async def site(launch: Launch) -> Any:
    with lab(one_nat()) as net:
        yield Site(net, launch)


async def everybody(site: Site) -> None:
    """One process on each host, which hosts a type of its own and hears the events of all."""
    for host in ("out1", "out2", "in1", "in2"):
        await site.start(host, kinds={host: "sleeper", f"ear-{host}": "listener"}, subscribe={f"ear-{host}": "news"})


async def test_calls_go_both_ways_from_the_start(site: Site) -> None:
    await everybody(site)
    await site.is_whole()
    took_s = [await site.call(caller, callee) for caller in site.actors for callee in site.actors if caller != callee]
    assert max(took_s) < 5.0
    assert max([await site.call(caller, callee) for caller, callee in (("out2", "in2"), ("in2", "out2"))]) < 1.0


async def test_events_go_both_ways(site: Site) -> None:
    await everybody(site)
    await site.is_whole()
    for actor in site.actors.values():
        for other in site.actors:
            await ask(actor, "wait_for", agent_type=f"ear-{other}", count=1)
    for name, actor in site.actors.items():
        assert (await ask(actor, "publish", topic="news", source=name, count=EVENTS, size_bytes=10))[
            "dead_letters"
        ] == 0
    for name, actor in site.actors.items():
        heard = Counter(agent for agent, _ in await ask(actor, "heard", count=EVENTS * len(site.actors)))
        assert heard == {f"ear-{name}/{source}": EVENTS for source in site.actors}


async def test_nobody_is_given_up_or_complained_of_while_all_are_idle(site: Site) -> None:
    await everybody(site)
    await site.is_whole()
    await site.call("out2", "in2")
    written = {name: len(actor.stderr) for name, actor in site.actors.items()}
    until = time.monotonic() + IDLE_S
    while time.monotonic() < until:
        for actor in site.actors.values():
            states = {peer["instance_id"]: peer["state"] for peer in await ask(actor, "peers")}
            assert len(states) == len(site.actors) - 1
            assert set(states.values()) <= {"up"}, (actor.name, states)
        await asyncio.sleep(0.2)
    for name, actor in site.actors.items():
        assert actor.stderr[written[name] :] == ""


async def test_what_is_registered_inside_later_is_known_outside(site: Site) -> None:
    await everybody(site)
    await site.is_whole()
    late = await site.start("in1", name="late", kinds={"late": "sleeper"})
    await site.call("out1", "late")
    await site.call("out2", "late")
    del site.actors["late"]
    await late.stop()
    await site.is_whole()


@pytest.mark.parametrize("how", ["killed", "cut off"])
async def test_death_inside_is_known_outside(site: Site, how: str) -> None:
    await everybody(site)
    await site.is_whole()
    for caller in ("out1", "out2"):
        await site.call(caller, "in1")
    await site.actors["out2"].tell("call", agent_type="in1", key="k", number=60_000)
    await site.actors["in1"].report("handling")
    lost = site.actors.pop("in1")
    began_s = time.monotonic()
    if how == "killed":
        lost.kill()
    else:
        site.net.unplug("in1")
    call = await told(site.actors["out2"], "call")
    assert call.get("error") == "PeerLost"
    assert call["at_s"] - began_s < (KILLED_KNOWN_S if how == "killed" else SILENCE_KNOWN_S)
    await site.is_whole()


async def test_router_that_forgets_its_connections_costs_no_call(site: Site) -> None:
    await site.start("out1", kinds={})
    await site.start("in1", kinds={"tally": "tally"})
    await site.is_whole()
    caller = site.actors["out1"]
    await caller.tell("keep_adding", keys=["x", "y"], seconds=4.0, every_s=0.01)
    await asyncio.sleep(1.0)
    site.net.forget_connections("router")
    called = await told(caller, "keep_adding")
    assert called["failed"] == []
    executed = await ask(site.actors["in1"], "executed")
    assert sorted(number for _, number in executed) == list(range(sum(called["sent"].values())))
