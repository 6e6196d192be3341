"""zmqagents through a forwarder: processes that can't dial each other, as behind two NAT routers."""

from __future__ import annotations

from tools.bench_program.wire import BenchError
from zmqagents.forwarder import Forwarder, ForwarderSettings

from .base import LOCALHOST, Adapter, Address, Side
from .zmqagents_runtime import ZmqCaller, ZmqServer

# Of this machine too, but the processes listen at LOCALHOST only: who dials them here is refused.
_NOBODYS = "127.0.0.9"


class ForwarderHost(Side):
    """The forwarder."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._forwarder = Forwarder(ForwarderSettings(bind=(f"tcp://{LOCALHOST}:0",), cluster=address["cluster"]))
        await self._forwarder.start()
        [endpoint] = self._forwarder.endpoints
        return {**address, "settings": {"broker_url": endpoint, "discovery": "none", "advertise": _NOBODYS}}

    async def stop(self) -> None:
        """See Side."""
        await self._forwarder.stop()


class RelayedCaller(ZmqCaller):
    """A process whose calls are all relayed."""

    async def call_once(self, size: int) -> None:
        """See Caller. Raises BenchError if there is another way than the forwarder's."""
        await super().call_once(size)
        paths = {peer.path for peer in self._runtime.peers()}
        if paths != {"forwarded"}:
            raise BenchError(f"the forwarder is passed by: the paths are {', '.join(sorted(paths))}")


ADAPTER = Adapter(RelayedCaller, ZmqServer, ForwarderHost)
