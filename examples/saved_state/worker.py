"""Hosts notebooks, whose state lives in this process and is gone with it, unless somebody saves it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from autogen_core import MessageContext, RoutedAgent, message_handler

from examples.saved_state.messages import Note, Notes
from zmqagents import ZmqAgentRuntime


class Notebook(RoutedAgent):
    def __init__(self) -> None:
        super().__init__("Remembers notes")
        self._texts: list[str] = []

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> Notes:
        self._texts.append(message.text)
        return Notes(self._texts)

    # These two are AutoGen's. What save_state returns has to be what JSON can hold.
    async def save_state(self) -> Mapping[str, Any]:
        return {"texts": self._texts}

    async def load_state(self, state: Mapping[str, Any]) -> None:
        self._texts = list(state["texts"])


async def main() -> None:
    runtime = ZmqAgentRuntime()
    await Notebook.register(runtime, "notebook", lambda: Notebook())
    await runtime.start()
    print("worker: started")
    await runtime.wait_until_stopped()


if __name__ == "__main__":
    asyncio.run(main())
