"""xoscar: an actor in another process, called by reference; arguments and results are pickled."""

from __future__ import annotations

from typing import Any

import xoscar

from .base import LOCALHOST, Adapter, Address, Caller, Server, free_port

_UID = "echo"


class Echo(xoscar.Actor):  # type: ignore[misc]  # xoscar has no types
    """Answers with what it was asked."""

    async def echo(self, text: str) -> str:
        """Answer one call."""
        return text


class XoscarServer(Server):
    """Holds the actor, in a pool that is this process alone."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        at = f"{LOCALHOST}:{free_port()}"
        self._pool = await xoscar.create_actor_pool(at, n_process=0)
        await xoscar.create_actor(Echo, address=at, uid=_UID)
        return {**address, "server": at}

    async def stop(self) -> None:
        """See Side."""
        await self._pool.stop()


class XoscarCaller(Caller):
    """Calls it."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._actor = await xoscar.actor_ref(address=address["server"], uid=_UID)
        return address

    async def stop(self) -> None:
        """See Side."""

    async def call(self, prepared: str) -> Any:
        """See Caller."""
        return await self._actor.echo(prepared)


ADAPTER = Adapter(XoscarCaller, XoscarServer)
