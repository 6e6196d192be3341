"""The forwarder: relays between nodes that can't reach each other (SPEC.md section 12). Needs no AutoGen."""

from __future__ import annotations

from zmqagents.forwarder.service import Forwarder
from zmqagents.forwarder.settings import ForwarderSettings

__all__ = ["Forwarder", "ForwarderSettings"]
