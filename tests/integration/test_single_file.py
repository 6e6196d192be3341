"""The forwarder as one executable file, which needs nothing of the system it runs on."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.integration.clusters import eventually
from tests.integration.forwarders import Lab, get, new_lab
from tests.integration.single_file import BUILD_S, single_file
from zmqagents._version import __version__
from zmqagents.keys import make_key

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(BUILD_S + 60)]

KEY = make_key()
NOTHING = {"PATH": ""}


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with new_lab() as made:
        yield made


@pytest.fixture
async def file() -> Path:
    return await asyncio.to_thread(single_file)


def test_file_tells_its_version_with_an_empty_environment() -> None:
    done = subprocess.run([single_file(), "--version"], env={}, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == f"zmqagents-forwarder {__version__}\n"
    assert 5_000_000 < single_file().stat().st_size < 40_000_000


async def test_file_relays_with_a_key_and_ends_when_told_to(lab: Lab, file: Path) -> None:
    environment = {**NOTHING, "ZMQAGENTS_CLUSTER_KEY": KEY}
    program = await lab.program("--health", "127.0.0.1:0", command=[str(file)], environment=environment)
    a, b = await lab.attached(program, key=KEY), await lab.attached(program, key=KEY)
    written = [a.write(b, b"x" * 100), a.write(b, b"y" * 300_000)]
    await b.until(lambda: len(b.got) == 2)
    assert b.got == written
    assert (await get(program.health, "/healthz"))[0] == 200
    await program.stop()


async def test_nothing_goes_on_when_the_file_is_killed(lab: Lab, file: Path, tmp_path: Path) -> None:
    program = await lab.program(command=[str(file)], environment={**NOTHING, "TMPDIR": str(tmp_path)})
    started = psutil.Process(program.pid).children(recursive=True)
    assert started
    program.kill()
    await eventually(lambda: not any(process.is_running() for process in started))
