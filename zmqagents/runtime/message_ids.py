"""Message ids for messages that come without one: UUIDs of version 8 (RFC 9562, section 5.8), a prefix and a counter.

Unique by 74 random bits for each runtime, and much cheaper than ``uuid4``, which asks the system for randomness each
time.
"""

from __future__ import annotations

import secrets

_COUNTER_BITS = 48


class MessageIds:
    """Ids of one runtime."""

    def __init__(self) -> None:
        high = secrets.token_hex(6)
        middle = secrets.randbelow(1 << 12)
        low = 0x8000 | secrets.randbelow(1 << 14)  # the variant of RFC 9562
        self._prefix = f"{high[:8]}-{high[8:]}-8{middle:03x}-{low:04x}-"
        self._count = 0

    def next(self) -> str:
        """An id not given before."""
        self._count = (self._count + 1) % (1 << _COUNTER_BITS)
        return f"{self._prefix}{self._count:012x}"
