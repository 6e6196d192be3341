"""The frames of the wire protocol (SPEC.md section 3), one NamedTuple a kind.

The fields stand in wire order, so a frame is packed as it is. ``payload``, where a frame has one, is the last field and
travels as one or several parts of its own where it is large.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple, TypeAlias

from zmqagents.protocol.ids import AgentKey, CallId, NodeId

Part: TypeAlias = bytes | memoryview
"""A part of a multipart message; a large one that came may be a view of the transport's own memory."""

Context: TypeAlias = dict[str, str] | None
"""A W3C Trace Context carrier."""

VersionEntry: TypeAlias = list[Any]
"""``[node id, version, dead]``; a list, as msgpack gives it back."""

DeathEntry: TypeAlias = list[Any]
"""``[node id, version]``."""


class ErrorCode(IntEnum):
    """Why a call ended without a reply (SPEC.md section 8.3)."""

    RAISED = 1
    UNDELIVERABLE = 2
    CANCELLED = 3
    DEADLINE = 4
    UNREADABLE = 5
    UNSERIALIZABLE = 6
    DROPPED = 7
    MOVED = 8


class Operation(IntEnum):
    """What an AGENT frame asks for (SPEC.md section 8.4)."""

    METADATA = 1
    SAVE_STATE = 2
    LOAD_STATE = 3
    ACTIVATE = 4
    MATCH = 5
    ADOPT = 6


class Hello(NamedTuple):
    lowest: int
    highest: int
    features: list[str]
    cluster: str
    known_session: int
    payload: bytes


class Welcome(NamedTuple):
    version: int
    features: list[str]
    cluster: str
    known_session: int
    payload: bytes


class Ack(NamedTuple):
    gap: bool


class Ping(NamedTuple):
    token: int
    last: int


class Pong(NamedTuple):
    token: int


class Bye(NamedTuple):
    code: int
    text: str


class SyncPull(NamedTuple):
    token: int
    entries: list[VersionEntry]


class SyncPush(NamedTuple):
    token: int
    last: bool
    dead: list[DeathEntry]
    payload: bytes


class Probe(NamedTuple):
    """Asks whether the reader has a connection with ``node``, which the sender can't reach."""

    token: int
    node: NodeId


class Probed(NamedTuple):
    """The answer to a PROBE."""

    token: int
    node: NodeId
    connected: bool


class Attach(NamedTuple):
    """Asks a forwarder to relay for the sender (SPEC.md section 12)."""

    lowest: int
    highest: int
    cluster: str
    token: int


class Roster(NamedTuple):
    """Who is attached to the forwarder; ``token`` is that of the ATTACH it answers, 0 if of none."""

    token: int
    whole: bool
    """Whether it replaces what the reader knew (in pages, the final one with ``last``); else it is a change."""
    last: bool
    attached: list[NodeId]
    gone: list[NodeId]


class Listen(NamedTuple):
    """Whose gossip the sender wants from the forwarder."""

    whole: bool
    """Whether it is that of ``nodes`` alone; else theirs too, and not that of those ``dropped``."""
    nodes: list[NodeId]
    dropped: list[NodeId]


class Seek(NamedTuple):
    """Asks ``node``, by way of a member that has a link with it, to dial ``seeker``, which can't dial it."""

    node: NodeId
    seeker: NodeId


class Request(NamedTuple):
    call_id: CallId
    agent: AgentKey
    message_id: str
    sender: AgentKey | None
    type_name: str
    content_type: str
    timeout_ms: int | None
    hops: int
    context: Context
    payload: Part


class Reply(NamedTuple):
    call_id: CallId
    type_name: str
    content_type: str
    payload: Part


class Error(NamedTuple):
    call_id: CallId
    code: int
    exception: str
    text: str
    payload: bytes


class Cancel(NamedTuple):
    call_id: CallId


class Event(NamedTuple):
    topic_type: str
    topic_source: str
    message_id: str
    sender: AgentKey | None
    recipients: list[AgentKey]
    type_name: str
    content_type: str
    hops: int
    context: Context
    payload: Part


class EventDone(NamedTuple):
    numbers: list[int]


class Agent(NamedTuple):
    call_id: CallId
    operation: int
    agent: AgentKey
    timeout_ms: int | None
    payload: bytes


class Census(NamedTuple):
    """Asks which agents of the type are active at the reader and belong to the sender's part of the directory."""

    token: int
    agent_type: str
    view: bytes
    """The sender's ``Directory.view`` of the type."""


class Claim(NamedTuple):
    """These agents are active at the sender; ``token`` is that of the CENSUS it answers, 0 if of none."""

    token: int
    last: bool
    agents: list[AgentKey]


class Rival(NamedTuple):
    """``node`` says that the agent is active there, as the reader does; the reader's activation is to stay."""

    agent: AgentKey
    node: NodeId


class Yield(NamedTuple):
    """The agent is active at the sender, and the reader's activation has to end."""

    agent: AgentKey


class Disclaim(NamedTuple):
    """The agent is not active at the sender."""

    agent: AgentKey


class Moved(NamedTuple):
    """Events for the agent are to go to ``node`` from now on; those that have come were sent on to it."""

    agent: AgentKey
    node: NodeId


class Unknown(NamedTuple):
    """An optional frame of a later version: ignored, but counted in the order of data frames."""

    kind: int


ControlFrame: TypeAlias = (
    Hello
    | Welcome
    | Ack
    | Ping
    | Pong
    | Bye
    | SyncPull
    | SyncPush
    | Probe
    | Probed
    | Attach
    | Roster
    | Listen
    | Seek
    | Unknown
)
DataFrame: TypeAlias = (
    Request
    | Reply
    | Error
    | Cancel
    | Event
    | EventDone
    | Agent
    | Census
    | Claim
    | Rival
    | Yield
    | Disclaim
    | Moved
    | Unknown
)
Frame: TypeAlias = ControlFrame | DataFrame

KINDS: dict[type[tuple[object, ...]], int] = {
    Hello: 1,
    Welcome: 2,
    Ack: 3,
    Ping: 4,
    Pong: 5,
    Bye: 6,
    SyncPull: 7,
    SyncPush: 8,
    Probe: 9,
    Probed: 10,
    Attach: 11,
    Roster: 12,
    Listen: 13,
    Seek: 14,
    Request: 16,
    Reply: 17,
    Error: 18,
    Cancel: 19,
    Event: 20,
    EventDone: 21,
    Agent: 22,
    Census: 23,
    Claim: 24,
    Rival: 25,
    Yield: 26,
    Disclaim: 27,
    Moved: 28,
}
"""The wire number of each kind. Below FIRST_DATA_KIND: control."""

FIRST_DATA_KIND = 16
OPTIONAL_BARE_KINDS = range(64, 96)
OPTIONAL_PAYLOAD_KINDS = range(96, 128)


VERSIONS = (1, 1)
"""Lowest and highest protocol version spoken here; our record says so, and greetings say what it says."""


class Envelope(NamedTuple):
    """One decoded multipart message (SPEC.md section 3). ``first`` is 0 for control frames."""

    source: NodeId
    destination: NodeId
    session: int
    first: int
    ack_session: int
    ack: int
    frames: list[Frame]
