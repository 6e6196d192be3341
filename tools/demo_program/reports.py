"""What the demo's processes tell the conductor: one JSON object a line on standard output.

Every report says when (``at_s``: the monotonic clock, which all processes of one Linux machine share), so that the
times shown are those of the events and not of their display.
"""

from __future__ import annotations

import os
import time

import msgspec


class Peer(msgspec.Struct):
    """Another process, as the reporting one knows it."""

    name: str
    endpoint: str
    agent_types: list[str]
    source: str


class Report(msgspec.Struct, kw_only=True, tag=True):
    """Base of the reports."""

    at_s: float = msgspec.field(default_factory=time.monotonic)


class Up(Report):
    """The process has joined the cluster."""

    pid: int


class Found(Report):
    """All the processes that this one waited for are there."""

    peers: list[Peer]


class Answered(Report):
    """One call came back."""

    number: int
    factors: list[int]
    process: str
    took_ms: float


class Published(Report):
    """The event left the coordinator."""

    answers: int


class Received(Report):
    """The event reached an agent of this process."""

    agent: str
    answers: int


AnyReport = Up | Found | Answered | Published | Received

_DECODER: msgspec.json.Decoder[AnyReport] = msgspec.json.Decoder(AnyReport)

STDOUT = 1


def send(report: AnyReport) -> None:
    """Raises BrokenPipeError if the conductor is gone."""
    os.write(STDOUT, msgspec.json.encode(report) + b"\n")  # one write of a short line: lines never mix


def parse(line: bytes) -> AnyReport:
    """Raises msgspec.DecodeError if ``line`` is no report."""
    return _DECODER.decode(line)
