"""A runtime that is fed data frames by hand, as if a peer had sent them, and what that peer reads in answer."""

from __future__ import annotations

import pytest

from tests.integration.clusters import eventually, node_of
from zmqagents import ZmqAgentRuntime
from zmqagents.protocol import frames as f
from zmqagents.protocol.peers import Peer


class ByHand:
    """``runtime`` with its answers to ``peer``, which reads nothing but them from now on."""

    def __init__(self, runtime: ZmqAgentRuntime, peer: ZmqAgentRuntime, monkeypatch: pytest.MonkeyPatch) -> None:
        running = runtime._lifecycle.running
        assert running is not None
        self.runtime = runtime
        self.running = running
        self.peer_id = node_of(peer).node_id
        self.answers: list[f.Reply | f.Error] = []
        self._number = 0

        def receive(peer: Peer, number: int, frame: f.DataFrame, now_s: float) -> None:
            if isinstance(frame, (f.Reply, f.Error)):
                self.answers.append(frame)

        monkeypatch.setattr(node_of(peer).traffic, "receive", receive)

    def feed(self, *frames: f.DataFrame) -> None:
        """The frames come, one right behind the other."""
        node = self.running.node
        for frame in frames:
            self._number += 1
            node.traffic.receive(node.state.peer(self.peer_id), self._number, frame, self.running.driver.now_s)
        self.running.driver.perform()

    async def to(self, frame: f.Request | f.Agent) -> f.Reply | f.Error:
        """The answer to one frame."""
        self.feed(frame)
        await eventually(lambda: self.answers)
        return self.answers.pop()
