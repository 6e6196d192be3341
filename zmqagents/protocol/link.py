"""The reliable session with one peer (SPEC.md sections 4 and 5).

Promised: every data frame given to ``send`` is delivered at the peer once and in order while the link lives, whatever
the paths below lose, repeat or reorder; when the link is reset, its owner is told which frames were certainly never
on a path, and which may have arrived.

How: TCP's scheme (sequence numbers, cumulative acknowledgement, a window) on whole frames. Rejected: re-sending by
timer as TCP does, since a peer whose program is busy for a minute acknowledges nothing and would be flooded; a PING
that travels behind the data asks instead, and only its answer proves loss. Rejected: numbering envelopes instead of
frames, since frames are batched anew when they are sent again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from zmqagents.errors import LocalProtocolError, MessageTooLargeError, RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import encode_envelope
from zmqagents.protocol.ids import NodeId
from zmqagents.protocol.tuples import made
from zmqagents.protocol.windows import weight_bytes


class Status(Enum):
    """Where a link stands (SPEC.md section 4)."""

    IDLE = auto()
    GREETING = auto()
    UP = auto()


class Greeting(Enum):
    """What to do about a HELLO or WELCOME that came."""

    IGNORE = auto()  # it speaks of a life of the link that is over
    GREET = auto()  # the peer believes in a life of ours that is over: answer with our own HELLO
    ADOPTED = auto()  # the link is up, all that was unacknowledged will be sent again
    RESET_FIRST = auto()  # the peer has lost the link: reset, then offer the greeting again


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """Bounds and times of SPEC.md section 5."""

    window_frames: int = 1_024
    window_bytes: int = 32 << 20
    ack_delay_s: float = 0.02
    ack_frames: int = 256
    probe_after_s: float = 1.0
    probe_max_s: float = 8.0
    batch_frames: int = 256
    """Frames in one envelope: enough to spread the cost of a ZeroMQ message, short of delaying the first of them."""
    batch_bytes: int = 1 << 20


class Queued(NamedTuple):
    """A data frame with its number and its weight in the window."""

    number: int
    frame: f.DataFrame
    size_bytes: int


class Abandoned(NamedTuple):
    """What a reset leaves, each in order: what the peer has not acknowledged."""

    maybe_delivered: list[Queued]
    never_sent: list[Queued]


@dataclass(slots=True)
class LinkCounters:
    """What happened on a link, for metrics."""

    duplicates: int = 0
    stale_envelopes: int = 0
    resends: int = 0
    gaps: int = 0


class Link:
    """One peer's link; ``transmit`` gives the envelopes to send, ``deadline_s`` says when to ask for them again."""

    __slots__ = (
        "_ack_at_s",
        "_delivered",
        "_early",
        "_early_bytes",
        "_gap_seen",
        "_gap_told_at",
        "_greeting_out",
        "_highest_sent",
        "_inflight_bytes",
        "_limits",
        "_next_number",
        "_outlived",
        "_probe",
        "_probe_at_s",
        "_probe_token",
        "_probe_wait_s",
        "_queued",
        "_unacked",
        "_unacked_in",
        "_waiting_bytes",
        "counters",
        "own",
        "peer",
        "peer_session",
        "session",
        "status",
        "up",
    )

    def __init__(self, own: NodeId, peer: NodeId, session: int, limits: LinkLimits | None = None) -> None:
        self.own = own
        self.peer = peer
        self._limits = limits or LinkLimits()
        self.counters = LinkCounters()
        self._outlived = 0
        """The peer's newest session that an earlier life of ours had adopted."""
        self._start(session)

    def _start(self, session: int) -> None:
        self.session = session
        self.peer_session = 0
        self.status = Status.IDLE
        self.up = False
        """Whether ``status`` is UP: data may flow."""
        self._next_number = 1
        self._highest_sent = 0
        self._queued: deque[Queued] = deque()
        self._unacked: deque[Queued] = deque()
        self._inflight_bytes = 0
        self._waiting_bytes = 0  # of what is queued or unacknowledged
        self._delivered = 0
        self._early: dict[int, f.DataFrame] = {}
        self._early_bytes = 0
        self._gap_seen = False
        self._gap_told_at = -1
        """The last number delivered when a gap was last told of: each gap is told of once."""
        self._greeting_out = False
        """Whether a HELLO of ours has had no answer."""
        self._unacked_in = 0
        self._ack_at_s: float | None = None
        self._probe_at_s: float | None = None
        self._probe_wait_s = self._limits.probe_after_s
        self._probe_token = 0
        self._probe: tuple[int, int] | None = None

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, frame: f.DataFrame, size_bytes: int = 0) -> int:
        """Queue a data frame that weighs ``size_bytes`` in the window; returns its sequence number."""
        number = self._next_number
        self._next_number = number + 1
        self._queued.append(made(Queued, (number, frame, size_bytes)))
        self._waiting_bytes += size_bytes
        return number

    def has_room(self) -> bool:
        """Whether a new frame of no great size would leave with the next transmission rather than wait for the peer."""
        waiting = len(self._queued) + len(self._unacked)
        return not waiting or (waiting < self._limits.window_frames and self._waiting_bytes < self._limits.window_bytes)

    @property
    def is_at_rest(self) -> bool:
        """Whether there is nothing to transmit, now or later, unless something new comes or is sent."""
        return not self._queued and self._ack_at_s is None and self._probe_at_s is None

    def is_quiet(self) -> bool:
        """Whether everything sent has been acknowledged."""
        return not self._queued and not self._unacked

    @property
    def progress(self) -> tuple[int, int, int]:
        """Another value after every data frame, either way, and every reset."""
        return (self.session, self._next_number, self._delivered)

    @property
    def waiting_frames(self) -> int:
        """Frames that are queued or unacknowledged."""
        return len(self._queued) + len(self._unacked)

    def _admits(self, size_bytes: int) -> bool:
        """Whether the window takes one frame more, of ``size_bytes``; an empty window takes any."""
        limits = self._limits
        return not self._unacked or (
            len(self._unacked) < limits.window_frames and self._inflight_bytes + size_bytes <= limits.window_bytes
        )

    def _can_take(self) -> bool:
        return bool(self._queued) and self._admits(self._queued[0].size_bytes)

    def wants_transmit(self, now_s: float) -> bool:
        """Whether ``transmit`` would give something now."""
        if not self.up:
            return False
        if self._can_take():
            return True
        due = self.deadline_s()
        return due is not None and due <= now_s

    def transmit(self, now_s: float) -> list[list[f.Part]]:
        """The multipart messages to send now: data that the window admits, and ACK and PING when they are due."""
        if not self.up:
            return []
        messages: list[list[f.Part]] = []
        while self._queued:
            first = self._queued[0].number
            frames = self._take_batch()
            if not frames:
                break
            self._encode_batch(first, frames, messages)
        if messages:
            if not self._gap_seen:
                self._ack_at_s = None
                self._unacked_in = 0
            if self._probe_at_s is None:
                self._probe_at_s = now_s + self._probe_wait_s
        controls: list[f.ControlFrame] = []
        if self._ack_at_s is not None and self._ack_at_s <= now_s:
            controls.append(f.Ack(self._gap_seen))
            self._acked_now()
        if self._probe_at_s is not None and self._probe_at_s <= now_s:
            controls.append(self._make_probe(now_s))
        if controls:
            messages.append(encode_envelope(self.envelope(controls)))
        return messages

    def _take_batch(self) -> list[f.Frame]:
        """The frames of the next envelope, as many as the window admits; they count as sent."""
        batch: list[f.Frame] = []
        batch_bytes = 0
        limits = self._limits
        queued, unacked = self._queued, self._unacked
        while queued and len(batch) < limits.batch_frames:
            entry = queued[0]
            size = entry.size_bytes
            if (batch and batch_bytes + size > limits.batch_bytes) or (unacked and not self._admits(size)):
                break
            queued.popleft()
            batch.append(entry.frame)
            batch_bytes += size
            unacked.append(entry)
            self._inflight_bytes += size
        if batch and unacked[-1].number > self._highest_sent:
            self._highest_sent = unacked[-1].number
        return batch

    def _encode_batch(self, first: int, frames: list[f.Frame], messages: list[list[f.Part]]) -> None:
        """Encode frames from number ``first`` on as one envelope, or as several if long texts exceed its header."""
        envelope = f.Envelope(self.own, self.peer, self.session, first, self.peer_session, self._delivered, frames)
        try:
            messages.append(encode_envelope(envelope))
        except MessageTooLargeError:
            if len(frames) == 1:
                raise
            middle = len(frames) // 2
            self._encode_batch(first, frames[:middle], messages)
            self._encode_batch(first + middle, frames[middle:], messages)

    def envelope(self, controls: Iterable[f.ControlFrame]) -> f.Envelope:
        """An envelope of control frames with this link's acknowledgement in its header."""
        return f.Envelope(self.own, self.peer, self.session, 0, self.peer_session, self._delivered, list(controls))

    def _acked_now(self) -> None:
        self._ack_at_s = None
        self._unacked_in = 0
        self._gap_seen = False

    def _make_probe(self, now_s: float) -> f.Ping:
        self._probe_token += 1
        self._probe = (self._probe_token, self._highest_sent)
        self._probe_wait_s = min(self._probe_wait_s * 2, self._limits.probe_max_s)
        self._probe_at_s = now_s + self._probe_wait_s
        return f.Ping(self._probe_token, self._highest_sent)

    def resend(self) -> None:
        """Queue everything unacknowledged again, in order, ahead of what is new."""
        if self._unacked:
            self.counters.resends += len(self._unacked)
            self._queued.extendleft(reversed(self._unacked))
            self._unacked.clear()
            self._inflight_bytes = 0
        self._probe = None
        self._probe_at_s = None

    # -- greeting ----------------------------------------------------------------------------------------------

    def path_usable(self) -> None:
        """A path came up: a HELLO goes out on it (SPEC.md section 4)."""
        self._greeting_out = True
        if self.status is Status.IDLE:
            self.status = Status.GREETING

    def hello(self, session: int, known_session: int) -> Greeting:
        """A HELLO came. On RESET_FIRST call ``reset`` and offer it again."""
        if known_session not in (0, self.session):
            return Greeting.GREET
        if session < self.peer_session or session == 0:
            self.counters.stale_envelopes += 1
            return Greeting.IGNORE
        if known_session == 0 and session <= self._outlived and session != self.peer_session:
            return Greeting.GREET  # frames of that session were delivered in a life that is over
        if self.status is Status.UP and session > self.peer_session:
            return Greeting.RESET_FIRST
        self._adopt(session)
        return Greeting.ADOPTED

    def welcome(self, session: int, known_session: int) -> Greeting:
        """A WELCOME came."""
        if known_session != self.session or session == 0 or session < self.peer_session:
            self.counters.stale_envelopes += 1
            return Greeting.IGNORE
        if self.status is Status.UP and session > self.peer_session:
            return Greeting.RESET_FIRST
        if self.status is Status.UP and not self._greeting_out:
            return Greeting.IGNORE  # a second answer: nothing has been lost since the first
        self._adopt(session)
        return Greeting.ADOPTED

    def _adopt(self, session: int) -> None:
        self.peer_session = session
        self.status = Status.UP
        self.up = True
        self._greeting_out = False
        self._probe_wait_s = self._limits.probe_after_s
        self.resend()

    def reset(self, session: int) -> Abandoned:
        """End both directions; the next life has our ``session``. Says what becomes of what was on its way."""
        if session <= self.session:
            raise LocalProtocolError(f"session {session} does not follow {self.session}")
        left = [*self._unacked, *self._queued]
        sent = self._highest_sent
        abandoned = Abandoned(
            [entry for entry in left if entry.number <= sent], [entry for entry in left if entry.number > sent]
        )
        self._outlived = max(self._outlived, self.peer_session)
        self._start(session)
        return abandoned

    # -- receiving ---------------------------------------------------------------------------------------------

    def receive(self, envelope: f.Envelope, now_s: float) -> list[tuple[int, f.DataFrame]]:
        """Take the header of any envelope, and its data frames; returns those to deliver, in order, with their numbers.

        Raises RemoteProtocolError, changing nothing, if it acknowledges what was never sent.
        """
        ours = envelope.ack_session == self.session
        if ours and envelope.ack > self._highest_sent:
            raise RemoteProtocolError(
                WireCode.BAD_FIELD, f"acknowledges {envelope.ack} where {self._highest_sent} was the last sent"
            )
        if self.status is Status.GREETING and ours and envelope.session:
            self._adopt(envelope.session)
        if envelope.session != self.peer_session or not self.up:
            self.counters.stale_envelopes += envelope.first > 0
            return []
        if ours:
            self._acknowledged(envelope.ack, now_s)
        if envelope.first == 0:
            return []
        if not ours:  # it speaks of an earlier session of ours (EVENT_DONE does), and ends when its sender knows ours
            self.counters.stale_envelopes += 1
            return []
        return self._deliver(envelope.first, envelope.frames, now_s)  # type: ignore[arg-type]  # first > 0: data frames

    def _acknowledged(self, ack: int, now_s: float) -> None:
        unacked = self._unacked
        while self._queued and self._queued[0].number <= ack:  # queued again, yet it had arrived
            self._waiting_bytes -= self._queued.popleft().size_bytes
        if not unacked or unacked[0].number > ack:
            return
        while unacked and unacked[0].number <= ack:
            size = unacked.popleft().size_bytes
            self._inflight_bytes -= size
            self._waiting_bytes -= size
        if self._probe is not None and self._probe[1] <= ack:
            self._probe = None
        self._probe_wait_s = self._limits.probe_after_s
        self._probe_at_s = now_s + self._probe_wait_s if unacked else None

    def _deliver(self, first: int, frames: list[f.DataFrame], now_s: float) -> list[tuple[int, f.DataFrame]]:
        expected = self._delivered + 1
        if first > expected:
            self._keep_early(first, frames)
            if self._gap_told_at != self._delivered:
                self._gap_told_at = self._delivered
                self._gap_seen = True
                self._ack_at_s = now_s
                self.counters.gaps += 1
            return []
        if first < expected:
            duplicates = expected - first
            self.counters.duplicates += min(duplicates, len(frames))
            frames = frames[duplicates:]
        fresh = list(enumerate(frames, expected))
        number = expected + len(fresh)
        while self._early:
            early = self._early.pop(number, None)
            if early is None:
                break
            fresh.append((number, early))
            number += 1
        self._delivered = number - 1
        if self._early_bytes:
            self._early = {n: frame for n, frame in self._early.items() if n >= number}
            self._early_bytes = sum(map(weight_bytes, self._early.values()))
        self._unacked_in += max(len(fresh), 1)
        if self._unacked_in >= self._limits.ack_frames:
            self._ack_at_s = now_s
        elif self._ack_at_s is None:
            self._ack_at_s = now_s + self._limits.ack_delay_s
        return fresh

    def _keep_early(self, first: int, frames: list[f.DataFrame]) -> None:
        for number, frame in enumerate(frames, first):
            size = weight_bytes(frame)
            in_window = number <= self._delivered + self._limits.window_frames
            if number in self._early or not in_window or self._early_bytes + size > self._limits.window_bytes:
                continue  # it will be sent again
            self._early[number] = frame
            self._early_bytes += size

    def peer_acks(self, frame: f.Ack) -> None:
        """An ACK came (its header has been taken by ``receive``)."""
        if frame.gap:
            self.resend()

    def pong(self, frame: f.Pong, ack: int) -> None:
        """A PONG came with ``ack`` in its header: an answer to our last PING that lacks frames proves their loss."""
        if self._probe is not None and frame.token == self._probe[0]:
            last = self._probe[1]
            self._probe = None
            if ack < last:
                self.resend()

    # -- time --------------------------------------------------------------------------------------------------

    def deadline_s(self) -> float | None:
        """When ``transmit`` is due for an acknowledgement or a probe; None if for neither."""
        if not self.up:
            return None
        if self._ack_at_s is None:
            return self._probe_at_s
        return self._ack_at_s if self._probe_at_s is None else min(self._ack_at_s, self._probe_at_s)
