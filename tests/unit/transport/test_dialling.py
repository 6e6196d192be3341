"""A connection's life as the monitor's events tell it, without a network."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
import pytest_asyncio
import zmq

from tests.contract.transports import eventually
from zmqagents.transport.endpoints import parse_endpoint
from zmqagents.transport.zeromq.curve import KeyPair
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
PROTOCOL = int(zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL)
ENDED = int(zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL)


class DiallingSocket:
    """Notes what is dialled."""

    def __init__(self) -> None:
        self.calls: list[str] = []

        self.keys: list[bytes] = []
        self._key = b""

    def set(self, option: int, value: int | bytes) -> None:
        if option == zmq.CURVE_SERVERKEY and isinstance(value, bytes):
            self._key = value

    def connect(self, endpoint: str) -> None:
        self.calls.append("connect " + endpoint)
        self.keys.append(self._key)

    def disconnect(self, endpoint: str) -> None:
        self.calls.append("disconnect " + endpoint)


class Dialled:
    def __init__(self, *pairs: KeyPair) -> None:
        self.said: list[str] = []
        self.socket = DiallingSocket()
        reports = Reports(
            up=lambda: self.said.append("up"),
            down=lambda: self.said.append("down"),
            refused=lambda: self.said.append("refused"),
            stray=self.said.append,
            turned_away=self.said.append,
        )
        loop = asyncio.get_running_loop()
        self.connection = Connection(
            loop,
            self.socket,  # type: ignore[arg-type]
            parse_endpoint(ENDPOINT),
            reports,
            redial_ms=10,
            pairs=pairs,
        )
        self.socket.calls.clear()

    def hear(self, *events: tuple[int, int]) -> None:
        for event, value in events:
            self.connection.handle(event, value)

    async def calls(self, count: int) -> None:
        """Wait until so many calls on the socket were made."""
        await eventually(lambda: len(self.socket.calls) >= count, f"{count} calls")


def turned_away(failure: tuple[int, int]) -> list[tuple[int, int]]:
    """What a monitor says of a peer that ends the handshake."""
    return [(CONNECTED, 7), (int(failure[0]), int(failure[1])), (DISCONNECTED, 7), (RETRIED, 50)]


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


async def test_broken_protocol_is_reported_once_until_a_handshake_succeeds(dialled: Dialled) -> None:
    failure = [(CONNECTED, 7), (PROTOCOL, 0x10000001), (DISCONNECTED, 7), (RETRIED, 50)]
    dialled.hear(*failure, *failure, *failure)
    assert len(dialled.said) == 1
    assert dialled.said[0].startswith(f"{ENDPOINT} breaks ZMTP")
    dialled.hear((CONNECTED, 7), (SUCCEEDED, 0), (DISCONNECTED, 7), (RETRIED, 50), *failure)
    assert len(dialled.said) == 4


OURS, OTHER = KeyPair(b"o" * 32), KeyPair(b"x" * 32)


@pytest.mark.parametrize(
    ("pairs", "failure", "text"),
    [
        ((OURS,), (zmq.EVENT_HANDSHAKE_FAILED_AUTH, 400), "does not admit this process's cluster key"),
        (
            (OURS,),
            (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH),
            "has no cluster key, and this process has one",
        ),
        ((), (PROTOCOL, zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH), "has a cluster key, and this process has none"),
        ((OURS,), (ENDED, 32), "ended the handshake: it has another cluster key"),
        ((), (ENDED, 32), "ended the handshake: it has a cluster key and this process has none"),
    ],
)
async def test_peer_with_other_keys_is_dialled_a_few_times_then_told_of_and_left_alone(
    pairs: tuple[KeyPair, ...], failure: tuple[int, int], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zmqagents.transport.zeromq.dialling._QUICK_S", (0.0, 0.001, 0.001, 0.001))
    dialled = Dialled(*pairs)
    for times in range(1, 5):
        dialled.hear(*turned_away(failure))
        await dialled.calls(2 * times)
        assert dialled.said == []
    dialled.hear(*turned_away(failure))
    await dialled.calls(9)
    assert dialled.socket.calls == ["disconnect " + ENDPOINT, "connect " + ENDPOINT] * 4 + ["disconnect " + ENDPOINT]
    [said] = dialled.said
    assert said.startswith(f"{ENDPOINT} {text}")
    assert said.endswith("It is dialled again in 10 s")
    dialled.hear((CONNECTED, 8), (SUCCEEDED, 0))  # of the time before it was left alone
    assert not dialled.connection.up


async def test_waits_for_a_peer_with_other_keys_grow_to_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    dialled = Dialled(OURS)
    loop = asyncio.get_running_loop()
    call_later = loop.call_later

    def call_soon(delay: float, callback: Callable[..., object], *arguments: object) -> asyncio.Handle:
        if callback != dialled.connection._dial_anew:
            return call_later(delay, callback, *arguments)
        waits.append(delay)
        return loop.call_soon(callback)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "call_later", call_soon)
        for times in range(20):
            dialled.hear(*turned_away((ENDED, 32)))
            await dialled.calls(2 * (times + 1))
    assert waits[:8] == [0.0, 0.05, 0.1, 0.2, 10.0, 20.0, 40.0, 60.0]
    assert set(waits[8:]) == {60.0}


async def test_other_key_is_tried_at_once_and_kept_while_it_is_taken() -> None:
    dialled = Dialled(OURS, OTHER)
    dialled.hear((CONNECTED, 7), (ENDED, 32), (DISCONNECTED, 7), (RETRIED, 50))
    await eventually(lambda: len(dialled.socket.keys) == 2, "a dial with the other key")
    dialled.hear((CONNECTED, 8), (SUCCEEDED, 0), (DISCONNECTED, 8))
    await eventually(lambda: len(dialled.socket.keys) == 3, "the dial of what libzmq has given up")
    assert dialled.socket.keys == [OURS.public, OTHER.public, OTHER.public]
    assert dialled.said[:2] == ["up", "down"]


async def test_failures_that_come_in_one_go_count_once() -> None:
    dialled = Dialled(OURS)
    dialled.hear(*[(CONNECTED, 7), (ENDED, 32), (DISCONNECTED, 7), (RETRIED, 50)] * 20)
    await eventually(lambda: "connect " + ENDPOINT in dialled.socket.calls, "another dial")
    assert dialled.said == []


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
