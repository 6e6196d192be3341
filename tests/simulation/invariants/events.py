"""Events arrive once and in order, and none vanishes."""

from __future__ import annotations

from collections import Counter

from tests.simulation.invariants.base import Invariant, Run, is_keyed
from zmqagents.protocol.ids import AgentKey, NodeId


class EventOrder(Invariant):
    """An agent hears each event once, and those of one publisher in order.

    Excused is an event that some process has sent anew, because its link with the next was lost while it was
    unfinished there: it may be heard again, and behind later ones that were not lost. Under gentle faults nothing is.
    """

    name = "event order"

    def __init__(self, run: Run) -> None:
        super().__init__(run)
        self._read: Counter[NodeId] = Counter()
        self._heard: set[tuple[AgentKey, str]] = set()
        self._last: dict[tuple[AgentKey, str], int] = {}
        """By agent and publisher: the number of the last event heard for the first time."""

    def check(self) -> None:
        new: list[tuple[float, str, AgentKey, str]] = []
        for process in self.run.everybody:
            for at_s, key, message_id in process.hearings[self._read[process.node_id] :]:
                new.append((at_s, process.name, key, message_id))
            self._read[process.node_id] = len(process.hearings)
        for _, where, key, message_id in sorted(new, key=lambda hearing: hearing[0]):
            self._check_one(where, key, message_id)

    def _check_one(self, where: str, key: AgentKey, message_id: str) -> None:
        if (key, message_id) in self._heard:
            if not self._excused(message_id):
                raise self.fail(f"{key} at {where} heard {message_id} again")
            return
        self._heard.add((key, message_id))
        if not is_keyed(key):
            return
        event, _, publisher = message_id.partition("@")
        number = int(event.strip("abcdefghijklmnopqrstuvwxyz"))
        last = self._last.get((key, publisher), -1)
        if number < last and not self._excused(message_id):
            raise self.fail(f"{key} at {where} heard {message_id} after number {last}")
        self._last[key, publisher] = max(number, last)

    def _excused(self, message_id: str) -> bool:
        return not self.run.gentle and any(message_id in process.sent_anew for process in self.run.everybody)

    def check_end(self) -> None:
        self.check()


class NoEventLost(Invariant):
    """Whatever a process that lives has published was heard by each recipient, or is known to be dead."""

    name = "no event lost"

    def check_end(self) -> None:
        ended = {(key, message_id) for process in self.run.everybody for key, message_id in process.dead}
        ended |= {(key, message_id) for process in self.run.everybody for _, key, message_id in process.hearings}
        for publisher in self.run.alive:
            for message_id, keys in publisher.published.items():
                for key in keys:
                    if (key, message_id) not in ended:
                        raise self.fail(f"{message_id} did not reach {key}, and nobody said so")
