"""The largest message between two processes: the smaller of what the one sends and the other reads."""

from __future__ import annotations

from zmqagents.errors import MessageTooLargeError
from zmqagents.protocol.frames import Part
from zmqagents.protocol.records import Record


def limit_bytes(own_limit_bytes: int, reader: Record | None) -> int:
    """The limit towards ``reader``, whose record tells its own; a larger part would cost it the connection."""
    if reader is None or not reader.max_payload_bytes:
        return own_limit_bytes
    return min(own_limit_bytes, reader.max_payload_bytes)


def check_size(payload: Part, own_limit_bytes: int, reader: Record | None) -> None:
    """MessageTooLargeError, with both figures, if ``reader`` must not be sent the payload."""
    size = len(payload)
    if size > own_limit_bytes or (reader is not None and 0 < reader.max_payload_bytes < size):
        raise MessageTooLargeError(size, limit_bytes(own_limit_bytes, reader))
