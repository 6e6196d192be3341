from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator

import pytest

from tests.contract.transports import eventually
from zmqagents.transport.endpoints import Endpoint, parse_address, parse_endpoint
from zmqagents.transport.zeromq.refusal import Probe


@pytest.fixture(params=["127.0.0.1", "::1"])
def port(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as bound:
        bound.bind((request.param, 0))
        yield bound


def endpoint_of(port: socket.socket) -> Endpoint:
    return Endpoint(parse_address(port.getsockname()[0]), port.getsockname()[1])


async def test_port_where_nobody_listens_is_refused(port: socket.socket) -> None:
    refusals: list[None] = []
    probe = Probe(asyncio.get_running_loop(), endpoint_of(port), lambda: refusals.append(None))
    probe.start()
    await eventually(lambda: bool(refusals), "refusal")
    probe.start()
    await eventually(lambda: len(refusals) == 2, "second refusal")


async def test_port_that_accepts_is_not_refused(port: socket.socket) -> None:
    port.listen()
    port.setblocking(False)
    refusals: list[None] = []
    probe = Probe(asyncio.get_running_loop(), endpoint_of(port), lambda: refusals.append(None))
    probe.start()
    accepted, _ = await asyncio.get_running_loop().sock_accept(port)
    with accepted:
        accepted.setblocking(False)
        assert await asyncio.get_running_loop().sock_recv(accepted, 1) == b""  # the probe has hung up
    assert not refusals


async def test_address_that_cannot_be_reached_is_not_refused() -> None:
    refusals: list[None] = []
    probe = Probe(asyncio.get_running_loop(), parse_endpoint("tcp://255.255.255.255:9"), lambda: refusals.append(None))
    probe.start()  # fails at once: TCP has no broadcast
    probe.cancel()
    assert not refusals


async def test_cancelled_probe_says_nothing(port: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    refusals: list[None] = []
    loop = asyncio.get_running_loop()
    cancelled = Probe(loop, endpoint_of(port), lambda: refusals.append(None))
    other = Probe(loop, endpoint_of(port), lambda: refusals.append(None))
    cancelled.start()
    at_once = len(refusals)  # the kernel may know before the call returns
    cancelled.cancel()
    other.start()
    await eventually(lambda: len(refusals) > at_once, "refusal of the other probe")
    assert len(refusals) == at_once + 1
