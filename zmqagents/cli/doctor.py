"""``zmqagents doctor``: what would keep a process with these settings from working, and what to do about it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import typer

from zmqagents.cli.checks import cluster as around
from zmqagents.cli.checks import host, key, network
from zmqagents.cli.checks.findings import Finding, Status, fail, ok
from zmqagents.cli.output import print_json, print_note, print_table, printable
from zmqagents.cli.session import FAILED, run
from zmqagents.cli.target import Target
from zmqagents.config import RuntimeConfig
from zmqagents.discovery.interfaces import Adapter, choose, list_adapters, multicast_error
from zmqagents.errors import ConfigError

SETTINGS = "settings"


def examine(target: Target, *, wait_s: float, as_json: bool, verbose: bool) -> None:
    """Run all checks and print their findings. Raises typer.Exit(1) if one of them fails."""

    async def work() -> None:
        findings = await find(target, wait_s)
        failed = any(finding.status is Status.FAIL for finding in findings)
        if as_json:
            worst = max((finding.status for finding in findings), key=list(Status).index)
            print_json({"status": worst.value, "findings": [finding.as_document() for finding in findings]})
        else:
            _print(findings)
        if failed:
            raise typer.Exit(FAILED)

    run(work, as_json=as_json, verbose=verbose)


async def find(target: Target, wait_s: float) -> list[Finding]:
    """The findings of all checks that can be made; those that need what another check found missing are left out."""
    findings = [key.check_cluster_key(target), host.check_open_files(), host.check_clock()]
    try:
        config = target.config()
    except ConfigError as error:
        if findings[0].status is not Status.FAIL:
            findings.insert(0, fail(SETTINGS, str(error), "correct the option or variable that the text names"))
        return findings
    findings.insert(0, ok(SETTINGS, _summary(config)))
    exposure = key.check_exposure(config)
    if exposure is not None:
        findings.append(exposure)
    adapters = list_adapters()
    findings += await asyncio.to_thread(_check_network, config, adapters)
    try:
        look = await around.look_around(target, wait_s)
    except ConfigError as error:
        return [
            *findings,
            network.check_ports(config, adapters, ()),
            fail(around.CLUSTER, f"can't join: {error}", "correct the setting that the text names"),
        ]
    return [
        *findings,
        network.check_ports(config, adapters, look.peers),
        around.check_cluster(config, look),
        around.check_strangers(look),
        around.check_versions(look),
        around.check_sizes(config, look),
        around.check_others_clocks(look),
        around.check_policies(look),
    ]


def _check_network(config: RuntimeConfig, adapters: Sequence[Adapter]) -> list[Finding]:
    try:
        choice = choose(config.interfaces, adapters, multicast_error)
    except ConfigError as error:
        return [fail(network.INTERFACES, str(error), "correct --interface (interfaces=)")]
    found = [network.check_interfaces(config, adapters, choice)]
    if choice.addresses:
        found.append(network.check_multicast(config, choice.addresses))
    return found


def _summary(config: RuntimeConfig) -> str:
    seeds = f", seeds {', '.join(config.seeds)}" if config.seeds else ""
    return f"cluster {config.cluster!r}, discovery {config.discovery}{seeds}, listening on {', '.join(config.listen)}"


def _print(findings: list[Finding]) -> None:
    if sys.stdout.isatty():
        print_table(
            ("CHECK", "", "SEEN", "WHAT TO DO"), [(f.check, f.status.value, f.seen, f.advice) for f in findings]
        )
    else:
        for finding in findings:
            typer.echo(printable(f"{finding.status.value:<4}  {finding.check}: {finding.seen}"))
            if finding.advice:
                typer.echo(printable(f"      do: {finding.advice}"))
    bad = sum(finding.status is Status.FAIL for finding in findings)
    unsure = sum(finding.status is Status.WARN for finding in findings)
    print_note(f"{len(findings)} checks, {bad} failed, {unsure} to look at")
