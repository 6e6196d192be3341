"""Events arrive once and in order, and none vanishes."""

from __future__ import annotations

from tests.simulation.invariants.base import Invariant, Run
from tests.simulation.process import Process
from zmqagents.protocol.ids import NodeId


class EventOrder(Invariant):
    """A receiver hears each event of a publisher at most once, in the order in which they were published."""

    name = "event order"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._read: dict[NodeId, int] = {}
        """How many of the events heard by a process have been looked at."""
        self._last: dict[tuple[NodeId, NodeId], int] = {}

    def check(self) -> None:
        by_id = {process.node_id: process for process in self.run.everybody}
        for receiver in self.run.everybody:
            begin = self._read.get(receiver.node_id, 0)
            for publisher_id, message_id in receiver.heard[begin:]:
                self._check_one(by_id[publisher_id], receiver, message_id)
            self._read[receiver.node_id] = len(receiver.heard)

    def _check_one(self, publisher: Process, receiver: Process, message_id: str) -> None:
        number = publisher.published.get((receiver.node_id, message_id))
        if number is None:
            raise self.fail(f"{receiver.name} heard {message_id}, which {publisher.name} did not send to it")
        way = (publisher.node_id, receiver.node_id)
        if number <= self._last.get(way, -1):
            raise self.fail(f"{receiver.name} heard {message_id} of {publisher.name} again, or after a later one")
        self._last[way] = number

    def check_end(self) -> None:
        self.check()


class NoEventLost(Invariant):
    """Whatever a process that lives has published was heard, or handed back to it."""

    name = "no event lost"

    def check_end(self) -> None:
        by_id = {process.node_id: process for process in self.run.everybody}
        heard = {
            process.node_id: {(peer, message_id) for peer, message_id in process.heard}
            for process in self.run.everybody
        }
        for publisher in self.run.alive:
            handed_back = set(publisher.abandoned)
            for receiver_id, message_id in publisher.published:
                arrived = (publisher.node_id, message_id) in heard[receiver_id]
                if not arrived and (receiver_id, message_id) not in handed_back:
                    raise self.fail(f"{message_id} of {publisher.name} to {by_id[receiver_id].name}")
