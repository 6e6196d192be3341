"""Calls and events that go both ways between two processes while their network changes, and what became of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

from tests.integration.actors import ask, ask_all, told
from tests.integration.processes import Program

CALLS_A_SECOND = 200
EVENTS_A_SECOND = 50

_TOPIC = "news"
_KEYS = [f"key-{number}" for number in range(8)]
_MOST_S = 50.0
"""Nobody goes on longer."""


def agents_of(name: str) -> dict[str, Any]:
    """The settings of the actor of that name: what the other one calls, and what hears the events of both."""
    ear = f"ear-{name}"
    return {"kinds": {f"tally-{name}": "tally", ear: "listener"}, "subscribe": {ear: _TOPIC}}


class Traffic:
    """Of two actors, by their names, made with ``agents_of``; half of the calls and of the events are of each."""

    def __init__(self, actors: Mapping[str, Program]) -> None:
        self._actors = actors
        one, other = actors
        self._ways = ((one, other), (other, one))

    @contextlib.asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """While the block runs. AssertionError then if a call failed, or if a call or an event was lost.

        Each call is handled once. Each event is handled once or more, and none before those published before it.
        """
        for here, there in self._ways:
            for agent_type in (f"tally-{there}", f"ear-{there}"):
                await ask(self._actors[here], "wait_for", agent_type=agent_type, count=1)
        for here, there in self._ways:
            actor, target = self._actors[here], f"tally-{there}"
            every_s = 2 / CALLS_A_SECOND
            await actor.tell("keep_adding", keys=_KEYS, seconds=_MOST_S, every_s=every_s, agent_type=target)
            every_s = 2 / EVENTS_A_SECOND
            await actor.tell("keep_publishing", topic=_TOPIC, source=here, seconds=_MOST_S, every_s=every_s)
        yield
        await ask_all(list(self._actors.values()), "rest")
        published = {name: await told(actor, "keep_publishing") for name, actor in self._actors.items()}
        for here, there in self._ways:
            await self._calls_were_answered(here, there)
            await self._events_came(here, there, published)

    async def _calls_were_answered(self, caller: str, callee: str) -> None:
        called = await told(self._actors[caller], "keep_adding", deadline_s=30.0)
        count, failed = sum(called["sent"].values()), called["failed"]
        sys.stdout.write(f"{caller}: {count} calls, {len(failed)} failed; slowest {called['slowest_s']:.2f} s\n")
        assert failed == []
        executed = await ask(self._actors[callee], "executed")
        assert sorted(number for _, number in executed) == list(range(count))

    async def _events_came(self, publisher: str, listener: str, published: Mapping[str, int]) -> None:
        everything = await ask(self._actors[listener], "heard", count=sum(published.values()))
        numbers = list(_numbers(everything, f"ear-{listener}/{publisher}"))
        sys.stdout.write(f"{publisher}: {published[publisher]} events, handled {len(numbers)} times\n")
        assert list(dict.fromkeys(numbers)) == list(range(published[publisher]))


def _numbers(heard: list[tuple[str, str]], agent: str) -> Iterator[int]:
    return (int(text) for who, text in heard if who == agent)


async def until_path(actor: Program, *kinds: str, by: str = "", within_s: float = 15.0) -> str:
    """Return once the one peer of the actor is reached so, and by that forwarder if one is named; by which one."""
    until_s = asyncio.get_running_loop().time() + within_s
    while True:
        [peer] = await ask(actor, "peers")
        if peer["path"] in kinds and by in ("", peer["forwarder"]):
            return str(peer["forwarder"])
        late = asyncio.get_running_loop().time() >= until_s
        assert not late, f"{actor} has the path {peer['path']} by {peer['forwarder']!r}, and not {kinds} {by!r}"
        await asyncio.sleep(0.05)
