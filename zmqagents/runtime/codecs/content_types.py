"""The content types of payloads."""

from __future__ import annotations

from autogen_core import JSON_DATA_CONTENT_TYPE, PROTOBUF_DATA_CONTENT_TYPE

JSON = JSON_DATA_CONTENT_TYPE
TAGGED_JSON = "application/vnd.zmqagents.tagged+json"
MSGPACK = "application/msgpack"
CBOR = "application/cbor"
PROTOBUF = PROTOBUF_DATA_CONTENT_TYPE
OCTETS = "application/octet-stream"
