"""Two links with a hostile path between them: it loses, repeats and reorders, and either side may lose its link."""

from __future__ import annotations

from collections import defaultdict

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import decode_envelope, encode_envelope
from zmqagents.protocol.link import Greeting, Link, LinkLimits, Status
from zmqagents.protocol.windows import weight_bytes

SIZES = (0, 0, 150, 300, 1_500)  # of payloads: a window takes several of them, except of the last
LIMITS = LinkLimits(window_frames=4, window_bytes=1_200, batch_frames=2, batch_bytes=700, ack_frames=3)
GREET_AGAIN_S = 0.5
HEALED_WITHIN_S = 60.0


class Side:
    """One end: its link, what it has sent in each of its lives, and what it has delivered."""

    def __init__(self, own: bytes, peer: bytes) -> None:
        self.link = Link(own, peer, 1, LIMITS)
        self.outbox: list[list[f.Part]] = []
        """Envelopes on their way to the other side."""
        self.history: list[list[f.Part]] = []
        """Every envelope that was ever sent."""
        self.greet_at_s: float | None = None
        self.sent: defaultdict[int, list[int]] = defaultdict(list)
        self.never_delivered: set[int] = set()
        """What was lost with a life of the link and certainly never came to the other side."""
        self.delivered: defaultdict[int, list[int]] = defaultdict(list)
        """By session of the other side."""

    def send(self, value: int, size_bytes: int) -> None:
        frame = f.Reply(value, "", "", bytes(size_bytes))
        number = self.link.send(frame, weight_bytes(frame))
        self.sent[self.link.session].append(value)
        assert number == len(self.sent[self.link.session])

    def greet(self, now_s: float, *, forget: bool = False) -> None:
        self.link.path_usable()
        known = 0 if forget else self.link.peer_session
        self._control(f.Hello(1, 1, [], "", known, b""))
        self.greet_at_s = now_s + GREET_AGAIN_S

    def close(self) -> None:
        """End the link because of something illegal, tell why, and greet later."""
        self._control(f.Bye(1, ""))
        self.reset()

    def reset(self, *, certain: bool = False) -> None:
        """``certain``: the other side has said BYE."""
        session, status = self.link.session, self.link.status
        abandoned = self.link.reset(session + 1)
        left = [*abandoned.maybe_delivered, *abandoned.never_sent]
        values = self.sent[session]
        assert [entry.number for entry in left] == list(range(len(values) - len(left) + 1, len(values) + 1))
        assert status is Status.UP or not abandoned.maybe_delivered
        never = left if certain else abandoned.never_sent
        self.never_delivered.update(values[entry.number - 1] for entry in never)
        self.greet_at_s = None

    def transmit(self, now_s: float) -> None:
        if self.greet_at_s is not None and self.greet_at_s <= now_s:
            self.greet(now_s)
        for parts in self.link.transmit(now_s):
            self._put(parts)
        due_s = self.link.deadline_s()
        assert due_s is None or due_s > now_s
        assert not self.link.wants_transmit(now_s)

    def receive(self, parts: list[f.Part], now_s: float) -> None:
        envelope = decode_envelope(parts)
        fresh = self.link.receive(envelope, now_s)
        if envelope.first:
            self._deliver(fresh)
            return
        for frame in envelope.frames:
            if isinstance(frame, f.Hello):
                self._hello(envelope.session, frame, now_s)
            elif isinstance(frame, f.Welcome):
                self._welcome(envelope.session, frame, now_s)
            elif isinstance(frame, f.Bye):
                if self.link.status is Status.UP and envelope.session == self.link.peer_session:
                    self.reset(certain=True)
                    self.greet_at_s = now_s + GREET_AGAIN_S
            elif isinstance(frame, f.Ping):
                self._control(f.Pong(frame.token))
            elif envelope.ack_session == self.link.session:
                self._answer(frame, envelope.ack)

    def _hello(self, session: int, frame: f.Hello, now_s: float) -> None:
        outcome = self.link.hello(session, frame.known_session)
        if outcome is Greeting.RESET_FIRST:
            self.reset()
            outcome = self.link.hello(session, 0)
        if outcome is Greeting.GREET:
            self.greet(now_s, forget=True)
        elif outcome is Greeting.ADOPTED:
            self._control(f.Welcome(1, [], "", session, b""))
            self.greet_at_s = None

    def _welcome(self, session: int, frame: f.Welcome, now_s: float) -> None:
        outcome = self.link.welcome(session, frame.known_session)
        if outcome is Greeting.RESET_FIRST:
            self.reset()
            self.greet(now_s)
        elif outcome is Greeting.ADOPTED:
            self.greet_at_s = None

    def _answer(self, frame: f.Frame, ack: int) -> None:
        if isinstance(frame, f.Ack):
            self.link.peer_acks(frame)
        elif isinstance(frame, f.Pong):
            self.link.pong(frame, ack)

    def _deliver(self, fresh: list[tuple[int, f.DataFrame]]) -> None:
        delivered = self.delivered[self.link.peer_session]
        for number, frame in fresh:
            assert isinstance(frame, f.Reply)
            delivered.append(frame.call_id)
            assert number == len(delivered), "each number once and in order, in whichever life"

    def _control(self, frame: f.ControlFrame) -> None:
        self._put(encode_envelope(self.link.envelope([frame])))

    def _put(self, parts: list[f.Part]) -> None:
        self.outbox.append(parts)
        self.history.append(parts)


class LinkMachine(RuleBasedStateMachine):
    """Anything may happen to envelopes; what the links promise holds all the same."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 100.0
        self.values = 0
        self.sides = (Side(b"A" * 16, b"B" * 16), Side(b"B" * 16, b"A" * 16))

    sides_ = st.sampled_from([0, 1])

    @initialize(greets=st.sampled_from([(0,), (1,), (0, 1)]))
    def start(self, greets: tuple[int, ...]) -> None:
        for side in greets:
            self.sides[side].greet(self.now_s)

    @rule(side=sides_, count=st.integers(1, 6), size_bytes=st.sampled_from(SIZES))
    def send(self, side: int, count: int, size_bytes: int) -> None:
        for _ in range(count):
            self.values += 1
            self.sides[side].send(self.values, size_bytes)

    @rule(side=sides_)
    def transmit(self, side: int) -> None:
        self.sides[side].transmit(self.now_s)

    @rule()
    def run_for_a_round(self) -> None:
        for _ in range(2):
            self.exchange()

    @rule(elapsed_s=st.sampled_from([0.01, 0.03, 0.5, 1.0, 9.0]))
    def wait(self, elapsed_s: float) -> None:
        self.now_s += elapsed_s

    @precondition(lambda self: any(side.outbox for side in self.sides))
    @rule(side=sides_, index=st.integers(0, 100), lost=st.booleans())
    def envelope_arrives_out_of_order(self, side: int, index: int, lost: bool) -> None:
        """In place of those before it, which come later; or it is lost."""
        side = side if self.sides[side].outbox else 1 - side
        outbox = self.sides[side].outbox
        parts = outbox.pop(index % len(outbox))
        if not lost:
            self.sides[1 - side].receive(parts, self.now_s)

    @precondition(lambda self: any(side.history for side in self.sides))
    @rule(side=sides_, indexes=st.lists(st.integers(0, 100), min_size=1, max_size=4))
    def old_envelopes_come_again(self, side: int, indexes: list[int]) -> None:
        side = side if self.sides[side].history else 1 - side
        history = self.sides[side].history
        for index in indexes:
            self.sides[1 - side].receive(history[index % len(history)], self.now_s)

    @rule(side=sides_, loses=st.booleans())
    def path_is_replaced(self, side: int, loses: bool) -> None:
        """What is on its way either dies with the old path, or comes late."""
        if loses:
            for one in self.sides:
                one.outbox.clear()
        self.sides[side].greet(self.now_s)

    @rule(side=sides_, greets=st.booleans())
    def link_is_lost(self, side: int, greets: bool) -> None:
        one = self.sides[side]
        one.reset()
        if greets:
            one.greet(self.now_s)

    @precondition(lambda self: any(side.link.status is Status.UP for side in self.sides))
    @rule(side=sides_)
    def link_is_closed_with_bye(self, side: int) -> None:
        one = self.sides[side] if self.sides[side].link.status is Status.UP else self.sides[1 - side]
        one.close()
        one.greet_at_s = self.now_s + GREET_AGAIN_S

    @invariant()
    def windows_are_bounded(self) -> None:
        for side in self.sides:
            link = side.link
            unacked = link._unacked
            assert len(unacked) <= LIMITS.window_frames
            assert sum(entry.size_bytes for entry in unacked) == link._inflight_bytes
            assert link._inflight_bytes <= LIMITS.window_bytes or len(unacked) == 1
            assert len(link._early) <= LIMITS.window_frames
            assert link._early_bytes <= LIMITS.window_bytes

    @invariant()
    def what_was_delivered_had_been_sent(self) -> None:
        for sender, receiver in (self.sides, self.sides[::-1]):
            for session, values in receiver.delivered.items():
                assert values == sender.sent[session][: len(values)]
                assert not sender.never_delivered.intersection(values)

    def exchange(self) -> None:
        for sender, receiver in (self.sides, self.sides[::-1]):
            sender.transmit(self.now_s)
            envelopes, sender.outbox = sender.outbox, []
            for parts in envelopes:
                receiver.receive(parts, self.now_s)

    def teardown(self) -> None:
        """The path is mended: whatever the last lives sent arrives."""
        for side in self.sides:
            side.greet(self.now_s)
        healed_s = self.now_s + HEALED_WITHIN_S
        while self.now_s < healed_s and not self.is_settled():
            self.exchange()
            self.now_s += 0.05
        assert self.is_settled()
        for sender, receiver in (self.sides, self.sides[::-1]):
            assert receiver.delivered[sender.link.session] == sender.sent[sender.link.session]

    def is_settled(self) -> bool:
        return all(side.link.status is Status.UP and side.link.is_quiet() and not side.outbox for side in self.sides)


TestLink = pytest.mark.slow(LinkMachine.TestCase)
TestLink.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
