"""What is to happen in a cluster to which the manifests of examples/deploy are applied, wherever its pods run."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from tests.deploy.files import DEPLOY, Container, manifest_containers
from tests.deploy.pods import Pod, Site
from tests.integration.clusters import within

_END_S = 30.0  # all of them end at once


def named(containers: Sequence[Container], name: str) -> Container:
    [found] = [container for container in containers if container.name == name]
    return found


async def start_ready(site: Site, container: Container, addresses: Sequence[str]) -> list[Pod]:
    """A pod at each of the addresses."""
    pods = [await site.start(container, address, f"{container.name}-{n}") for n, address in enumerate(addresses)]
    for pod in pods:
        await pod.ready()
        for probe in container.probes:
            assert await pod.passes(probe), f"{container}: {probe}"
    return pods


async def answers(site: Site, container: Container) -> set[str]:
    """Run the caller, and return who has answered."""
    [address] = site.give("caller", 1)
    lines = await site.finish(container, address, "caller-0")
    told = [re.fullmatch(r"caller: (\S+) has answered (\d+) of 40 questions", line) for line in lines]
    counts = {one[1]: int(one[2]) for one in told if one is not None}
    assert (len(counts), sum(counts.values())) == (len(lines), 40)
    return set(counts)


async def attached(pod: Pod) -> int:
    """How many processes a forwarder says are attached."""
    _, body = await pod.get(pod.container.probes[0])
    return int(json.loads(body)["attached"])


async def meet_at_forwarders(site: Site) -> None:
    """Two forwarders, two workers and a caller."""
    kubernetes = DEPLOY / "kubernetes"
    [forwarder] = manifest_containers(kubernetes / "forwarder.yaml")
    rest = list(manifest_containers(kubernetes / "worker.yaml"))
    forwarders = await start_ready(site, forwarder, site.give("forwarder", 2))
    await start_ready(site, named(rest, "worker"), site.give("worker", 2))
    assert [await attached(one) for one in forwarders] == [2, 2]
    assert await answers(site, named(rest, "caller")) == {"worker-0", "worker-1"}
    await within(site.stop(), _END_S)


async def meet_without_forwarders(site: Site) -> None:
    """Two workers and a caller."""
    containers = list(manifest_containers(DEPLOY / "kubernetes" / "brokerless.yaml"))
    await start_ready(site, named(containers, "worker-brokerless"), site.give("worker-brokerless", 2))
    who = await answers(site, named(containers, "caller-brokerless"))
    assert who == {"worker-brokerless-0", "worker-brokerless-1"}
    await within(site.stop(), _END_S)
