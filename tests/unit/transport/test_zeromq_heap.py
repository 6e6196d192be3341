"""What keeping freed memory is for: no page faults with every large message."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_WORK = """
import resource, sys
from zmqagents.transport.zeromq.heap import keep_freed_memory

bytes(1 << 20)  # as the first large message does: from now on, blocks of this size are on the heap
if sys.argv[1] == "kept":
    keep_freed_memory()

def work(rounds):
    for _ in range(rounds):
        blocks = [b"x" * (1 << 20) for _ in range(4)]

work(10)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
work(100)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(case: str) -> int:
    """Page faults of a process that a hundred times takes and frees 4 MiB."""
    done = subprocess.run([sys.executable, "-c", _WORK, case], check=True, capture_output=True, text=True, timeout=60)
    return int(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc")
def test_memory_that_large_messages_take_again_and_again_is_kept() -> None:
    kept, given_back = page_faults("kept"), page_faults("as it is")
    assert kept < given_back / 10
