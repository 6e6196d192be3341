"""Gives the state in notebook.json to the notebook of a new worker process, and goes on with it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

from autogen_core import AgentId

from examples.saved_state.messages import Note
from zmqagents import ZmqAgentRuntime

NOTEBOOK = AgentId("notebook", "mine")


async def main() -> None:
    runtime = ZmqAgentRuntime(discovery_timeout_s=60)
    await runtime.start()
    state = json.loads(Path("notebook.json").read_text(encoding="utf-8"))
    await runtime.agent_load_state(NOTEBOOK, state)  # makes the agent first, as it is new there
    notes = await runtime.send_message(Note("water the plants"), NOTEBOOK)
    print(f"load: the notebook has {notes.texts}")
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
