"""AutoGen's gRPC runtime: a host process between the worker processes."""

from __future__ import annotations

from autogen_ext.runtimes.grpc import GrpcWorkerAgentRuntime, GrpcWorkerAgentRuntimeHost

from .agents import ECHO, EVENT, NEWS, Answer, Ask, add_serializers, register_server
from .base import LOCALHOST, Adapter, Address, Caller, Server, Side, free_port


class GrpcHost(Side):
    """The broker."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        at = f"{LOCALHOST}:{free_port()}"
        self._host = GrpcWorkerAgentRuntimeHost(address=at)
        self._host.start()
        return {**address, "host": at}

    async def stop(self) -> None:
        """See Side."""
        await self._host.stop(grace=0)


class GrpcServer(Server):
    """A process that hosts agents."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._runtime = GrpcWorkerAgentRuntime(host_address=address["host"])
        add_serializers(self._runtime)
        await self._runtime.start()
        await register_server(self._runtime, self.inbox, self.index)
        return address

    async def stop(self) -> None:
        """See Side."""
        await self._runtime.stop()


class GrpcCaller(Caller):
    """A process that calls them."""

    async def start(self, address: Address) -> Address:
        """See Side."""
        self._runtime = GrpcWorkerAgentRuntime(host_address=address["host"])
        add_serializers(self._runtime)
        await self._runtime.start()
        return address

    async def stop(self) -> None:
        """See Side."""
        await self._runtime.stop()

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


ADAPTER = Adapter(GrpcCaller, GrpcServer, GrpcHost)
