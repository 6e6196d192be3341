"""A connection's life as the monitor's events tell it, without a network."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio
import zmq

from tests.contract.transports import eventually
from zmqagents.transport.endpoints import parse_endpoint
from zmqagents.transport.zeromq.dialling import Connection, Reports

ENDPOINT = "tcp://127.0.0.1:5555"
CONNECTED, SUCCEEDED, DISCONNECTED, RETRIED = (
    int(event)
    for event in (
        zmq.EVENT_CONNECTED,
        zmq.EVENT_HANDSHAKE_SUCCEEDED,
        zmq.EVENT_DISCONNECTED,
        zmq.EVENT_CONNECT_RETRIED,
    )
)


class DiallingSocket:
    """Notes what is dialled."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def set(self, option: int, value: int) -> None:
        pass

    def connect(self, endpoint: str) -> None:
        self.calls.append("connect " + endpoint)

    def disconnect(self, endpoint: str) -> None:
        self.calls.append("disconnect " + endpoint)


class Dialled:
    def __init__(self) -> None:
        self.said: list[str] = []
        self.socket = DiallingSocket()
        reports = Reports(
            up=lambda: self.said.append("up"),
            down=lambda: self.said.append("down"),
            refused=lambda: self.said.append("refused"),
            stray=self.said.append,
        )
        loop = asyncio.get_running_loop()
        self.connection = Connection(loop, self.socket, parse_endpoint(ENDPOINT), reports, redial_ms=10)  # type: ignore[arg-type]
        self.socket.calls.clear()

    def hear(self, *events: tuple[int, int]) -> None:
        for event, value in events:
            self.connection.handle(event, value)


@pytest_asyncio.fixture
async def dialled() -> Dialled:
    return Dialled()


async def test_connection_is_up_after_the_handshake_only(dialled: Dialled) -> None:
    before = dialled.connection.up
    dialled.hear((CONNECTED, 7))
    connected = dialled.connection.up
    dialled.hear((SUCCEEDED, 0))
    assert (before, connected, dialled.connection.up) == (False, False, True)
    assert dialled.said == ["up"]


async def test_connection_that_was_never_up_does_not_go_down(dialled: Dialled) -> None:
    dialled.hear((CONNECTED, 7), (DISCONNECTED, 7), (RETRIED, 50))
    assert dialled.said == []


async def test_end_of_an_earlier_connection_is_ignored(dialled: Dialled) -> None:
    dialled.hear((CONNECTED, 7), (SUCCEEDED, 0), (DISCONNECTED, 6))
    assert dialled.connection.up
    assert dialled.said == ["up"]


async def test_lost_connection_is_left_to_libzmq_when_it_retries(dialled: Dialled) -> None:
    witness = Dialled()
    dialled.hear((CONNECTED, 7), (SUCCEEDED, 0), (DISCONNECTED, 7), (RETRIED, 50))
    witness.hear((CONNECTED, 7), (SUCCEEDED, 0), (DISCONNECTED, 7))
    await eventually(lambda: bool(witness.socket.calls), "the dial of what libzmq has given up")
    assert witness.socket.calls == ["disconnect " + ENDPOINT, "connect " + ENDPOINT]
    assert witness.said[:2] == ["up", "down"]
    assert dialled.socket.calls == []


@pytest.mark.parametrize(
    ("event", "text"),
    [
        (zmq.EVENT_HANDSHAKE_FAILED_AUTH, "does not admit our key"),
        (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, "breaks ZMTP"),
        (zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL, "ended the handshake"),
    ],
)
async def test_failed_handshake_is_reported_once_until_one_succeeds(dialled: Dialled, event: int, text: str) -> None:
    failure = [(CONNECTED, 7), (int(event), 400), (DISCONNECTED, 7), (RETRIED, 50)]
    dialled.hear(*failure, *failure, *failure)
    assert len(dialled.said) == 1
    assert dialled.said[0].startswith(f"{ENDPOINT} {text}")
    dialled.hear((CONNECTED, 7), (SUCCEEDED, 0), (DISCONNECTED, 7), (RETRIED, 50), *failure)
    assert len(dialled.said) == 4


async def test_handshake_that_nobody_answers_is_no_stray(dialled: Dialled, monkeypatch: pytest.MonkeyPatch) -> None:
    dialled.hear((CONNECTED, 7))
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now + 2)
    dialled.hear((int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL), 111))
    assert dialled.said == []


async def test_closed_connection_says_and_dials_nothing(dialled: Dialled) -> None:
    witness = Dialled()
    dialled.hear((CONNECTED, 7), (DISCONNECTED, 7))
    dialled.connection.close()
    dialled.hear((CONNECTED, 8), (SUCCEEDED, 0), (DISCONNECTED, 8))
    witness.hear((CONNECTED, 7), (DISCONNECTED, 7))
    await eventually(lambda: bool(witness.socket.calls), "the dial of what libzmq has given up")
    assert dialled.said == []
    assert dialled.socket.calls == []
