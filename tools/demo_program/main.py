"""The conductor: starts the processes, shows what they report, and ends them, whatever ends it."""

from __future__ import annotations

import asyncio
import secrets
import signal
import sys

from rich.console import Console
from rich.markup import escape

from .children import Children, DemoError, running
from .story import PROCESSES, Story

# The whole demo takes about three seconds; a slow machine may need several times that.
TIMEOUT_S = 40.0


class _Interrupt:
    """The first signal ends the demo in order, a second one at once."""

    def __init__(self) -> None:
        self.number = 0

    def watch(self, children: Children) -> None:
        """Cancel the current task when a signal comes."""
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def on_signal(number: int) -> None:
            if self.number or task is None:
                children.kill()
            else:
                self.number = number
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, on_signal, number)


async def _conduct(children: Children, story: Story, cluster: str) -> None:
    for name, part in PROCESSES.items():
        command = [sys.executable, "-m", f"tools.demo_program.{part}", cluster, name]
        story.started(name, await children.start(name, command))
    while not story.complete:
        story.tell(*await children.next_report())


async def _demo(console: Console, interrupt: _Interrupt) -> None:
    cluster = f"demo-{secrets.token_hex(4)}"  # two demos on one machine must not meet
    story = Story(console, cluster)
    async with running() as children:
        interrupt.watch(children)
        try:
            await asyncio.wait_for(_conduct(children, story, cluster), TIMEOUT_S)
        except asyncio.TimeoutError:
            raise DemoError(f"not done after {TIMEOUT_S:.0f} s: {story.missing}") from None
    story.conclude()


def main() -> int:
    """Run the demo and return its exit status."""
    console = Console()
    interrupt = _Interrupt()
    try:
        asyncio.run(_demo(console, interrupt))
    except DemoError as error:
        console.print(f"[bold red]The demo failed:[/] {escape(str(error))}", soft_wrap=True)
        return 1
    except asyncio.CancelledError:
        console.print(f"Ended by {signal.Signals(interrupt.number).name}; every process has left.")
        return 128 + interrupt.number
    return 0


if __name__ == "__main__":
    sys.exit(main())
