"""``python -m zmqagents.forwarder``."""

from __future__ import annotations

import sys

from zmqagents.forwarder.main import main

sys.exit(main())
