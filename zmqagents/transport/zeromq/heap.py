"""Keeps the C library from giving memory back to the kernel with every large message, and taking it anew.

glibc trims the end of its heap as soon as more than so many bytes there are free: 128 KiB at first, later twice the
largest block that the program has freed (mallopt(3), M_TRIM_THRESHOLD). A program that passes on messages of 1 MiB
frees some MiB every moment and takes them again, page by page; a third of the time of an echo went there. One block,
large and never touched, raises the bound. What a process keeps by that, it has used before; it is twice the block at
most.

Rejected: ``mallopt`` itself by ctypes, which fixes the bounds where this lets them grow; buffers of our own, which
msgspec, Python's strings and libzmq would not use. With another C library than glibc this does nothing.
"""

from __future__ import annotations

_BLOCK_BYTES = 16 << 20  # for a text of 1 MiB, orjson reserves just under this while it writes


def keep_freed_memory() -> None:
    """Let the process keep up to twice ``_BLOCK_BYTES`` that are free. Takes microseconds, and no memory."""
    bytes(_BLOCK_BYTES)  # zeroed by the kernel when touched, which it isn't
