"""The command line of the net lab."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from tools.netlab_program.lab import PREFIX, Lab, label_of, labs, remove
from tools.netlab_program.shell import NetlabError
from tools.netlab_program.topologies import MAX_HOSTS, NAMES, Topology, flat, named

STATUS_INTERRUPTED = 130
EXAMPLES = """topologies:
{topologies}

examples:
  tools/netlab up nat                                    make it, and list its hosts with their addresses
  tools/netlab exec nat out1 python worker.py            run a command on one of its hosts
  tools/netlab exec nat left1 bash                       or look around there
  tools/netlab cut flat a b                              from now on nothing of a arrives at b; back it goes
  tools/netlab cut flat b a                              now nothing passes
  tools/netlab heal flat a b                             undo the first
  tools/netlab list                                      which labs there are, those of tests too
  tools/netlab down nat                                  end what runs in it, and remove it
  tools/netlab down --all                                remove all of them
  tools/netlab run flat --hosts 5 -- ./try.sh            up, the command, and down again, however it ends; the
                                                         command finds the topology's name in $NETLAB

Needs root, iproute2 and nftables. Nothing of this machine's own network is touched: everything is in network
namespaces whose names begin with {prefix}.

exit status: 0, 1 if something could not be done, 2 for wrong arguments, 130 after Ctrl-C; of exec and run, that of the
command
"""


def make_parser() -> argparse.ArgumentParser:
    """The command line."""
    topologies = "\n".join(f"  {name:<9}{named(name).about}" for name in NAMES)
    parser = argparse.ArgumentParser(
        prog="tools/netlab",
        description="Makes networks of hosts on this machine, to run processes on and to cut the cables of.",
        epilog=EXAMPLES.format(topologies=topologies, prefix=PREFIX),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in (("up", "make a lab"), ("run", "make a lab, run a command, and remove the lab")):
        command = commands.add_parser(name, help=about)
        command.add_argument("topology", choices=NAMES)
        command.add_argument("--hosts", type=_count, default=3, help="hosts of flat (default: 3)")
        if name == "run":
            command.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD", help="what to run")
    command = commands.add_parser("exec", help="run a command on a host")
    command.add_argument("topology", choices=NAMES)
    command.add_argument("host")
    command.add_argument("argv", nargs=argparse.REMAINDER, metavar="CMD", help="what to run")
    for name, about in (("cut", "let nothing of one host arrive at another"), ("heal", "the end of cut")):
        command = commands.add_parser(name, help=about)
        command.add_argument("topology", choices=NAMES)
        command.add_argument("sender")
        command.add_argument("receiver")
    command = commands.add_parser("down", help="end what runs in a lab, and remove it")
    which = command.add_mutually_exclusive_group(required=True)
    which.add_argument("topology", choices=NAMES, nargs="?")
    which.add_argument("--all", action="store_true", help="all labs, those that killed tests have left behind too")
    commands.add_parser("list", help="show the labs that there are")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= MAX_HOSTS:
        raise argparse.ArgumentTypeError(f"write a number from 1 to {MAX_HOSTS}")
    return count


def _command(parser: argparse.ArgumentParser, argv: list[str]) -> list[str]:
    command = argv[1:] if argv[:1] == ["--"] else argv
    if not command:
        parser.error("no command to run: write it at the end")
    return command


def describe(topology: Topology) -> str:
    """Its hosts, a line for each."""
    lines = []
    for node in topology.nodes:
        addresses = ", ".join(address.partition("/")[0] for port in node.ports for address in port.addresses)
        lines.append(f"  {node.name:<13}{addresses}{'  (NAT router)' if node.hides is not None else ''}")
    lines += [f"  nothing of {sender} arrives at {receiver}" for sender, receiver in topology.cuts]
    return "\n".join(lines)


def standing(name: str) -> Lab:
    """The lab of that topology that is there. Raises NetlabError if there is none."""
    topology = named(name)
    hosts = labs().get(label_of(topology))
    if hosts is None:
        raise NetlabError(f"there is no lab {name}: make it with tools/netlab up {name}")
    if name == "flat":
        topology = flat([host for host in named(name, MAX_HOSTS).names if host in hosts])
    return Lab(label_of(topology), topology)


def up(topology: Topology) -> Lab:
    """Make the lab. Raises NetlabError if it is there already."""
    label = label_of(topology)
    if label in labs():
        raise NetlabError(f"the lab {topology.name} is there already: tools/netlab down {topology.name} removes it")
    lab = Lab(label, topology)
    lab.make()
    return lab


def run_in(topology: Topology, command: list[str]) -> int:
    """The command's exit status; the lab is removed however it ends."""
    lab = up(topology)
    try:
        environment = {**os.environ, "NETLAB": topology.name}
        return subprocess.run(command, env=environment, check=False).returncode
    except OSError as error:
        raise NetlabError(f"{command[0]} can't be run: {error.strerror}") from None
    finally:
        remove(lab.label)


def down(*labels: str) -> int:
    """Remove labs. Raises NetlabError if there was nothing of one."""
    for label in labels:
        if not remove(label):
            raise NetlabError(f"there is no lab {label.removeprefix(PREFIX).removeprefix('lab-')}")
        print(f"removed {label}")
    return 0


def perform(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    """Do what the command line asks for. Raises NetlabError."""
    if options.command == "list":
        for label, hosts in labs().items():
            print(f"{label}: {', '.join(hosts)}")
        return 0
    if options.command == "down":
        return down(*(labs() if options.all else [label_of(named(options.topology))]))
    if options.command == "up":
        lab = up(named(options.topology, options.hosts))
        print(f"{lab.topology.name}: {lab.topology.about}\n{describe(lab.topology)}")
        return 0
    if options.command == "run":
        return run_in(named(options.topology, options.hosts), _command(parser, options.argv))
    lab = standing(options.topology)
    if options.command == "exec":
        command = [*lab.inside(options.host), *_command(parser, options.argv)]
        sys.stdout.flush()
        os.execvp(command[0], command)  # noqa: S606 - in this process's place: signals reach the command
    elif options.command == "cut":
        lab.cut(options.sender, options.receiver)
    else:
        lab.heal(options.sender, options.receiver)
    return 0


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise KeyboardInterrupt


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    if os.geteuid() != 0:
        print("tools/netlab: making network namespaces needs root: start it with sudo", file=sys.stderr)
        return 1
    signal.signal(signal.SIGTERM, _interrupt)  # so that what was made is removed
    try:
        return perform(parser, options)
    except NetlabError as error:
        print(f"tools/netlab: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted.", file=sys.stderr)
        return STATUS_INTERRUPTED
