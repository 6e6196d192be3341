"""Protobuf payloads: AutoGen's own, a packed ``google.protobuf.Any``."""

from __future__ import annotations

# The class isn't re-exported by autogen_core, but its wire form is what AutoGen peers speak.
from autogen_core._serialization import ProtobufMessageSerializer

__all__ = ["ProtobufMessageSerializer"]
