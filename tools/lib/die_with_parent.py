"""Runs first in the single file made by tools/build_forwarder.

That file starts itself a second time, as a child, to do the work, and passes signals on to it; but SIGKILL can't be
passed on, and the child would go on with nobody knowing of it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # linux/prctl.h

_parent = os.getppid()
ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
if os.getppid() != _parent:  # it has died meanwhile
    sys.exit(1)
