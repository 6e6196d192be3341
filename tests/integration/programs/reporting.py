"""How a program of this suite talks with the test that started it (see ``processes.py``)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sys
import threading
from typing import Any

logging.basicConfig(level=logging.INFO)
logging.getLogger("autogen_core").setLevel(logging.WARNING)

SETTINGS: dict[str, Any] = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
"""The keywords that the test gave."""


def report(what: str, **fields: Any) -> None:
    """Tell the test something."""
    sys.stdout.write(json.dumps({"what": what, **fields}) + "\n")
    sys.stdout.flush()


class Commands:
    """The commands of the test. The process ends at once when the test does."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._read, name="commands", daemon=True).start()

    async def next(self) -> dict[str, Any]:
        """The next one."""
        return await self._queue.get()

    def _read(self) -> None:
        # Not sys.stdin: its lock, held by a thread that waits, is fatal when the interpreter ends.
        data = b""
        while chunk := os.read(0, 1 << 16):
            *lines, data = (data + chunk).split(b"\n")
            for line in lines:
                with contextlib.suppress(RuntimeError):  # the loop is closed: the program is about to end
                    self._loop.call_soon_threadsafe(self._queue.put_nowait, json.loads(line))
        os._exit(70)
