"""A contender's processes, started and ready for work, for as long as rows need them."""

from __future__ import annotations

import asyncio
import secrets

from .contenders import Contender
from .peers.base import Address
from .processes import Worker, Workers
from .wire import BenchError

WORKER = "tools.bench_program.worker"
EVENT_SERVERS = 4


def new_address(contender: Contender) -> Address:
    """What the sides are told before they start: a cluster name of its own, so that no two runs meet."""
    address: Address = {"cluster": f"bench-{secrets.token_hex(4)}"}
    if contender.setting:
        address["settings"] = {contender.setting: secrets.token_urlsafe(32)}
    return address


class Stage:
    """The processes of one contender. Make it with ``open_stage``."""

    def __init__(self, workers: Workers, contender: Contender, address: Address) -> None:
        self.contender = contender
        self.address = address
        self._workers = workers
        self._all: list[Worker] = []
        self._hosts: list[Worker] = []
        self.servers: list[Worker] = []
        self._caller: Worker | None = None
        self._events = 0

    @property
    def caller(self) -> Worker:
        """Who makes the calls. Raises BenchError before the imports are done."""
        if self._caller is None:
            raise BenchError(f"{self.contender.name} is not started")
        return self._caller

    async def launch(self) -> None:
        """Start the processes and wait for their imports; nothing of the contender has begun yet."""
        roles = self.contender.roles
        launched = await asyncio.gather(*(self._launch(role, 0) for role in roles))
        self._hosts = [worker for role, worker in zip(roles, launched, strict=True) if role == "host"]
        self.servers = [worker for role, worker in zip(roles, launched, strict=True) if role == "server"]
        self._caller = launched[-1]
        await asyncio.gather(*(worker.ready() for worker in launched))

    async def _launch(self, role: str, index: int) -> Worker:
        name = f"{self.contender.name} {role}" + (f" {index}" if index else "")
        worker = await self._workers.start(name, ["-m", WORKER, self.contender.name, role, str(index)])
        self._all.append(worker)
        return worker

    async def begin(self) -> None:
        """Start the sides, in the order that the contender needs."""
        for worker in self._hosts + self.servers:
            self.address = await worker.ask("start", address=self.address)
        self.address = await self.caller.ask("start", address=self.address)

    async def begin_at_once(self) -> None:
        """As ``begin``, for sides that find each other by themselves."""
        await asyncio.gather(*(worker.ask("start", address=self.address) for worker in [*self.servers, self.caller]))

    async def deliver(self, count: int, in_flight: int, within_s: float) -> dict[str, float]:
        """Publish that many events and wait for them at every server: delivered events a second, and what was lost."""
        first, self._events = self._events, self._events + count
        waiting = [
            asyncio.create_task(server.ask("received", first=first, count=count, within_s=within_s))
            for server in self.servers
        ]
        try:
            begun_s = (await self.caller.ask("publish", first=first, count=count, in_flight=in_flight))["begun_s"]
            got = await asyncio.gather(*waiting)
        finally:
            for task in waiting:
                task.cancel()
        took_s = max(answer["last_s"] for answer in got) - begun_s
        totals = {
            name: float(sum(answer[name] for answer in got)) for name in ("received", "lost", "repeated", "strange")
        }
        return {**totals, "rate": totals["received"] / took_s if took_s > 0 else 0.0}

    async def have_event_servers(self) -> None:
        """Start as many servers as an event goes to, and wait until it would."""
        missing = range(len(self.servers), EVENT_SERVERS)
        if not missing:
            return
        added = await asyncio.gather(*(self._launch("server", index) for index in missing))
        for server in added:
            await server.ready()
            self.address = await server.ask("start", address=self.address)
        self.servers += added
        await self.caller.ask("expect", address=self.address, servers=EVENT_SERVERS)

    async def close(self) -> None:
        """End the processes: callers first, so that nobody loses a connection that it still uses."""
        for worker in reversed(self._all):
            await self._workers.end([worker])


async def open_stage(workers: Workers, contender: Contender) -> Stage:
    """A stage whose caller can call."""
    stage = Stage(workers, contender, new_address(contender))
    try:
        await stage.launch()
        await stage.begin()
    except BaseException:
        await stage.close()
        raise
    return stage
