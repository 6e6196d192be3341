"""The frames of the wire protocol (SPEC.md section 3), one immutable Struct a kind.

The fields stand in wire order behind the kind's number, their types are what the wire may hold, and msgspec reads and
writes them by these declarations. ``payload``, where a frame has one, is the last field and travels as one or several
parts of its own where it is large. What a type can't say, such as where the slash of an agent id may stand, is checked
in ``codec``.
"""

from __future__ import annotations

from enum import IntEnum
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, get_args

from msgspec import Meta, Struct

from zmqagents.protocol.bounds import (
    DIGEST_BYTES,
    MAX_AGENTS,
    MAX_ARRAY_ITEMS,
    MAX_CONTEXT_ITEMS,
    MAX_FRAMES,
    MAX_MAP_ITEMS,
    MAX_NODES,
    MAX_UINT,
)
from zmqagents.protocol.ids import NODE_ID_BYTES, AgentKey

Part: TypeAlias = bytes | memoryview
"""A part of a multipart message; a large one that came may be a view of the transport's own memory."""

Uint: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_UINT)]
Node: TypeAlias = Annotated[bytes, Meta(min_length=NODE_ID_BYTES, max_length=NODE_ID_BYTES)]
Digest: TypeAlias = Annotated[bytes, Meta(min_length=DIGEST_BYTES, max_length=DIGEST_BYTES)]
Texts: TypeAlias = Annotated[list[str], Meta(max_length=MAX_MAP_ITEMS)]
Agents: TypeAlias = Annotated[list[AgentKey], Meta(max_length=MAX_AGENTS)]
Nodes: TypeAlias = Annotated[list[Node], Meta(max_length=MAX_NODES)]

Context: TypeAlias = Annotated[dict[str, str], Meta(max_length=MAX_CONTEXT_ITEMS)] | None
"""A W3C Trace Context carrier."""

if TYPE_CHECKING:
    VersionEntry: TypeAlias = list[Any]
    """``[node id, version, dead]``."""

    DeathEntry: TypeAlias = list[Any]
    """``[node id, version]``."""

    Payload: TypeAlias = bytes
    MessagePayload: TypeAlias = Part
else:
    VersionEntry = Annotated[list[bytes | int | bool], Meta(min_length=3, max_length=3)]
    DeathEntry = Annotated[list[bytes | int], Meta(min_length=2, max_length=2)]
    Payload = MessagePayload = bytes | int | None  # on the wire, nil or a number stands for parts of its own

VersionEntries: TypeAlias = Annotated[list[VersionEntry], Meta(max_length=MAX_ARRAY_ITEMS)]
DeathEntries: TypeAlias = Annotated[list[DeathEntry], Meta(max_length=MAX_ARRAY_ITEMS)]


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


class Wired(Struct, frozen=True, array_like=True, forbid_unknown_fields=True, gc=False):
    """What stands on the wire as an array of its tag and its fields. Nothing in it can refer back to it."""


class Hello(Wired, frozen=True, tag=1):
    lowest: Uint
    highest: Uint
    features: Texts
    cluster: str
    known_session: Uint
    payload: Payload


class Welcome(Wired, frozen=True, tag=2):
    version: Uint
    features: Texts
    cluster: str
    known_session: Uint
    payload: Payload


class Ack(Wired, frozen=True, tag=3):
    gap: bool


class Ping(Wired, frozen=True, tag=4):
    token: Uint
    last: Uint


class Pong(Wired, frozen=True, tag=5):
    token: Uint


class Bye(Wired, frozen=True, tag=6):
    code: Uint
    text: str


class SyncPull(Wired, frozen=True, tag=7):
    token: Uint
    entries: VersionEntries


class SyncPush(Wired, frozen=True, tag=8):
    token: Uint
    last: bool
    dead: DeathEntries
    payload: Payload


class Probe(Wired, frozen=True, tag=9):
    """Asks whether the reader has a connection with ``node``, which the sender can't reach."""

    token: Uint
    node: Node


class Probed(Wired, frozen=True, tag=10):
    """The answer to a PROBE."""

    token: Uint
    node: Node
    connected: bool


class Attach(Wired, frozen=True, tag=11):
    """Asks a forwarder to relay for the sender (SPEC.md section 12)."""

    lowest: Uint
    highest: Uint
    cluster: str
    token: Uint


class Roster(Wired, frozen=True, tag=12):
    """Who is attached to the forwarder; ``token`` is that of the ATTACH it answers, 0 if of none."""

    token: Uint
    whole: bool
    """Whether it replaces what the reader knew (in pages, the final one with ``last``); else it is a change."""
    last: bool
    attached: Nodes
    gone: Nodes


class Listen(Wired, frozen=True, tag=13):
    """Whose gossip the sender wants from the forwarder."""

    whole: bool
    """Whether it is that of ``nodes`` alone; else theirs too, and not that of those ``dropped``."""
    nodes: Nodes
    dropped: Nodes


class Seek(Wired, frozen=True, tag=14):
    """Asks ``node``, by way of a member that has a link with it, to dial ``seeker``, which can't dial it."""

    node: Node
    seeker: Node


class Request(Wired, frozen=True, tag=16):
    call_id: Uint
    agent: AgentKey
    message_id: str
    sender: AgentKey | None
    type_name: str
    content_type: str
    timeout_ms: Uint | None
    hops: Uint
    context: Context
    payload: MessagePayload


class Reply(Wired, frozen=True, tag=17):
    call_id: Uint
    type_name: str
    content_type: str
    payload: MessagePayload


class Error(Wired, frozen=True, tag=18):
    call_id: Uint
    code: Uint
    exception: str
    text: str
    payload: Payload


class Cancel(Wired, frozen=True, tag=19):
    call_id: Uint


class Event(Wired, frozen=True, tag=20):
    topic_type: str
    topic_source: str
    message_id: str
    sender: AgentKey | None
    recipients: Agents
    type_name: str
    content_type: str
    hops: Uint
    context: Context
    payload: MessagePayload


class EventDone(Wired, frozen=True, tag=21):
    numbers: Annotated[list[Uint], Meta(max_length=MAX_ARRAY_ITEMS)]


class Agent(Wired, frozen=True, tag=22):
    call_id: Uint
    operation: Uint
    agent: AgentKey
    timeout_ms: Uint | None
    payload: Payload


class Census(Wired, frozen=True, tag=23):
    """Asks which agents of the type are active at the reader and belong to the sender's part of the directory."""

    token: Uint
    agent_type: str
    view: Digest
    """The sender's ``Directory.view`` of the type."""


class Claim(Wired, frozen=True, tag=24):
    """These agents are active at the sender; ``token`` is that of the CENSUS it answers, 0 if of none."""

    token: Uint
    last: bool
    agents: Agents


class Rival(Wired, frozen=True, tag=25):
    """``node`` says that the agent is active there, as the reader does; the reader's activation is to stay."""

    agent: AgentKey
    node: Node


class Yield(Wired, frozen=True, tag=26):
    """The agent is active at the sender, and the reader's activation has to end."""

    agent: AgentKey


class Disclaim(Wired, frozen=True, tag=27):
    """The agent is not active at the sender."""

    agent: AgentKey


class Moved(Wired, frozen=True, tag=28):
    """Events for the agent are to go to ``node`` from now on; those that have come were sent on to it."""

    agent: AgentKey
    node: Node


class Unknown(Wired, frozen=True):
    """An optional frame of a later version: ignored, but counted in the order of data frames."""

    kind: Uint


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

KINDS: dict[type[Any], int] = {kind: kind.__struct_config__.tag for kind in get_args(Frame) if kind is not Unknown}
"""The wire number of each kind. Below FIRST_DATA_KIND: control."""

FIRST_DATA_KIND = 16
LAYOUT = 1  # of an envelope's header
OPTIONAL_BARE_KINDS = range(64, 96)
OPTIONAL_PAYLOAD_KINDS = range(96, 128)


VERSIONS = (1, 1)
"""Lowest and highest protocol version spoken here; our record says so, and greetings say what it says."""


if TYPE_CHECKING:
    Frames: TypeAlias = list[Frame]
else:
    Frames = Annotated[list[reduce(or_, KINDS)], Meta(max_length=MAX_FRAMES)]


class Envelope(Wired, frozen=True, tag=LAYOUT):
    """One decoded multipart message (SPEC.md section 3). ``first`` is 0 for control frames."""

    source: Node
    destination: Node
    session: Uint
    first: Uint
    ack_session: Uint
    ack: Uint
    frames: Frames
