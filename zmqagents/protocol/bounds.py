"""Bounds of what stands in a header (SPEC.md section 3); those of whole messages are in ``codec``."""

from __future__ import annotations

MAX_UINT = (1 << 63) - 1
MAX_FRAMES = 1_024  # of one envelope
MAX_ARRAY_ITEMS = 8_192
MAX_MAP_ITEMS = 64
MAX_CONTEXT_ITEMS = 16
MAX_AGENTS = 4_096  # recipients of an EVENT, or agents of a CLAIM
MAX_NODES = 4_096  # in each list of a ROSTER or LISTEN
DIGEST_BYTES = 8
