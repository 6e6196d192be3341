"""Bounds of what stands in a header (SPEC.md sections 3 and 8); those of whole messages are in ``codec``."""

from __future__ import annotations

MAX_UINT = (1 << 63) - 1
MAX_FRAMES = 1_024  # of one envelope
MAX_ARRAY_ITEMS = 8_192
MAX_MAP_ITEMS = 64
MAX_CONTEXT_ITEMS = 16
MAX_AGENTS = 4_096  # recipients of an EVENT, or agents of a CLAIM
MAX_NODES = 4_096  # in each list of a ROSTER or LISTEN
MAX_EVENT_HOPS = 8  # SPEC.md section 8.6: a rolling restart of several hosts moves an event on as often
DIGEST_BYTES = 8
