"""The command line of ./tools/bench."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import json
import shlex
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from rich.console import Console

from . import chart, machine, profile, scale
from .arguments import add_outputs, names_in, positive
from .conductor import Conductor
from .contenders import CONTENDERS
from .measures import QUICK, Settings
from .processes import Workers, running
from .results import RowResult
from .rows import ROWS
from .table import make_table
from .wire import BenchError

EXAMPLES = """examples:
  tools/bench                                       everything, 3 rounds of 3 s: about 10 minutes
  tools/bench --quick                               every row for a moment, to see that all works: under a minute
  tools/bench --rows calls,sequential --peers zmqagents,pyzmq,autogen-grpc
  tools/bench --rounds 5 --seconds 5 --json run.json --chart run.svg
  tools/bench scale --sizes 2,5,10,20,40            what one process costs as the cluster grows
  tools/bench profile                               where a call's microseconds go

The peers need: pip install 'zmqagents[bench]', and for NATS: apt install nats-server. Who isn't installed is shown
as such. Nothing is written but the files that you name.

exit status: 0 if everything was measured, reached or not; 1 if something could not be; 2 for wrong arguments;
130 after Ctrl-C
"""

Work: TypeAlias = Callable[[Workers], Awaitable[None]]

# Wide enough for the table where the output is no terminal.
_WIDTH = 200


def make_parser() -> argparse.ArgumentParser:
    """The command line, but for ``scale`` and ``profile``."""
    parser = argparse.ArgumentParser(
        prog="tools/bench",
        description="Measures zmqagents beside its peers: the same work, each side a process of its own, rounds\n"
        "interleaved, medians shown.",
        epilog=f"rows: {', '.join(ROWS)}\n\npeers: {', '.join(CONTENDERS)}\n\n{EXAMPLES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round, small clusters: for the shape, not the times"
    )
    parser.add_argument("--rows", type=names_in(list(ROWS)), default=list(ROWS), metavar="LIST", help="default: all")
    parser.add_argument(
        "--peers", type=names_in(list(CONTENDERS)), default=list(CONTENDERS), metavar="LIST", help="default: all"
    )
    parser.add_argument("--rounds", type=positive(int), metavar="N", help="default: 3")
    parser.add_argument("--seconds", type=positive(float), metavar="S", help="of each measurement (default: 3)")
    parser.add_argument(
        "--nodes", type=positive(int), metavar="N", help="processes of the cluster that idles (default: 20)"
    )
    parser.add_argument(
        "--agents", type=positive(int), metavar="N", help="agents that live in one process (default: 100,000)"
    )
    parser.add_argument("--require-all", action="store_true", help="a peer that isn't installed is an error")
    add_outputs(parser)
    return parser


def settings_of(options: argparse.Namespace) -> Settings:
    """The default or the quick ones, with what was asked for."""
    given = {
        name: value
        for name in ("rounds", "seconds", "nodes", "agents")
        if (value := getattr(options, name)) is not None
    }
    return dataclasses.replace(QUICK if options.quick else Settings(), **given)


def check_present(rows: Sequence[str], peers: Sequence[str]) -> None:
    """Raises BenchError, naming who is missing and what to install."""
    wanted = [name for name in CONTENDERS if name in peers and any(name in ROWS[row].contenders for row in rows)]
    missing = [f"{name}: {why}" for name in wanted if (why := CONTENDERS[name].absent()).startswith("not installed")]
    if missing:
        raise BenchError("\n".join(["--require-all, and not everybody is there:", *missing]))


async def compare(options: argparse.Namespace, console: Console, command: str, workers: Workers) -> None:
    """Measure the rows and show them."""
    about = machine.describe(command)
    if options.require_all:
        check_present(options.rows, options.peers)
    rows = [ROWS[name] for name in options.rows if set(ROWS[name].contenders) & set(options.peers)]
    conductor = Conductor(workers, settings_of(options), rows, options.peers)
    results = await conductor.run()
    console.print(machine.one_line(about), soft_wrap=True, highlight=False)
    console.print(make_table(results))
    write(options, about, results)
    if conductor.failures:
        raise BenchError("\n".join(["not everything could be measured:", *conductor.failures]))


def write(options: argparse.Namespace, about: dict[str, object], results: Sequence[RowResult]) -> None:
    """The files that were asked for."""
    if options.json is not None:
        text = json.dumps({"machine": about, "rows": [row.to_json() for row in results]}, indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.chart is not None:
        chart.draw(results, machine.one_line(about), options.chart)


class _Interrupt:
    """The first signal ends the work in order, a second one at once."""

    def __init__(self) -> None:
        self.number = 0

    def watch(self, workers: Workers) -> None:
        """Cancel the current task when a signal comes."""
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()

        def on_signal(number: int) -> None:
            if self.number or task is None:
                workers.kill()
            else:
                self.number = number
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, on_signal, number)


async def _with_workers(work: Work, interrupt: _Interrupt) -> None:
    async with running() as workers:
        interrupt.watch(workers)
        await work(workers)
    for text in workers.left_badly:
        print(f"note: {text}", file=sys.stderr)


def _work_of(arguments: Sequence[str], console: Console) -> Work:
    """What the arguments ask for. SystemExit, as argparse does, if they are wrong."""
    command = shlex.join(["tools/bench", *arguments])
    others = {"scale": scale, "profile": profile}
    name = arguments[0] if arguments else ""
    module = others.get(name)
    parser = make_parser() if module is None else module.make_parser()
    options = parser.parse_args(arguments if module is None else arguments[1:])
    if module is None and not any(set(ROWS[row].contenders) & set(options.peers) for row in options.rows):
        parser.error("none of these peers is in one of these rows")
    if options.chart is not None:
        try:
            chart.check_chart(options.chart)
        except BenchError as error:
            parser.error(str(error))
    for path in (options.json, options.chart):
        if path is not None and not path.parent.is_dir():
            parser.error(f"{path.parent} is no folder")
    run = compare if module is None else module.run
    return lambda workers: run(options, console, command, workers)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    work = _work_of(sys.argv[1:] if arguments is None else arguments, console)
    interrupt = _Interrupt()
    try:
        asyncio.run(_with_workers(work, interrupt))
    except BenchError as error:
        print(f"\ntools/bench: {error}", file=sys.stderr)
        return 1
    except asyncio.CancelledError:
        print(f"\nEnded by {signal.Signals(interrupt.number).name}; every process has left.", file=sys.stderr)
        return 128 + interrupt.number
    return 0


if __name__ == "__main__":
    sys.exit(main())
