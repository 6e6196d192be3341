"""One process that calls its own agent: zmqagents, or AutoGen's in-process runtime."""

from __future__ import annotations

import secrets

from autogen_core import SingleThreadedAgentRuntime

from zmqagents import ZmqAgentRuntime

from .agents import ECHO, Answer, Ask, Echo
from .base import Adapter, Address, Caller


class LocalCaller(Caller):
    """The caller and the called; option ``runtime``: ``"autogen"`` or ``"zmqagents"``."""

    _runtime: SingleThreadedAgentRuntime | ZmqAgentRuntime

    async def start(self, address: Address) -> Address:
        """See Side."""
        if self.options["runtime"] == "autogen":
            autogen = self._runtime = SingleThreadedAgentRuntime()
            await Echo.register(autogen, ECHO.type, Echo)
            autogen.start()
        else:
            # Members of a cluster, though nobody else is in it: a local call of a process that also has remote ones.
            own = self._runtime = ZmqAgentRuntime(cluster=f"bench-{secrets.token_hex(4)}")
            await Echo.register(own, ECHO.type, Echo)
            await own.start()
        return address

    async def stop(self) -> None:
        """See Side."""
        await self._runtime.close()

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


ADAPTER = Adapter(LocalCaller)
