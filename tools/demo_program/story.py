"""What the demo shows: each report as a line with its time, tables of who found whom and of the calls, and totals."""

from __future__ import annotations

import math
import statistics
import time

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from . import reports
from .children import DemoError
from .messages import NUMBERS

PROCESSES = {"worker-1": "worker", "worker-2": "worker", "coordinator": "coordinator"}
LISTENERS = {"worker-1", "worker-2"}


class Story:
    """Takes the reports in the order in which they come and shows them; knows when all has been told."""

    def __init__(self, console: Console, cluster: str) -> None:
        self._console = console
        self._started_s = time.monotonic()
        self._found: dict[str, reports.Found] = {}
        self._answers: list[reports.Answered] = []
        self._published: reports.Published | None = None
        self._received: dict[str, reports.Received] = {}
        console.rule("zmqagents: three processes, no broker")
        self._say(self._started_s, f"cluster [bold]{cluster}[/]: every process is on its own until it finds the others")

    def started(self, name: str, pid: int) -> None:
        """Tell that the conductor has started a process."""
        self._say(time.monotonic(), f"started   {_name(name)} as process {pid}")

    @property
    def complete(self) -> bool:
        """Whether everything that was to happen has been reported."""
        return (
            self._found.keys() == PROCESSES.keys()
            and len(self._answers) == len(NUMBERS)
            and self._published is not None
            and self._received.keys() == LISTENERS
        )

    @property
    def missing(self) -> str:
        """What has not been reported, in words."""
        parts = [f"{name} has not found the others" for name in PROCESSES if name not in self._found]
        if len(self._answers) < len(NUMBERS):
            parts.append(f"{len(self._answers)} of {len(NUMBERS)} calls were answered")
        parts += [f"{name} has not received the event" for name in sorted(LISTENERS - self._received.keys())]
        if self._published is None:
            parts.append("the event was not published")
        return ", ".join(parts)

    def tell(self, name: str, report: reports.AnyReport) -> None:
        """Show one report. Raises DemoError if it says something wrong."""
        match report:
            case reports.Up(pid=pid):
                self._say(report.at_s, f"joined    {_name(name)} (process {pid})")
            case reports.Found():
                self._tell_found(name, report)
            case reports.Answered():
                self._tell_answered(report)
            case reports.Published(answers=answers):
                self._published = report
                self._say(report.at_s, f"event     {_name(name)} publishes: {answers} numbers are factorised")
            case reports.Received():
                self._tell_received(name, report)

    def conclude(self) -> None:
        """Show the totals; for a story that is complete."""
        took = [answer.took_ms for answer in self._answers]
        processes = {answer.process for answer in self._answers}
        self._console.rule("totals")
        self._console.print(
            f"{len(PROCESSES)} processes, 0 brokers · {len(took)} calls, all answered, by {len(processes)} "
            f"process{'es' if len(processes) > 1 else ''}, median {statistics.median(took):.1f} ms, "
            f"slowest {max(took):.1f} ms · 1 event to {len(self._received)} processes · "
            f"{time.monotonic() - self._started_s:.1f} s from the first start to the last exit"
        )

    def _tell_found(self, name: str, report: reports.Found) -> None:
        others = PROCESSES.keys() - {name}
        unknown = others - {peer.name for peer in report.peers}
        if unknown:
            raise DemoError(f"{name} does not know {', '.join(sorted(unknown))}, only {report.peers}")
        self._found[name] = report
        for peer in sorted(report.peers, key=lambda peer: peer.name):
            self._say(report.at_s, f"found     {_name(name)} found {_name(peer.name)} by {escape(peer.source)}")
        if self._found.keys() == PROCESSES.keys():
            self._show_hosts()

    def _tell_answered(self, report: reports.Answered) -> None:
        if math.prod(report.factors) != report.number:
            raise DemoError(f"{report.process} answered {report.factors} for {report.number}")
        self._answers.append(report)
        if len(self._answers) == len(NUMBERS):
            self._say(report.at_s, f"calls     all {len(NUMBERS)}, made at once, are answered")
            self._show_answers()

    def _tell_received(self, name: str, report: reports.Received) -> None:
        if name in self._received:
            raise DemoError(f"{name} received the event twice")
        self._received[name] = report
        self._say(report.at_s, f"received  {_name(name)}: agent {escape(report.agent)} has the event")

    def _show_hosts(self) -> None:
        table = Table("process", "listens on", "hosts the agent types", title="Who hosts what", title_justify="left")
        peers = {peer.name: peer for found in self._found.values() for peer in found.peers}
        for name in PROCESSES:
            peer = peers[name]
            table.add_row(_name(name), escape(peer.endpoint), escape(", ".join(sorted(peer.agent_types))))
        self._console.print(table)

    def _show_answers(self) -> None:
        table = Table("called agent", "lives in", "answer", title="Calls of the coordinator", title_justify="left")
        table.add_column("took", justify="right")
        for answer in sorted(self._answers, key=lambda answer: answer.number):
            product = " x ".join(map(str, answer.factors))
            row = f"worker/{answer.number}", _name(answer.process), f"{answer.number} = {product}"
            table.add_row(*row, f"{answer.took_ms:.1f} ms")
        self._console.print(table)

    def _say(self, at_s: float, text: str) -> None:
        self._console.print(f"[dim]{at_s - self._started_s:6.3f} s[/]  {text}", highlight=False, soft_wrap=True)


def _name(name: str) -> str:
    colour = {"worker-1": "cyan", "worker-2": "magenta", "coordinator": "green"}.get(name, "white")
    return f"[{colour}]{escape(name)}[/]"
