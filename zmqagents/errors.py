"""Every exception that zmqagents raises by itself.

::

    Exception
    └── ZmqAgentsError               catch this for "anything from zmqagents"
        ├── ConfigError              (also ValueError) a setting is wrong; the text says what to write
        ├── SerializationError       (also ValueError) a payload can't be encoded or decoded; names the class
        ├── MessageTooLargeError     (also ValueError) a payload is over ``max_message_bytes``; gives both figures
        ├── RuntimeNotStartedError   (also RuntimeError) the operation needs a running runtime
        ├── ForkedProcessError       (also RuntimeError) a runtime was used in a child made by fork
        ├── DeliveryError            a message did not do what was asked
        │   ├── PeerLost             the target process went away; whether the handler ran is unknown
        │   ├── CallTimeoutError     (also TimeoutError) the deadline passed; whether the handler ran is unknown
        │   ├── BackpressureError    the peer's window stayed full; certainly not sent
        │   ├── PolicyConflictError  the target's hosts name different placement policies; nothing was sent
        │   └── RemoteCallError      the remote handler raised a class that this process doesn't know
        ├── LocalProtocolError       this process asked the protocol for something illegal: our own bug
        └── RemoteProtocolError      a peer sent something illegal; carries the wire code of SPEC.md section 9

``autogen_core.exceptions.UndeliverableException`` (certainly not executed) and ``CantHandleException`` are raised
as AutoGen defines them; this module doesn't import AutoGen, so that a forwarder runs without it.
"""

from __future__ import annotations

from enum import IntEnum


class ZmqAgentsError(Exception):
    """Base of everything below."""


class ConfigError(ZmqAgentsError, ValueError):
    """A setting is wrong. The text says what to write instead."""


class SerializationError(ZmqAgentsError, ValueError):
    """A payload can't be encoded or decoded. The text names the class or type name and what to do."""


class MessageTooLargeError(ZmqAgentsError, ValueError):
    """A payload is over the limit; nothing was sent.

    ``size_bytes`` and ``limit_bytes`` are the two figures.
    """

    def __init__(self, size_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"the serialized message is {size_bytes:,} bytes, over the limit of {limit_bytes:,} bytes; "
            "send less, or raise max_message_bytes on every process of the cluster"
        )
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class RuntimeNotStartedError(ZmqAgentsError, RuntimeError):
    """The operation needs a running runtime."""


class ForkedProcessError(ZmqAgentsError, RuntimeError):
    """A runtime was used in a child process made by fork: sockets don't survive that. Make a new runtime there."""


class DeliveryError(ZmqAgentsError):
    """A message did not do what was asked. ``peer`` is the label of the process concerned, where there is one."""

    def __init__(self, text: str, *, peer: str | None = None) -> None:
        super().__init__(text)
        self.peer = peer


class PeerLost(DeliveryError):  # noqa: N818 - the name of the outcome in SPEC.md
    """The target process went away with the call in flight: whether its handler ran is unknown."""


class CallTimeoutError(DeliveryError, TimeoutError):
    """The call's deadline passed: whether its handler ran is unknown. The remote handler is told to stop."""


class BackpressureError(DeliveryError):
    """The peer's window stayed full for the send timeout: the message was certainly not sent."""


class PolicyConflictError(DeliveryError):
    """Processes that host the target's agent type name different placement policies: nothing was sent.

    The text names two of them, what each says, and what to do.
    """


class RemoteCallError(DeliveryError):
    """The remote handler raised an exception whose class this process doesn't know.

    ``type_name`` is the qualified name of that class and ``message`` its text; the remote traceback is a note of this
    exception and stands in ``remote_traceback``.
    """

    def __init__(
        self, type_name: str, message: str, *, remote_traceback: str | None = None, peer: str | None = None
    ) -> None:
        super().__init__(f"{type_name}: {message}" if message else type_name, peer=peer)
        self.type_name = type_name
        self.message = message
        self.remote_traceback = remote_traceback


class WireCode(IntEnum):
    """Why a peer's message was refused (SPEC.md section 9); travels in BYE and stands in log lines and counters."""

    MALFORMED = 1  # not the msgpack or CBOR that the clause asks for
    TOO_LARGE = 2  # over a bound of SPEC.md section 10
    UNKNOWN_KIND = 3  # a mandatory frame kind that this version doesn't have
    BAD_FIELD = 4  # a field is missing, of the wrong type or out of range
    ILLEGAL_NOW = 5  # a legal frame in a state that doesn't allow it
    VERSION_MISMATCH = 6  # the protocol version ranges don't meet
    WRONG_CLUSTER = 7  # the peer belongs to another cluster
    WRONG_NODE = 8  # addressed to a node id that is not (or no longer) here
    MISSING_PAYLOAD = 9  # fewer or more payload parts than the frames ask for
    FULL = 10  # a forwarder has as many nodes attached as it takes


class LocalProtocolError(ZmqAgentsError):
    """This process asked the protocol for something illegal: a bug on our side."""


class RemoteProtocolError(ZmqAgentsError):
    """A peer sent something illegal. ``code`` is its wire code (SPEC.md section 9)."""

    def __init__(self, code: WireCode, text: str) -> None:
        super().__init__(f"{code.name}: {text}")
        self.code = code
