"""Networks of a test's own, made by tools/netlab_program: gone when the block is left.

What a killed test run has left behind is removed by the next one.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator

from tests.requirements import require_network_namespaces
from tools.netlab_program.lab import PREFIX, Lab, remove, remove_those_of_the_dead
from tools.netlab_program.shell import namespaces
from tools.netlab_program.topologies import Topology, flat

__all__ = ["Lab", "lab", "lan", "namespaces"]

_NUMBERS = itertools.count(1)


@contextlib.contextmanager
def lab(topology: Topology) -> Iterator[Lab]:
    """That network. The test is skipped, or fails, where namespaces can't be made."""
    require_network_namespaces()
    remove_those_of_the_dead()
    made = Lab(f"{PREFIX}{os.getpid()}-{next(_NUMBERS)}", topology)
    made.make()
    try:
        yield made
    finally:
        remove(made.label, grace_s=0.0)


def lan(*hosts: str) -> contextlib.AbstractContextManager[Lab]:
    """Hosts with those names on one bridge."""
    return lab(flat(hosts))
