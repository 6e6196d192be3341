"""Payload codecs: how message classes become bytes and back. ``zmqagents.runtime.serialization`` chooses among them."""

from __future__ import annotations

from zmqagents.runtime.codecs.autogen import ProtobufMessageSerializer
from zmqagents.runtime.codecs.binary import CborSerializer, MsgpackSerializer
from zmqagents.runtime.codecs.json_codecs import JsonSerializer, TaggedJsonSerializer

__all__ = [
    "CborSerializer",
    "JsonSerializer",
    "MsgpackSerializer",
    "ProtobufMessageSerializer",
    "TaggedJsonSerializer",
]
