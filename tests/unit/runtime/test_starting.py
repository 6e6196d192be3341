"""Handlers that must not start: their call is given up, or its deadline has passed, before they are called."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from autogen_core import MessageContext, RoutedAgent, message_handler

from tests.integration.agents import agent
from tests.integration.clusters import eventually, within
from tests.integration.messages import Text
from tests.unit.runtime.by_hand import ByHand
from tests.unit.runtime.wired import WiredCluster
from zmqagents import CallTimeoutError, ZmqAgentRuntime
from zmqagents.protocol import frames as f


class Noting(RoutedAgent):
    """Notes what its handler is called with."""

    def __init__(self, begun: list[str]) -> None:
        super().__init__("notes")
        self._begun = begun

    @message_handler
    async def on_text(self, message: Text, ctx: MessageContext) -> Text:
        self._begun.append(message.content)
        return message


class Host(ByHand):
    """A runtime with an agent that is made once ``made`` is set."""

    def __init__(self, runtime: ZmqAgentRuntime, peer: ZmqAgentRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(runtime, peer, monkeypatch)
        self.begun: list[str] = []
        self.made = asyncio.Event()
        self.asked = asyncio.Event()

    async def make(self) -> Noting:
        self.asked.set()
        await self.made.wait()
        return Noting(self.begun)

    async def answered(self) -> list[tuple[int, int]]:
        """Call ids and error codes, 0 for a REPLY, once a last call has been answered."""
        self.made.set()
        self.feed(request(99))
        await eventually(lambda: any(answer.call_id == 99 for answer in self.answers))
        return [
            (answer.call_id, answer.code if isinstance(answer, f.Error) else 0)
            for answer in self.answers
            if answer.call_id != 99
        ]


def request(call_id: int, timeout_ms: int | None = None) -> f.Request:
    payload = f'{{"content":"{call_id}"}}'.encode()
    return f.Request(call_id, "noting/k", "m", None, "Text", "application/json", timeout_ms, 0, None, payload)


@pytest.fixture
async def host(wired: WiredCluster, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Host]:
    runtime = wired.make(cancel_grace_s=60.0)
    holder: list[Host] = []
    await Noting.register(runtime, "noting", lambda: holder[0].make())  # noqa: PLW0108 - it is made later
    await within(runtime.start())
    holder.append(Host(runtime, await wired.host(), monkeypatch))
    yield holder[0]
    holder[0].made.set()


@pytest.mark.parametrize("made", [True, False])
async def test_handler_does_not_start_when_its_cancel_is_read_right_behind_its_request(host: Host, made: bool) -> None:
    if made:
        await host.answered()
        host.answers.clear()
    host.feed(request(1), f.Cancel(1))
    assert await host.answered() == [(1, f.ErrorCode.CANCELLED)]
    assert "1" not in host.begun


async def test_handler_does_not_start_when_it_is_cancelled_while_its_agent_is_made(host: Host) -> None:
    host.feed(request(1), request(2))
    await within(host.asked.wait())
    host.feed(f.Cancel(1))
    await eventually(lambda: [answer.call_id for answer in host.answers] == [1])
    assert await host.answered() == [(1, f.ErrorCode.CANCELLED), (2, 0)]
    assert sorted(host.begun) == ["2", "99"]


async def test_handler_does_not_start_after_its_deadline_when_its_agent_took_long_to_make(host: Host) -> None:
    host.feed(request(1, timeout_ms=20), request(2, timeout_ms=60_000))
    await within(host.asked.wait())
    await asyncio.sleep(0.03)
    assert await host.answered() == [(1, f.ErrorCode.DEADLINE), (2, 0)]
    assert host.begun == ["2", "99"]


async def test_handler_does_not_start_after_its_deadline_when_the_program_was_busy_meanwhile(host: Host) -> None:
    await host.answered()
    host.answers.clear()
    host.feed(request(1, timeout_ms=20))
    time.sleep(0.03)  # noqa: ASYNC251 - what is tested
    assert await host.answered() == [(1, f.ErrorCode.DEADLINE)]
    assert "1" not in host.begun


async def test_local_handler_does_not_start_after_its_deadline_when_the_program_was_busy_meanwhile(host: Host) -> None:
    await host.answered()
    call = asyncio.ensure_future(host.runtime.send_message(Text("late"), agent("noting", "k"), timeout_s=0.02))
    loop = asyncio.get_running_loop()
    loop.call_soon(time.sleep, 0.03)
    with pytest.raises(CallTimeoutError):
        await within(call)
    assert await within(host.runtime.send_message(Text("next"), agent("noting", "k"))) == Text("next")
    assert "late" not in host.begun
