"""Writes notes to a notebook in another process, and saves its state to notebook.json."""

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
    await runtime.send_message(Note("buy tea"), NOTEBOOK)
    notes = await runtime.send_message(Note("call Ann"), NOTEBOOK)
    print(f"save: the notebook has {notes.texts}")
    # The agent's save_state runs where the agent lives; what it returns comes back here.
    state = await runtime.agent_save_state(NOTEBOOK)
    Path("notebook.json").write_text(json.dumps(state), encoding="utf-8")
    print("save: saved to notebook.json")
    await runtime.stop_when_idle()


if __name__ == "__main__":
    asyncio.run(main())
