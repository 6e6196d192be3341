"""zmqagents: AutoGen agents in processes that find each other by mDNS on the loopback interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zmqagents import MsgpackSerializer, ZmqAgentRuntime

from .agents import ECHO, EVENT, NEWS, Answer, Ask, News, listener_type, register_server
from .base import Adapter, Address, Caller, Server

MEET_TIMEOUT_S = 30.0


def _runtime(options: Mapping[str, Any], address: Address) -> ZmqAgentRuntime:
    settings = {"listen": "loopback", **options.get("settings", {}), **address.get("settings", {})}
    runtime = ZmqAgentRuntime(cluster=address["cluster"], **settings)
    if options.get("msgpack"):
        for message_type in (Ask, Answer, News):
            runtime.add_message_serializer(MsgpackSerializer(message_type))
    return runtime


class ZmqServer(Server):
    """A process that hosts agents."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._runtime = _runtime(self.options, address)
        await register_server(self._runtime, self.inbox, self.index)
        await self._runtime.start()
        return address

    async def stop(self) -> None:
        """See Side."""
        await self._runtime.close()


class ZmqCaller(Caller):
    """A process that calls them."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._runtime = _runtime(self.options, address)
        await self._runtime.start()
        return address

    async def stop(self) -> None:
        """See Side."""
        await self._runtime.close()

    async def expect(self, address: Address, servers: int) -> None:
        """See Caller."""
        for index in range(servers):
            await self._runtime.wait_for_agents(listener_type(index), 1, MEET_TIMEOUT_S)

    def prepare(self, text: str) -> Ask:
        """See Caller."""
        return Ask(text)

    async def call(self, prepared: Ask) -> Answer:
        """See Caller."""
        answer: Answer = await self._runtime.send_message(prepared, ECHO)
        return answer

    def text_of(self, answer: Answer) -> str:
        """See Caller."""
        return answer.text

    async def publish(self, message_id: str) -> None:
        """See Caller."""
        await self._runtime.publish_message(EVENT, NEWS, message_id=message_id)


ADAPTER = Adapter(ZmqCaller, ZmqServer)
