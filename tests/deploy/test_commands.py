"""The commands of examples/deploy do their work, with the arguments and environments that its files give."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.deploy.files import DEPLOY, compose_containers, manifest_containers
from tests.deploy.pods import Site, new_site
from tests.deploy.stories import answers, meet_at_forwarders, meet_without_forwarders, named, start_ready
from tests.integration.clusters import within

pytestmark = pytest.mark.integration


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    async with new_site(Site(tmp_path)) as site:
        yield site


async def test_pods_meet_at_two_forwarders_behind_one_name(site: Site) -> None:
    await meet_at_forwarders(site)


async def test_pods_meet_without_forwarders_behind_one_name(site: Site) -> None:
    await meet_without_forwarders(site)


async def test_services_of_the_compose_file_work_together(site: Site) -> None:
    containers = list(compose_containers())
    for name in ("forwarder-1", "forwarder-2"):
        await start_ready(site, named(containers, name), site.give(name, 1))
    workers = await start_ready(site, named(containers, "worker"), site.give("worker", 2))
    labels = {pod.program.lines[0].removesuffix(": started") for pod in workers}
    assert await answers(site, named(containers, "caller")) == labels
    await within(site.stop(), 30)


async def test_worker_is_alive_but_not_ready_before_it_has_joined(site: Site) -> None:
    worker = named(list(manifest_containers(DEPLOY / "kubernetes" / "worker.yaml")), "worker")
    ready, alive = worker.probes
    site.give("forwarder", 1)  # where nobody answers: the start waits for it
    [address] = site.give("worker", 1)
    pod = await site.start(worker, address, "worker-0")
    await pod.until(alive)
    assert (await pod.get(ready))[0] == 503
    await pod.until(ready)
    await within(site.stop(), 30)
