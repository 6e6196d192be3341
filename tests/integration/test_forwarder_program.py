"""The forwarder as a program: signals, logs, the health endpoint, many nodes, and strangers."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from tests.integration.clusters import within
from tests.integration.flood import flood
from tests.integration.forwarders import Lab, clean_environment, get, lines_of, metrics, new_lab
from tests.integration.processes import Launch
from zmqagents._version import __version__
from zmqagents.keys import make_key

pytestmark = pytest.mark.integration

MIB = 1 << 20
HEALTH = ("--health", "127.0.0.1:0")
KEY, OTHER_KEY = make_key(), make_key()


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with new_lab() as made:
        yield made


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_sends_the_nodes_away_and_ends_it_with_0(lab: Lab, number: signal.Signals) -> None:
    program = await lab.program(*HEALTH)
    a, b = await lab.attached(program), await lab.attached(program)
    assert (await get(program.health, "/healthz"))[0] == 200
    program.signal(number)
    await a.until(lambda: a.byes)
    status, body = await get(program.health, "/healthz")
    assert (status, '"status": "draining"' in body) == (503, True)
    a.write(b)
    await b.until(lambda: b.got)
    assert await program.exit_code() == 0


async def test_second_signal_ends_it_at_once(lab: Lab) -> None:
    program = await lab.program("--drain", "60")
    a = await lab.attached(program)
    program.signal(signal.SIGTERM)
    await a.until(lambda: a.byes)
    program.signal(signal.SIGTERM)
    assert await program.exit_code(5) == 0


async def test_log_is_one_json_object_a_line_when_asked_for(lab: Lab) -> None:
    program = await lab.program("--log-format", "json", "--log-level", "debug")
    a = await lab.attached(program)
    await program.log("is attached")
    await program.stop()
    lines = lines_of(program)
    assert [set(line) for line in lines] == [{"time", "level", "logger", "message"}] * len(lines)
    assert lines[0]["message"].startswith("forwarder ")
    assert "without a cluster key" in lines[0]["message"]
    assert a.node_id[:4].hex() in lines[1]["message"]
    assert lines[0]["time"].endswith("Z")


async def test_key_comes_by_file_or_environment_and_shows_nowhere(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "cluster.key"
    file.write_text(f"{KEY}\n{OTHER_KEY}\n", encoding="utf-8")
    by_file = await lab.program("--key-file", str(file), "--log-level", "debug", bind="tcp://0.0.0.0:0")
    by_file.endpoint = by_file.endpoint.replace("0.0.0.0", "127.0.0.1")
    environment = {**clean_environment(), "ZMQAGENTS_CLUSTER_KEY": KEY, "ZMQAGENTS_FORWARDER_LOG_LEVEL": "debug"}
    by_environment = await lab.program(environment=environment)
    for program in (by_file, by_environment):
        await lab.attached(program, key=KEY)
        assert "with a cluster key" in program.stderr
        assert KEY not in program.stderr
        assert KEY not in " ".join(psutil.Process(program.pid).cmdline())


async def test_node_without_the_key_costs_one_line(lab: Lab) -> None:
    program = await lab.program(environment={**clean_environment(), "ZMQAGENTS_CLUSTER_KEY": KEY})
    lab.node(program, key=OTHER_KEY)
    await program.log("no connection with 127.0.0.1: a connection from it was refused: it has another cluster key")
    member = await lab.attached(program, key=KEY)
    await member.until(lambda: member.roster == {member.node_id})
    assert program.stderr.count("no connection") == 1


async def test_health_endpoint_answers_probes_and_prometheus(lab: Lab) -> None:
    program = await lab.program(*HEALTH, "--max-peers", "10")
    a, b = await lab.attached(program), await lab.attached(program)
    a.write(b, b"x" * 100)
    await b.until(lambda: b.got)
    status, body = await get(program.health, "/healthz?verbose")
    assert status == 200
    assert '"attached": 2' in body
    found = await metrics(program.health)
    assert found[f'info{{version="{__version__}"}}'] == 1
    assert (found["attached_nodes"], found["relayed_envelopes_total"], found["max_nodes"]) == (2, 1, 10)
    assert found["relayed_bytes_total"] > 100
    assert 0 < found["uptime_seconds"] < 60
    assert (await get(program.health, "/healthz", "HEAD")) == (200, "")
    assert (await get(program.health, "/other"))[0] == 404
    assert (await get(program.health, "/healthz", "POST"))[0] == 405


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (b"\x00\xff\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /healthz\r\n\r\n", b"HTTP/1.1 400 "),
        (b"GET /healthz HTTP/1.1\r\nX: " + b"x" * 10_000, b"HTTP/1.1 431 "),
        (b"", b""),
    ],
    ids=["garbage", "HTTP/0.9", "long", "nothing"],
)
async def test_health_endpoint_refuses_what_is_no_request(lab: Lab, request_bytes: bytes, answer: bytes) -> None:
    forwarder = await lab.forwarder(health="127.0.0.1:0")
    host, _, port = forwarder.health_address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(request_bytes)
    if not request_bytes:
        writer.write_eof()
    assert (await within(reader.read())).startswith(answer)
    writer.close()


async def test_health_endpoint_drops_those_who_say_nothing_and_too_many(lab: Lab) -> None:
    forwarder = await lab.forwarder(health="127.0.0.1:0")
    host, _, port = forwarder.health_address.rpartition(":")
    silent = [await asyncio.open_connection(host, int(port)) for _ in range(64)]
    one_more, its_writer = await asyncio.open_connection(host, int(port))
    assert await within(one_more.read()) == b""
    assert await within(silent[0][0].read()) == b""  # after 5 s
    assert (await get(forwarder.health_address, "/healthz"))[0] == 200
    for writer in (its_writer, *(writer for _, writer in silent)):
        writer.close()


async def test_program_says_what_is_wrong_and_ends(lab: Lab) -> None:
    program = await lab.program(*HEALTH)
    for arguments, status, text in (
        (["--bind", program.endpoint], 1, "the port is taken"),
        (["--bind", "tcp://127.0.0.1:0", "--health", program.health], 1, "can't listen there"),
        (["--bind", "tcp://0.0.0.0:0"], 2, "--insecure-lan"),
        (["--key-file", "/nowhere"], 2, "--key-file '/nowhere' can't be read"),
        (["--max-peers", "0"], 2, "--max-peers"),
    ):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "zmqagents.forwarder", *arguments),
            stderr=asyncio.subprocess.PIPE,
            env=clean_environment(),
        )
        _, said = await within(process.communicate())
        assert (process.returncode, text in said.decode()) == (status, True), said
        assert b"Traceback" not in said


@pytest.mark.slow
async def test_thousand_idle_nodes_cost_little(lab: Lab, launch: Launch) -> None:
    program = await lab.program(*HEALTH)
    crowd = await launch("raw_nodes", endpoint=program.endpoint, cluster=lab.name, count=1_000)
    await crowd.report("attached", 40)
    watcher = await lab.attached(program)
    assert len(watcher.roster) == 1_001
    process = psutil.Process(program.pid)
    before = process.cpu_times()
    await asyncio.sleep(5)  # what is measured
    after = process.cpu_times()
    rss_mib = process.memory_info().rss / MIB
    cpu = (after.user + after.system - before.user - before.system) / 5
    sys.stdout.write(f"1,000 idle nodes: {rss_mib:.0f} MiB, {cpu:.1%} of a core\n")
    assert rss_mib < 200
    assert cpu < 0.3
    assert (await metrics(program.health))["attached_nodes"] == 1_001
    crowd.kill()
    await watcher.until(lambda: watcher.roster == {watcher.node_id}, deadline_s=10)


@pytest.mark.slow
@pytest.mark.parametrize("key", [KEY, None], ids=["key", "no key"])
async def test_random_bytes_over_a_thousand_connections_leave_members_their_relay(
    lab: Lab, launch: Launch, key: str | None
) -> None:
    environment = {**clean_environment(), **({"ZMQAGENTS_CLUSTER_KEY": key} if key else {})}
    program = await lab.program(environment=environment)
    a, b = await lab.attached(program, key=key), await lab.attached(program, key=key)
    relayed, slowest_s = 0, 0.0
    loop = asyncio.get_running_loop()
    async with flood(launch, program.pid, program.endpoint, key=key is not None) as over:
        while not over.is_set():
            begun_s = loop.time()
            a.write(b, b"x" * 100)
            relayed += 1
            await b.until(lambda: len(b.got) >= relayed)  # noqa: B023 - it is over before the next
            slowest_s = max(slowest_s, loop.time() - begun_s)
            await asyncio.sleep(0.01)
    sys.stdout.write(f"{relayed} relayed, slowest {slowest_s:.2f} s\n")
    assert slowest_s < 3
    assert relayed > 100
    assert b.roster == {a.node_id, b.node_id}
