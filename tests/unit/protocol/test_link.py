"""One link: SPEC.md section 4 row by row, section 5 clause by clause. What hostile paths do is in tests/property."""

from __future__ import annotations

from typing import Any

import pytest

from zmqagents.errors import LocalProtocolError, MessageTooLargeError, RemoteProtocolError, WireCode
from zmqagents.protocol import frames as f
from zmqagents.protocol.codec import MAX_HEADER_BYTES, decode_envelope
from zmqagents.protocol.link import Greeting, Link, LinkLimits, Status
from zmqagents.protocol.windows import FRAME_WEIGHT_BYTES

OWN, PEER = b"O" * 16, b"P" * 16
OURS, THEIRS = 5, 9
"""Sessions of the two sides."""
NOW_S = 1_000.0


def make_link(status: Status = Status.UP, **limits: Any) -> Link:
    link = Link(OWN, PEER, OURS, LinkLimits(**limits))
    if status is not Status.IDLE:
        link.path_usable()
    if status is Status.UP:
        assert link.welcome(THEIRS, OURS) is Greeting.ADOPTED
    return link


def frames(first: int, *more: int) -> list[f.DataFrame]:
    """Data frames to tell apart by their numbers."""
    return [f.Cancel(number) for number in (first, *more)]


def from_peer(
    *numbers: int, session: int = THEIRS, ack: int = 0, ack_session: int = OURS, control: f.ControlFrame | None = None
) -> f.Envelope:
    """An envelope of data frames with consecutive numbers, or of a control frame."""
    content: list[f.Frame] = [*frames(*numbers)] if numbers else [control or f.Ack(gap=False)]
    return f.Envelope(PEER, OWN, session, numbers[0] if numbers else 0, ack_session, ack, content)


def receive(link: Link, *numbers: int, now_s: float = NOW_S, **header: Any) -> list[int]:
    """The numbers that the link delivers."""
    delivered = link.receive(from_peer(*numbers, **header), now_s)
    assert [frame for _, frame in delivered] == [f.Cancel(number) for number, _ in delivered]
    return [number for number, _ in delivered]


def send(link: Link, count: int, size_bytes: int = 0) -> None:
    for _ in range(count):
        link.send(f.Cancel(0), size_bytes)


def transmit(link: Link, now_s: float = NOW_S) -> list[f.Envelope]:
    return [decode_envelope(parts) for parts in link.transmit(now_s)]


def numbers_in(envelopes: list[f.Envelope]) -> list[int]:
    """The sequence numbers of the data frames in the envelopes."""
    return [number for e in envelopes if e.first for number in range(e.first, e.first + len(e.frames))]


def controls_in(envelopes: list[f.Envelope]) -> list[f.Frame]:
    return [frame for envelope in envelopes if not envelope.first for frame in envelope.frames]


class TestGreeting:
    """SPEC.md section 4."""

    def test_link_is_greeting_once_a_path_is_usable(self) -> None:
        link = make_link(Status.IDLE)
        link.path_usable()
        assert link.status is Status.GREETING

    def test_link_sends_no_data_before_it_is_up(self) -> None:
        for status in (Status.IDLE, Status.GREETING):
            link = make_link(status)
            send(link, 1)
            assert not link.wants_transmit(NOW_S)
            assert transmit(link) == []

    def test_greeting_link_is_up_when_welcome_names_its_session(self) -> None:
        link = make_link(Status.GREETING)
        assert link.welcome(THEIRS, OURS) is Greeting.ADOPTED
        assert (link.status, link.peer_session) == (Status.UP, THEIRS)

    def test_link_ignores_welcome_that_names_another_session(self) -> None:
        link = make_link(Status.GREETING)
        assert link.welcome(THEIRS, OURS - 1) is Greeting.IGNORE
        assert link.status is Status.GREETING
        assert link.counters.stale_envelopes == 1

    @pytest.mark.parametrize("status", [Status.IDLE, Status.GREETING])
    def test_link_is_up_when_hello_comes(self, status: Status) -> None:
        link = make_link(status)
        assert link.hello(THEIRS, 0) is Greeting.ADOPTED
        assert (link.status, link.peer_session) == (Status.UP, THEIRS)

    def test_up_link_sends_unacknowledged_again_when_hello_repeats_its_session(self) -> None:
        link = make_link()
        send(link, 3)
        transmit(link)
        assert link.hello(THEIRS, OURS) is Greeting.ADOPTED
        assert numbers_in(transmit(link)) == [1, 2, 3]

    def test_up_link_is_reset_when_hello_has_a_newer_session(self) -> None:
        link = make_link()
        send(link, 2)
        assert link.hello(THEIRS + 1, 0) is Greeting.RESET_FIRST
        link.reset(OURS + 1)
        assert link.hello(THEIRS + 1, 0) is Greeting.ADOPTED
        assert (link.session, link.peer_session, link.status) == (OURS + 1, THEIRS + 1, Status.UP)

    def test_up_link_is_reset_when_welcome_has_a_newer_session(self) -> None:
        link = make_link()
        assert link.welcome(THEIRS + 1, OURS) is Greeting.RESET_FIRST

    def test_link_ignores_hello_of_an_older_session(self) -> None:
        link = make_link()
        assert link.hello(THEIRS - 1, 0) is Greeting.IGNORE
        assert link.peer_session == THEIRS
        assert link.counters.stale_envelopes == 1

    def test_link_greets_peer_that_knows_a_session_of_ours_that_is_over(self) -> None:
        link = make_link(Status.IDLE)
        assert link.hello(THEIRS, OURS - 1) is Greeting.GREET
        assert link.status is Status.IDLE

    def test_link_greets_peer_whose_session_an_earlier_life_had_adopted(self) -> None:
        link = make_link()
        link.reset(OURS + 1)
        assert link.hello(THEIRS, 0) is Greeting.GREET
        assert link.hello(THEIRS, OURS + 1) is Greeting.ADOPTED, "it names our session, so it is no old one"

    def test_up_link_sends_again_after_the_first_answer_on_a_new_path_only(self) -> None:
        link = make_link()
        send(link, 2)
        transmit(link)
        link.path_usable()
        assert link.welcome(THEIRS, OURS) is Greeting.ADOPTED
        assert numbers_in(transmit(link)) == [1, 2]
        assert link.welcome(THEIRS, OURS) is Greeting.IGNORE
        assert transmit(link) == []

    def test_greeting_link_is_up_when_an_envelope_acknowledges_its_session(self) -> None:
        link = make_link(Status.GREETING)
        assert receive(link, 1) == [1]
        assert (link.status, link.peer_session) == (Status.UP, THEIRS)

    def test_greeting_link_stays_so_when_an_envelope_acknowledges_another_session(self) -> None:
        link = make_link(Status.GREETING)
        assert receive(link, 1, ack_session=OURS - 1) == []
        assert link.status is Status.GREETING

    @pytest.mark.parametrize("session", [THEIRS - 1, THEIRS + 1])
    def test_up_link_drops_and_counts_data_of_another_session(self, session: int) -> None:
        link = make_link()
        assert receive(link, 1, session=session) == []
        assert link.counters.stale_envelopes == 1
        assert receive(link, 1) == [1]

    def test_link_takes_no_acknowledgement_of_another_session(self) -> None:
        link = make_link()
        send(link, 1)
        transmit(link)
        link.receive(from_peer(ack=1, ack_session=OURS - 1), NOW_S)
        assert not link.is_quiet()


class TestReset:
    """SPEC.md section 4, last paragraph but one."""

    def test_reset_tells_what_was_certainly_never_sent(self) -> None:
        link = make_link(window_frames=2)
        send(link, 4)
        transmit(link)
        receive(link, ack=1)
        abandoned = link.reset(OURS + 1)
        assert [entry.number for entry in abandoned.maybe_delivered] == [2]
        assert [entry.number for entry in abandoned.never_sent] == [3, 4]

    def test_reset_knows_what_was_sent_before_it_was_queued_again(self) -> None:
        link = make_link()
        send(link, 2)
        transmit(link)
        link.resend()
        send(link, 1)
        abandoned = link.reset(OURS + 1)
        assert [entry.number for entry in abandoned.maybe_delivered] == [1, 2]
        assert [entry.number for entry in abandoned.never_sent] == [3]

    def test_reset_starts_both_directions_anew(self) -> None:
        link = make_link()
        send(link, 2)
        transmit(link)
        receive(link, 1, 2)
        link.reset(OURS + 1)
        assert (link.status, link.session, link.peer_session) == (Status.IDLE, OURS + 1, 0)
        assert link.is_quiet()
        assert link.deadline_s() is None
        link.hello(THEIRS + 1, 0)
        assert link.send(f.Cancel(0)) == 1
        assert receive(link, 1, session=THEIRS + 1, ack_session=OURS + 1) == [1]

    def test_reset_refuses_a_session_that_is_not_newer(self) -> None:
        with pytest.raises(LocalProtocolError, match="does not follow"):
            make_link().reset(OURS)


class TestDelivery:
    """SPEC.md section 5, first clause."""

    def test_link_delivers_in_order_and_each_once(self) -> None:
        link = make_link()
        assert receive(link, 1, 2) == [1, 2]
        assert receive(link, 2, 3) == [3]
        assert receive(link, 1, 2, 3) == []
        assert link.counters.duplicates == 4

    def test_link_keeps_what_is_beyond_a_gap_until_it_closes(self) -> None:
        link = make_link()
        assert receive(link, 2, 3) == []
        assert receive(link, 5) == []
        assert receive(link, 1) == [1, 2, 3]
        assert receive(link, 4) == [4, 5]

    def test_link_keeps_no_more_frames_than_the_window_beyond_a_gap(self) -> None:
        link = make_link(window_frames=4)
        receive(link, *range(2, 9))
        assert receive(link, 1) == [1, 2, 3, 4]
        assert receive(link, 5) == [5], "beyond the window nothing was kept"

    def test_link_keeps_no_more_bytes_than_the_window_beyond_a_gap(self) -> None:
        link = make_link(window_bytes=2 * (40 + FRAME_WEIGHT_BYTES))
        replies: list[f.Frame] = [f.Reply(number, "", "", bytes(40)) for number in (2, 3, 4)]
        link.receive(f.Envelope(PEER, OWN, THEIRS, 2, OURS, 0, replies), NOW_S)
        assert [number for number, _ in link.receive(from_peer(1), NOW_S)] == [1, 2, 3]


class TestAcknowledgement:
    """SPEC.md section 5, second and third clause."""

    def test_link_acknowledges_20_ms_after_a_delivery(self) -> None:
        link = make_link()
        receive(link, 1, 2)
        receive(link, 3, now_s=NOW_S + 0.01)
        assert link.deadline_s() == NOW_S + 0.02
        assert transmit(link, NOW_S + 0.019) == []
        [envelope] = transmit(link, NOW_S + 0.02)
        assert (envelope.frames, envelope.ack_session, envelope.ack) == ([f.Ack(gap=False)], THEIRS, 3)
        assert link.deadline_s() is None

    def test_acknowledgement_rides_on_data(self) -> None:
        link = make_link()
        receive(link, 1, 2)
        send(link, 1)
        [envelope] = transmit(link)
        assert (envelope.first, envelope.ack_session, envelope.ack) == (1, THEIRS, 2)
        assert transmit(link, NOW_S + 0.02) == []

    def test_link_acknowledges_at_once_after_256_frames(self) -> None:
        link = make_link()
        receive(link, *range(1, 256))
        assert transmit(link) == []
        receive(link, 256)
        assert controls_in(transmit(link)) == [f.Ack(gap=False)]

    def test_link_acknowledges_duplicates_so_that_they_end(self) -> None:
        link = make_link()
        receive(link, 1)
        transmit(link, NOW_S + 0.02)
        receive(link, 1, now_s=NOW_S + 1)
        assert controls_in(transmit(link, NOW_S + 1.02)) == [f.Ack(gap=False)]

    def test_link_tells_of_a_gap_at_once_and_once(self) -> None:
        link = make_link()
        receive(link, 2)
        assert controls_in(transmit(link)) == [f.Ack(gap=True)]
        receive(link, 3)
        assert transmit(link) == []
        assert link.counters.gaps == 1

    def test_link_tells_of_each_new_gap(self) -> None:
        link = make_link()
        receive(link, 2)
        transmit(link)
        receive(link, 1)
        receive(link, 4)
        assert f.Ack(gap=True) in controls_in(transmit(link))

    def test_link_tells_of_a_gap_even_when_data_leaves(self) -> None:
        link = make_link()
        receive(link, 2)
        send(link, 1)
        envelopes = transmit(link)
        assert numbers_in(envelopes) == [1]
        assert controls_in(envelopes) == [f.Ack(gap=True)]

    def test_link_sends_everything_unacknowledged_again_when_told_of_a_gap(self) -> None:
        link = make_link()
        send(link, 3)
        transmit(link)
        send(link, 1)
        receive(link, ack=1)
        link.peer_acks(f.Ack(gap=True))
        assert numbers_in(transmit(link)) == [2, 3, 4]
        assert link.counters.resends == 2

    def test_link_sends_a_view_again_as_it_was(self) -> None:
        link = make_link()
        link.send(f.Reply(1, "", "", memoryview(b"x" * 65_536)))
        sent = transmit(link)
        link.resend()
        assert [envelope.frames for envelope in transmit(link)] == [envelope.frames for envelope in sent]
        assert sent[0].frames == [f.Reply(1, "", "", b"x" * 65_536)]

    def test_link_forgets_what_is_acknowledged_after_it_was_queued_again(self) -> None:
        link = make_link()
        send(link, 3)
        transmit(link)
        link.resend()
        receive(link, ack=2)
        assert numbers_in(transmit(link)) == [3]

    def test_link_refuses_an_acknowledgement_of_what_was_never_sent_and_changes_nothing(self) -> None:
        link = make_link()
        send(link, 1)
        transmit(link)
        with pytest.raises(RemoteProtocolError) as error:
            link.receive(from_peer(1, ack=2), NOW_S)
        assert error.value.code is WireCode.BAD_FIELD
        assert not link.is_quiet()
        assert receive(link, 1, ack=1) == [1]
        assert link.is_quiet()


class TestProbe:
    """SPEC.md section 5, fourth clause."""

    def probed(self) -> tuple[Link, f.Ping]:
        """A link whose three frames have not been acknowledged, and its PING."""
        link = make_link()
        send(link, 3)
        transmit(link)
        [ping] = controls_in(transmit(link, NOW_S + 1))
        assert isinstance(ping, f.Ping)
        return link, ping

    def test_link_asks_with_ping_when_its_oldest_frame_is_1_s_old(self) -> None:
        link = make_link()
        send(link, 3)
        transmit(link)
        assert transmit(link, NOW_S + 0.99) == []
        [ping] = controls_in(transmit(link, NOW_S + 1))
        assert isinstance(ping, f.Ping)
        assert ping.last == 3

    def test_wait_for_ping_doubles_up_to_8_s(self) -> None:
        link, _ = self.probed()
        waits: list[float] = []
        now_s = NOW_S + 1
        for _ in range(5):
            due_s = link.deadline_s()
            assert due_s is not None
            waits.append(due_s - now_s)
            now_s = due_s
            assert numbers_in(transmit(link, now_s)) == [], "a busy peer costs a PING, not a flood"
        assert waits == [2, 4, 8, 8, 8]

    def test_wait_for_ping_is_1_s_again_after_progress(self) -> None:
        link, _ = self.probed()
        receive(link, ack=1, now_s=NOW_S + 2)
        assert link.deadline_s() == NOW_S + 3

    def test_wait_for_ping_is_1_s_again_on_a_new_path(self) -> None:
        link, _ = self.probed()
        link.hello(THEIRS, OURS)
        transmit(link, NOW_S + 5)
        assert link.deadline_s() == NOW_S + 6

    def test_link_asks_no_more_once_everything_is_acknowledged(self) -> None:
        link, _ = self.probed()
        receive(link, ack=3)
        assert link.deadline_s() is None

    def test_pong_that_lacks_frames_proves_their_loss(self) -> None:
        link, ping = self.probed()
        link.pong(f.Pong(ping.token), ack=2)
        assert numbers_in(transmit(link, NOW_S + 1)) == [1, 2, 3]

    def test_pong_proves_loss_when_it_brings_the_news_of_some_progress(self) -> None:
        link, ping = self.probed()
        receive(link, ack=2, control=f.Pong(ping.token), now_s=NOW_S + 1)
        link.pong(f.Pong(ping.token), ack=2)
        assert numbers_in(transmit(link, NOW_S + 1)) == [3]

    def test_pong_proves_nothing_when_it_acknowledges_everything_asked_for(self) -> None:
        link, ping = self.probed()
        link.pong(f.Pong(ping.token), ack=3)
        assert numbers_in(transmit(link, NOW_S + 1)) == []

    def test_pong_to_an_older_ping_proves_nothing(self) -> None:
        link, old = self.probed()
        transmit(link, NOW_S + 3)
        link.pong(f.Pong(old.token), ack=0)
        assert numbers_in(transmit(link, NOW_S + 3)) == []

    def test_pong_proves_nothing_about_frames_that_were_sent_again_since(self) -> None:
        link, ping = self.probed()
        link.peer_acks(f.Ack(gap=True))
        transmit(link, NOW_S + 1)
        link.pong(f.Pong(ping.token), ack=0)
        assert numbers_in(transmit(link, NOW_S + 1)) == []


class TestWindow:
    """SPEC.md section 5, clause "Window"."""

    def test_link_sends_no_more_frames_than_the_window_holds(self) -> None:
        link = make_link(window_frames=4)
        send(link, 6)
        assert numbers_in(transmit(link)) == [1, 2, 3, 4]
        assert not link.has_room()
        receive(link, ack=3)
        assert numbers_in(transmit(link)) == [5, 6]

    def test_link_sends_no_more_bytes_than_the_window_holds(self) -> None:
        link = make_link(window_bytes=100)
        send(link, 3, size_bytes=40)
        assert numbers_in(transmit(link)) == [1, 2]
        assert not link.has_room()
        receive(link, ack=1)
        assert numbers_in(transmit(link)) == [3]

    def test_empty_window_takes_a_frame_of_any_size(self) -> None:
        link = make_link(window_bytes=100)
        send(link, 2, size_bytes=1_000)
        assert numbers_in(transmit(link)) == [1]
        receive(link, ack=1)
        assert numbers_in(transmit(link)) == [2]

    def test_link_has_room_until_a_window_of_frames_waits(self) -> None:
        link = make_link(window_frames=2)
        send(link, 1)
        assert link.has_room()
        send(link, 1)
        assert not link.has_room()
        transmit(link)
        assert not link.has_room()
        receive(link, ack=1)
        assert link.has_room()

    def test_link_has_room_until_a_window_of_bytes_waits(self) -> None:
        link = make_link(window_bytes=100)
        send(link, 1, size_bytes=100)
        assert not link.has_room()
        transmit(link)
        receive(link, ack=1)
        assert link.has_room()

    def test_link_counts_what_waits_and_what_is_unacknowledged(self) -> None:
        link = make_link(window_frames=2)
        send(link, 3)
        transmit(link)
        assert link.waiting_frames == 3
        receive(link, ack=1)
        assert link.waiting_frames == 2


class TestBatches:
    """How frames are put into envelopes (SPEC.md sections 3 and 10)."""

    def test_frames_leave_in_envelopes_of_256_at_most(self) -> None:
        link = make_link()
        send(link, 600)
        assert [len(envelope.frames) for envelope in transmit(link)] == [256, 256, 88]

    def test_envelopes_are_cut_where_their_payloads_exceed_1_mib(self) -> None:
        link = make_link()
        send(link, 5, size_bytes=400 << 10)
        assert [len(envelope.frames) for envelope in transmit(link)] == [2, 2, 1]

    def test_batch_whose_header_would_be_too_large_is_split(self) -> None:
        link = make_link()
        for _ in range(40):
            link.send(f.Error(1, 1, "E", "x" * 60_000, b""))
        messages = link.transmit(NOW_S)
        assert all(len(parts[0]) <= MAX_HEADER_BYTES for parts in messages)
        assert numbers_in([decode_envelope(parts) for parts in messages]) == list(range(1, 41))

    def test_single_frame_whose_header_is_too_large_is_refused(self) -> None:
        link = make_link()
        link.send(f.Event("t", "s", "m", None, [f"t/{'k' * 1000}{i}" for i in range(4096)], "T", "json", 0, None, b""))
        with pytest.raises(MessageTooLargeError):
            link.transmit(NOW_S)
